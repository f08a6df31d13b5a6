"""Who is woken by what: each limit of the severity rules, from both sides."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from smartmon.detectors.divergence import Divergence, Shift
from smartmon.detectors.noise import Level
from smartmon.detectors.signal import Point
from smartmon.records import Observation
from smartmon.stats import median

from .feed import anomalies, brief, feed, row, rows

KNOWN = 200


def noise(by: float, count: int = KNOWN) -> list[float]:
    """Losses around 1, always the same ones, whose logarithm has that deviation."""
    chance = random.Random(7)
    return [math.exp(chance.gauss(0, by)) for _ in range(count)]


def at(z: float, known: list[float], **kind: Any) -> float:
    """The value that stands so many deviations out of known ones; with `ratio` the one so many times their level."""
    level = Level(**({"floor": 0.02} | kind))
    for step, value in enumerate(known):
        level.learn(step, value, level.score(value))
    low, high = (1e-6, 1e6) if level.sign > 0 else (100.0, -1000.0)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if level.score(middle).z < z else (low, middle)
    return low


def times(ratio: float, known: list[float]) -> float:
    """The loss so many times the level of known ones, by the baseline that says so first."""
    recent = [median(known[-100:]), median(known[-30:])]
    return ratio * min(recent)


def last(values: list[float], every: int = 1, kind: str = "loss_spike", metric: str = "loss", **kw: object) -> str:
    """Severity of the anomaly of that kind at the last value; nothing where there is none."""
    found = anomalies(feed(rows(metric, values, every=every), **kw), kind)
    return str(found[-1].severity) if found and found[-1].step == 1 + (len(values) - 1) * every else ""


QUIETER, NOISY, WILD = noise(0.06), noise(0.15), noise(0.28)


@pytest.mark.parametrize(("z", "severity"), [(4.9, "info"), (5.1, "warning")])
def test_two_observations_of_five_deviations_are_a_warning(z: float, severity: str) -> None:
    loss = at(z, QUIETER)
    assert last([*QUIETER, loss]) == "info"
    assert last([*QUIETER, loss, loss]) == severity


@pytest.mark.parametrize(("every", "severity"), [(9, "info"), (10, "warning")])
def test_one_observation_is_enough_where_it_averages_ten_steps(every: int, severity: str) -> None:
    assert last([*QUIETER, at(5.1, QUIETER)], every) == severity
    assert last([*QUIETER, at(4.9, QUIETER)], every) == "info"


@pytest.mark.parametrize(
    ("known", "loss", "severity"),
    [
        (QUIETER, times(1.98, QUIETER), "info"),
        (QUIETER, times(2.02, QUIETER), "warning"),
        (NOISY, at(5.9, NOISY), "info"),
        (NOISY, at(6.1, NOISY), "warning"),
    ],
)
def test_twice_the_level_at_six_deviations_is_told_at_once(known: list[float], loss: float, severity: str) -> None:
    assert loss < 3
    assert last([*known, loss]) == severity


@pytest.mark.parametrize(
    ("known", "loss", "severity"),
    [(WILD, at(4.9, WILD), "info"), (WILD, at(5.1, WILD), "warning")],
)
def test_three_times_the_level_at_five_deviations_is_told_at_once(
    known: list[float], loss: float, severity: str
) -> None:
    assert loss > 3
    assert last([*known, loss]) == severity


@pytest.mark.parametrize(("apart", "severity"), [(24, "warning"), (25, "info")])
def test_five_candidates_within_a_hundred_points_are_a_train(apart: int, severity: str) -> None:
    loss = at(7, QUIETER)
    train = [loss, *QUIETER[: apart - 1]] * 4 + [loss]
    assert last([*QUIETER, *train]) == severity


@pytest.mark.parametrize(("z", "severity"), [(7.9, "info"), (8.1, "warning")])
def test_with_fewer_than_twenty_values_eight_plain_deviations_are_asked(z: float, severity: str) -> None:
    known = [math.exp(0.05 * (-1) ** i) for i in range(10)]
    deviation = 0.05 * math.sqrt(10 / 9)
    assert last([*known, math.exp(z * deviation)], every=100) == severity


@pytest.mark.parametrize(("points", "severity"), [(18.7, "info"), (19.1, "warning")])
def test_a_drop_of_accuracy_is_measured_against_its_own_noise(points: float, severity: str) -> None:
    # Neighbours are 3.5 points apart, so the deviation is 3.5 x 1.4826 / sqrt 2, and 5 x (1 + 3 / 101) are asked.
    swinging = [80 + 1.75 * (-1) ** i for i in range(101)]
    assert last([*swinging, 80.35 - points], 100, "accuracy_drop", "accuracy") == severity


def test_an_accuracy_that_lost_much_is_critical_and_told_once() -> None:
    found = feed(rows("accuracy", [80.0] * 40 + [61.0] * 6 + [59.0] * 4, every=100), loss_window=50)
    assert [(a.step, str(a.severity)) for a in anomalies(found, "accuracy_drop")] == [
        (4001, "warning"),
        (4601, "critical"),
    ]
    found = feed(rows("accuracy", [30.0] * 40 + [14.0] * 5, every=100))
    assert [s for _, s in brief(found, "accuracy_drop")] == ["critical"]


RISING = [1.0, 1.005, 1.01, 1.015, 1.02, 1.025, 1.03, 1.035]


@pytest.mark.parametrize(("end", "severity"), [(1.048, "info"), (1.052, "warning")])
def test_a_rise_within_the_window_is_told_from_five_percent(end: float, severity: str) -> None:
    assert last([*RISING, end, end + 0.001], kind="divergence") == severity


@pytest.mark.parametrize(("before", "severity"), [(9, "warning"), (10, "info")])
def test_a_rise_must_leave_the_noise_once_twenty_values_are_known(before: int, severity: str) -> None:
    noisy = noise(0.06, before)
    rise = [1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08, 1.09]
    assert last([*noisy, *rise], kind="divergence") == severity


@pytest.mark.parametrize(("level", "severity"), [(1.4, "warning"), (1.6, "critical")])
def test_a_level_that_stays_half_up_is_critical(level: float, severity: str) -> None:
    found = feed(rows("loss", [*noise(0.02), *[level] * 40]))
    assert {str(a.severity) for a in anomalies(found, "divergence") if a.context["rule"] == "level"} == {severity}


@pytest.mark.parametrize(("level", "severities"), [(1.15, ["warning"]), (1.3, ["warning", "critical"])])
def test_a_level_a_fifth_up_is_critical_once_open_for_two_hundred_points(level: float, severities: list[str]) -> None:
    shift, baseline, found = Shift(), Level(floor=0.02), []
    for step, value in enumerate([*noise(0.02), *[level] * 240]):
        score = baseline.score(value)
        firing = shift.judge(Divergence(), 10, Point("loss", step, value), score, baseline)
        # The level is not learned here: by then the run's own would have been adopted as normal.
        if step < KNOWN:
            baseline.learn(step, value, score)
        found += [str(firing.severity)] if firing else []
    assert found == severities


def _with_norms(losses: list[float], spike_at: int) -> list[Observation]:
    norms = [0.5 + 0.01 * (i % 4) for i in range(len(losses))]
    norms[spike_at] = 9.0
    return [row(i + 1, loss=loss, grad_norm=norm) for i, (loss, norm) in enumerate(zip(losses, norms))]


QUIET = [1.0 + 0.01 * (i % 3) for i in range(200)]


@pytest.mark.parametrize("distance", [-4, -3, 0, 1, 3, 4])
def test_a_gradient_spike_within_three_points_makes_a_lone_spike_a_warning(distance: int) -> None:
    found = feed(_with_norms([*QUIET, 1.6, *QUIET[:20]], 200 + distance))
    severities = [(a.step, str(a.severity)) for a in anomalies(found, "loss_spike")]
    told = [(201, "warning")] if abs(distance) <= 3 else []
    assert severities == (told if distance in (-3, 0) else [(201, "info"), *told])


def test_a_spike_confirmed_by_the_gradient_carries_its_own_evidence() -> None:
    found = anomalies(feed(_with_norms([*QUIET, 1.6, *QUIET[:20]], 202)), "loss_spike")[-1]
    assert found.message.endswith("of the run's own noise, and the gradient norm spiked soon after it, at step 203.")
    assert found.context["loss_history"][-1] == found.value == 1.6
    assert found.step == 201


def test_a_confirmed_spike_is_told_once_and_not_without_a_spike() -> None:
    found = feed(_with_norms([*QUIET, 1.2, *QUIET[:20]], 202))
    assert anomalies(found, "loss_spike") == []
    twice = _with_norms([*QUIET, 1.6, *QUIET[:20]], 201)
    twice[202].values["grad_norm"] = 9.0  # type: ignore[index]
    assert len([a for a in anomalies(feed(twice), "loss_spike") if a.severity == "warning"]) == 1


@pytest.mark.parametrize(("bad", "severity"), [([1, 0, 1], "warning"), ([1, 1], "critical")])
def test_two_nans_in_a_row_are_critical_and_two_apart_are_not(bad: list[int], severity: str) -> None:
    values = [1.0] * 30 + [math.nan if b else 1.0 for b in bad]
    assert last(values, kind="nonfinite") == severity


@pytest.mark.parametrize(("gap", "severity"), [(19, "critical"), (20, "warning")])
def test_three_nans_count_only_within_the_last_twenty(gap: int, severity: str) -> None:
    values = [1.0] * 30 + [math.nan, 1.0, math.nan, *[1.0] * (gap - 3), math.nan]
    assert last(values, kind="nonfinite") == severity


@pytest.mark.parametrize(("norm", "fires"), [(math.nan, True), (0.0, True), (0.5, False), (None, False)])
def test_a_first_zero_is_a_hidden_nan_only_beside_a_dead_gradient(norm: float | None, fires: bool) -> None:
    zero = {"loss": 0.0} | ({} if norm is None else {"grad_norm": norm})
    found = feed([*rows("loss", [1.0] * 30), row(31, **zero)])
    assert bool([a for a in anomalies(found, "nonfinite") if a.metric == "loss"]) is fires


@pytest.mark.parametrize(("usual", "fires"), [(0.009, False), (0.011, True)])
def test_a_loss_that_was_near_zero_anyway_hides_nothing(usual: float, fires: bool) -> None:
    assert bool(anomalies(feed(rows("loss", [usual] * 30 + [0.0, 0.0])), "nonfinite")) is fires
