"""`accuracy_drop`: what stands out of an evaluation's trend and noise, and what of a batch's."""

from __future__ import annotations

import json
import random

import pytest

from smartmon.detectors.accuracy_drop import AccuracyDrop, Drops
from smartmon.detectors.signal import Firing, Point

RISE = [40 + 15 * (1 - 0.7**i) for i in range(40)]
"""An accuracy that rises fast, then slowly, towards 55."""


def drops(
    values: list[float], *, evaluation: bool = True, averaged: bool = False, window: int = 10, guard: bool = True
) -> list[Firing]:
    state, found = Drops(), []
    for step, value in enumerate(values):
        point = Point("eval_accuracy", step, value, guard=guard, averaged=averaged)
        firing = state.judge(AccuracyDrop(), 10.0, window, point, evaluation=evaluation, trace=None)
        found += [firing] if firing else []
    return found


def told(values: list[float], **kind: bool) -> list[tuple[int, str]]:
    """Index and severity of what is sent to a person."""
    found = [(values.index(f.value or 0.0), str(f.severity)) for f in drops(values, **kind)]
    return [pair for pair in found if pair[1] != "info"]


def batches(size: int, right: float, count: int, seed: int = 3) -> list[float]:
    """The accuracy of batches of so many answers."""
    chance = random.Random(seed)
    return [100 * sum(chance.random() < right for _ in range(size)) / size for _ in range(count)]


def wobble(level: float, by: float, count: int, seed: int = 5) -> list[float]:
    chance = random.Random(seed)
    return [level + chance.gauss(0, by) for _ in range(count)]


@pytest.mark.parametrize("known", [7, 10, 20, 40])
def test_a_fall_for_good_out_of_a_rising_trend_is_critical_at_once(known: int) -> None:
    values = [*RISE[:known], *[RISE[known - 1] - 25 + 0.3 * i for i in range(30)]]
    found = drops(values)
    assert [(f.onset_step, f.last_good_step, str(f.severity)) for f in found] == [(known, known - 1, "critical")]


def test_a_lasting_fall_of_ten_points_is_a_warning_at_the_second_evaluation() -> None:
    steady = wobble(75, 0.5, 20)
    assert told([*steady, 62.1, 62.0]) == [(21, "warning")]
    assert told([*steady, 62.1, 75.0]) == []


def test_a_slow_slide_is_told_though_no_value_is_far_below_the_ones_before() -> None:
    steady = wobble(80, 0.3, 12)
    found = drops([*steady, *[80 - 0.8 * i for i in range(1, 17)]])
    assert [str(f.severity) for f in found if str(f.severity) != "info"] == ["warning"]
    assert "below its best level" in found[-1].message


def test_less_than_the_threshold_is_no_drop_however_it_came_about() -> None:
    steady = wobble(80, 0.3, 12)
    assert drops([*steady, *[80 - 0.8 * i for i in range(1, 12)], *[71.2] * 20]) == []


def test_an_evaluation_that_swings_widely_wakes_nobody() -> None:
    for seed in range(40):
        assert told(wobble(70, 4, 50, seed)) == []


@pytest.mark.parametrize(("values", "sent"), [([99.2, 79.2], []), ([99.2, 79.1, 60.8, 65.0], [(2, "critical")])])
def test_with_few_evaluations_known_only_much_that_lasts_is_told(
    values: list[float], sent: list[tuple[int, str]]
) -> None:
    assert told(values, averaged=True) == sent


def test_a_fall_is_told_once_again_when_it_is_deeper_and_not_after_it_is_the_level() -> None:
    steady = wobble(90, 0.5, 20)
    found = drops([*steady, *wobble(60, 0.5, 5), *wobble(45, 0.5, 5), *wobble(45, 3, 60)])
    assert [round(f.value or 0, -1) for f in found] == [60, 40]
    assert {str(f.severity) for f in found} == {"critical"}


def test_a_fall_that_was_told_is_no_noise_to_the_next_one() -> None:
    steady = wobble(80, 0.5, 20)
    values = [*steady, 50.1, 50.2, *wobble(80, 0.5, 10, 6), 55.1, 55.2]
    assert told(values) == [(20, "critical"), (32, "critical")]


@pytest.mark.parametrize("size", [1, 2, 4, 32])
@pytest.mark.parametrize("right", [0.5, 0.9, 0.985])
def test_the_accuracy_of_single_batches_wakes_nobody_however_coarse(size: int, right: float) -> None:
    assert told(batches(size, right, 1500), evaluation=False) == []


@pytest.mark.parametrize(("size", "right"), [(4, 0.985), (32, 0.9), (256, 0.7)])
def test_batches_that_all_get_worse_are_told_within_ten(size: int, right: float) -> None:
    values = [*batches(size, right, 300), *batches(size, right * 0.3, 10)]
    state, first = Drops(), None
    for step, value in enumerate(values):
        point = Point("accuracy", step, value)
        firing = state.judge(AccuracyDrop(), 10.0, 10, point, evaluation=False, trace=None)
        if firing is not None and str(firing.severity) != "info":
            first = first or step
    assert first is not None
    assert 300 <= first < 310


def test_one_ruined_batch_is_recorded() -> None:
    values = [*wobble(90, 1, 60), 12.0, *wobble(90, 1, 20)]
    assert [str(f.severity) for f in drops(values, evaluation=False)] == ["info"]


def test_of_noisy_batches_only_the_worst_are_recorded() -> None:
    assert len(drops(batches(4, 0.7, 2000), evaluation=False)) < 60


def test_without_the_noise_guard_the_plain_rule_holds_to_the_letter() -> None:
    found = drops([80.0, 80.0, 80.0, 69.0, 69.0, 71.0], guard=False)
    assert [(f.value, str(f.severity)) for f in found] == [(69.0, "warning"), (69.0, "warning")]


def test_another_value_of_the_same_step_replaces_the_first() -> None:
    state = Drops()
    found = []
    for step, value in [*enumerate(wobble(80, 0.3, 20)), (20, 55.0), (20, 80.0), (21, 80.0)]:
        point = Point("eval_accuracy", step, value)
        found.append(state.judge(AccuracyDrop(), 10.0, 10, point, evaluation=True, trace=None))
    assert [bool(f) for f in found[-3:]] == [True, False, False]
    assert state.down == 0
    assert 55.0 not in state.past.values


@pytest.mark.parametrize("value", [1e308, -1e308, 0.0])
def test_extreme_values_harm_nothing(value: float) -> None:
    for evaluation in (True, False):
        values = [*wobble(50, 2, 30), *[value] * 3, *wobble(50, 2, 30)] * 3
        assert len(drops(values, evaluation=evaluation)) < 30


def test_the_state_is_bounded_json_and_continues_exactly() -> None:
    values = [*wobble(80, 3, 300), *wobble(40, 3, 4)]
    whole, parts, kept = Drops(), Drops(), ""
    for step, value in enumerate([*values, *wobble(40, 3, 40)]):
        point = Point("eval_accuracy", step, value)
        one = whole.judge(AccuracyDrop(), 10.0, 10, point, evaluation=True, trace=None)
        other = parts.judge(AccuracyDrop(), 10.0, 10, point, evaluation=True, trace=None)
        assert one == other
        kept = json.dumps(parts.state(), allow_nan=False)
        parts = Drops()
        parts.restore(json.loads(kept))
    assert len(kept) < 6000
