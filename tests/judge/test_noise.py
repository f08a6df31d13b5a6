"""Who is woken by nothing: the run's own noise, whatever its size and shape."""

from __future__ import annotations

import math
import random

import pytest

from smartmon.records import Change

from .feed import anomalies, brief, changes, feed, row, rows


def _noise(sigma: float, seed: int, count: int, level: float = 2.0) -> list[float]:
    chance = random.Random(seed)
    return [level * math.exp(chance.gauss(0, sigma)) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 100])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("sigma", [0.10, 0.15, 0.20])
def test_noise_alone_wakes_a_person_at_most_once_in_ten_thousand_points(sigma: float, seed: int, every: int) -> None:
    found = feed(rows("loss", _noise(sigma, seed, 10_000), every=every))
    assert len(anomalies(found, "loss_spike")) > 50
    assert len(changes(found, Change.OPENED)) <= 1


@pytest.mark.parametrize(
    "values",
    [
        [1.0] * 300,
        [5 * math.exp(-i / 60) + 1 for i in range(300)],
        [-1.0 - i / 300 + 0.2 * math.sin(i) for i in range(300)],
        [0.3 * math.sin(i * 1.7) for i in range(300)],
        [round(x, 1) for x in _noise(0.05, 3, 300)],
        [1.0] * 40 + [0.2] * 40,
    ],
    ids=["constant", "decay", "negative", "round zero", "coarse", "sharp improvement"],
)
def test_healthy_shapes_wake_nobody(values: list[float]) -> None:
    assert changes(feed(rows("loss", values))) == []


def test_a_nan_in_the_window_blinds_nothing() -> None:
    quiet = [1.0 + 0.01 * (i % 3) for i in range(60)]
    found = feed(rows("loss", [*quiet, math.nan, *quiet[:5], 4.0]))
    assert brief(found)[-1] == ("loss_spike_296.8pct", "warning")


def test_a_level_that_stays_up_is_divergence_and_then_the_normal_one() -> None:
    quiet = _noise(0.03, 4, 120, level=1.0)
    found = feed(rows("loss", [*quiet, *(1.4 * x for x in quiet * 3)]))
    diverged = anomalies(found, "divergence")[0]
    assert diverged.severity == "warning"
    assert diverged.onset_step is not None
    assert 110 <= diverged.onset_step <= 121
    assert diverged.last_good_step == diverged.onset_step - 10
    closed = [c for c in changes(found, Change.RESOLVED) if c.kind == "divergence"]
    assert closed
    assert closed[0].resolution == "settled 40 % higher"


def test_a_runaway_loss_is_critical_within_a_few_points() -> None:
    quiet = [1.0 + 0.02 * (i % 5) for i in range(60)]
    found = feed(rows("loss", [*quiet, *(1.6**i for i in range(1, 8))]))
    critical = [a for a in anomalies(found, "divergence") if a.severity == "critical"]
    assert critical
    assert critical[0].step <= 66


def test_a_run_that_is_lost_at_once_needs_no_baseline() -> None:
    found = anomalies(feed(rows("loss", [12.4, 12.4, 44.2, 41.0, 37.5, 36.0])), "divergence")
    assert [(a.step, a.severity.value) for a in found] == [(5, "critical")]
    assert "far above where it began" in found[0].message


def test_a_bad_start_that_comes_back_is_none() -> None:
    assert anomalies(feed(rows("loss", [12.4, 12.4, 44.2, 41.0, 12.3, 12.1, 11.9])), "divergence") == []


def test_losses_below_zero_have_no_percentages_but_still_stand_out() -> None:
    quiet = [x - 2.0 for x in _noise(0.03, 4, 80, level=1.0)]
    assert brief(feed(rows("loss", [*quiet, 3.0, 3.0])), "loss_spike")[-1][1] == "warning"
    assert brief(feed(rows("loss", [*quiet, -0.9]))) == []


def test_a_change_of_the_logging_interval_is_not_news() -> None:
    averaged = rows("loss", _noise(0.03, 5, 60), every=10)
    single = rows("loss", _noise(0.03 * math.sqrt(10), 6, 300), first=601)
    assert changes(feed([*averaged, *single])) == []


def test_an_epochs_turn_starts_a_new_level() -> None:
    steps = [row(i, loss=2.0 if i <= 100 else 1.0, epoch=i / 100) for i in range(1, 201)]
    assert changes(feed(steps)) == []


def test_a_train_of_spikes_is_one_incident_with_a_count() -> None:
    values = [1.0 + 0.01 * (i % 3) for i in range(60)]
    for _ in range(500):
        values += [4.0, 1.0, 1.01]
    found = [c for c in changes(feed(rows("loss", values))) if c.kind == "loss_spike"]
    assert len([c for c in found if c.notify]) == 1
    assert found[-1].anomalies >= 490


def test_a_loss_that_is_mostly_zero_has_noise_all_the_same() -> None:
    chance = random.Random(5)
    values = [chance.choice([0.0, 0.0, 0.0, 1e-4, -1e-4, 2e-4, -3e-4]) if i % 2 else 0.0 for i in range(1000)]
    assert changes(feed([row(i, loss=x, reward=0.5) for i, x in enumerate(values)])) == []


def test_the_first_step_away_from_zero_is_no_alarm() -> None:
    values = [0.0] * 300 + [1e-4] + [0.0] * 300 + [1e-4]
    assert changes(feed([row(i, loss=x, reward=0.5) for i, x in enumerate(values)])) == []


def test_below_zero_nobody_is_told_of_percentages() -> None:
    quiet = [x - 2.0 for x in _noise(0.03, 4, 80, level=1.0)]
    message = anomalies(feed(rows("loss", [*quiet, 3.0, 3.0])), "loss_spike")[-1].message
    assert "%" not in message
    assert "is 4." in message
    assert "times" not in message
