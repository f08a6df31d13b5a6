from __future__ import annotations

from smartmon.judge.around import Around


def norms(*values: float) -> Around:
    around = Around()
    for step, value in enumerate(values, start=100):
        around.remember({"loss": 1.0, "grad_norm": value}, step)
    return around


def test_a_metric_is_told_of_since_it_left_its_level_for_good():
    around = norms(*[0.30, 0.29, 0.31] * 8, 2.0, 8.0, 30.0)
    assert [(move.metric, move.after, move.step) for move in around.moves("loss", 125)] == [("grad_norm", 30.0, 124)]


def test_one_that_stood_out_before_and_came_back_is_not_the_beginning():
    around = norms(*[0.30, 0.29, 0.31] * 8, 0.50, 0.30, 0.30, 30.0, 5.0)
    assert [(move.after, move.step) for move in around.moves("loss", 127)] == [(30.0, 127)]


def test_a_metric_within_its_level_is_not_told_of():
    assert norms(*[0.30, 0.29, 0.31] * 9).moves("loss", 125) == []
