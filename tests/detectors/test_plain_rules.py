"""The plain rules at their edges: how many values, which ones, and what becomes of refused ones."""

from __future__ import annotations

import math

import pytest

from smartmon.detectors.best_model import Best, BestModel
from smartmon.detectors.divergence import Divergence, Shift
from smartmon.detectors.loss_spike import LossSpike, Spikes
from smartmon.detectors.noise import Level
from smartmon.detectors.signal import Firing, Point


def spikes(values: list[float], *, threshold: float = 0.3, window: int = 10) -> list[tuple[int, str]]:
    state, level, found = Spikes(), Level(floor=0.02), []
    for step, value in enumerate(values):
        score = level.score(value)
        firing = state.judge(LossSpike(), threshold, window, Point("loss", step, value, guard=False), score)
        level.learn(step, value, score)
        found += [(step, firing.reason)] if firing else []
    return found


def test_two_earlier_values_are_too_few_and_three_are_enough() -> None:
    assert spikes([1, 1, 9]) == []
    assert spikes([1, 1, 1, 9]) == [(3, "loss_spike_800.0pct")]


def test_the_mean_is_of_the_last_five_and_never_of_the_value_itself() -> None:
    assert spikes([9, 9, 1, 1, 1, 1, 1, 1.31]) == [(7, "loss_spike_31.0pct")]
    assert spikes([1, 1, 1, 1.3]) == []


def test_a_shorter_window_makes_a_shorter_mean() -> None:
    assert spikes([1.5, 1.5, 1, 1, 1, 1.31], window=3) == [(5, "loss_spike_31.0pct")]
    assert spikes([1.5, 1.5, 1, 1, 1, 1.31], window=5) == []


def test_a_refused_value_does_not_raise_the_baseline() -> None:
    assert [step for step, _ in spikes([1, 1, 1, 2, 1.31])] == [3, 4]


def test_a_window_of_refusals_in_a_row_becomes_the_normal_level() -> None:
    assert [step for step, _ in spikes([1.0] * 5 + [2.0] * 20)] == list(range(5, 15))


def test_refusals_that_are_interrupted_do_not_add_up() -> None:
    assert len(spikes([1.0] * 5 + ([2.0] * 9 + [1.0]) * 3)) == 27


def test_a_mean_of_zero_or_below_has_no_percentage() -> None:
    assert spikes([-1, -1, -1, -0.5]) == []
    assert spikes([0, 0, 0, 1]) == []


def test_a_percentage_without_end_is_written_short() -> None:
    assert spikes([1e-9, 1e-9, 1e-9, 1e9]) == [(3, "loss_spike_1e+20pct")]


def best(values: list[tuple[str, float]], metric: str = "auto") -> list[Firing]:
    state, params = Best(), BestModel(metric=metric)
    found = [state.judge(params, Point(name, i, value), trace=None) for i, (name, value) in enumerate(values)]
    return [firing for firing in found if firing is not None]


def test_the_first_value_sets_the_baseline_and_small_steps_add_up() -> None:
    found = best([("loss", 1.0), ("loss", 0.985), ("loss", 0.979), ("loss", 0.978)])
    assert [f.reason for f in found] == ["best_model_loss_0.9790"]
    assert found[0].expected == 1.0


def test_a_negative_loss_improves_downwards_too() -> None:
    assert [f.value for f in best([("loss", -1.0), ("loss", -1.01), ("loss", -1.03)])] == [-1.03]


def test_the_evaluation_loss_starts_a_baseline_of_its_own() -> None:
    found = best([("loss", 0.1), ("eval_loss", 0.9), ("loss", 0.01), ("eval_loss", 0.8)])
    assert [f.reason for f in found] == ["best_model_eval_loss_0.8000"]


def test_a_named_metric_is_the_only_one() -> None:
    assert best([("loss", 1.0), ("eval_loss", 1.0), ("loss", 0.5)], "eval_loss") == []
    assert [f.metric for f in best([("perplexity", 9.0), ("perplexity", 8.0)], "perplexity")] == ["perplexity"]


def diverges(values: list[float], window: int = 10, guard: bool = False) -> list[int]:
    shift, level = Shift(), Level(floor=0.02)
    found = []
    for step, value in enumerate(values):
        score = level.score(value)
        if shift.judge(Divergence(), window, Point("loss", step, value, guard), score, level):
            found.append(step)
        level.learn(step, value, score)
    return found


RISING = [1.0 + 0.01 * i for i in range(10)]


def test_eight_of_nine_rises_are_enough_and_seven_are_not() -> None:
    assert diverges(RISING) == [9]
    assert diverges([*RISING[:4], 1.0, *RISING[5:]]) == [9]
    assert diverges([*RISING[:4], 1.0, 1.05, 1.0, *RISING[7:]]) == []


def test_it_must_end_above_its_start() -> None:
    assert diverges([5.0, *RISING[:9]]) == []


def test_the_window_must_be_full_and_may_be_shorter() -> None:
    assert diverges(RISING[:9]) == []
    assert diverges(RISING[:5], window=5) == [4]


@pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, 0.0])
def test_extreme_values_harm_nothing(value: float) -> None:
    values = [1.0, 1.1] * 20 + [value] * 12 + [1.0, 1.1] * 10
    assert all(isinstance(step, int) for step in [*diverges(values, guard=True), *(s for s, _ in spikes(values))])
    assert math.isfinite(Level(floor=0.02).score(value).z)


@pytest.mark.parametrize("mean", [0.1, 0.7, 1.1, 2.3, 66.9, 1e-7])
def test_exactly_thirty_percent_above_is_no_spike_whatever_rounding_makes_of_it(mean: float) -> None:
    assert spikes([mean, mean, mean, float(f"{mean * 1.3:.12g}")]) == []
    assert len(spikes([mean, mean, mean, mean * 1.3001])) == 1


@pytest.mark.parametrize("best_so_far", [0.3, 0.7, 1.1, 2.3, 0.6589])
def test_exactly_two_percent_below_is_no_new_best(best_so_far: float) -> None:
    assert best([("loss", best_so_far), ("loss", float(f"{best_so_far * 0.98:.12g}"))]) == []
    assert len(best([("loss", best_so_far), ("loss", best_so_far * 0.9799)])) == 1


def test_a_best_value_that_is_taken_back_was_none() -> None:
    state, params = Best(), BestModel()
    for step, value in ((1, 1.0), (2, 0.1), (2, 1.0)):
        state.judge(params, Point("loss", step, value), trace=None)
    assert (state.lowest, state.lowest_step) == (1.0, 1)
    assert state.judge(params, Point("loss", 3, 0.9), trace=None) is not None


def test_without_the_noise_guard_the_plain_rule_also_holds_where_some_losses_are_negative() -> None:
    state, level = Spikes(), Level(floor=0.02)
    point = Point("loss", 5, 1.4, guard=False)
    for step, value in enumerate([-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]):
        state.judge(LossSpike(), 0.3, 10, Point("loss", step - 9, value, guard=False), level.score(value), linear=True)
    assert state.judge(LossSpike(), 0.3, 10, point, level.score(1.4), linear=True) is not None
