"""`slow_divergence`: a level that creeps away is told of once; what only wanders is not."""

from __future__ import annotations

import random

import pytest

from tests.detectors.streams import anomalies, incidents, judged, noisy
from tests.judge.feed import row

KIND = "slow_divergence"
FLAT = [2.0] * 400


def creeping(share: float, points: int) -> list[float]:
    """Two, and from there up by a share a point."""
    return [2.0 * (1 + share) ** k for k in range(points)]


def test_a_rise_too_slow_for_any_point_to_stand_out_is_told_once() -> None:
    found = judged(noisy([*FLAT, *creeping(0.0005, 600)], sd=0.05))
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened"]
    (told,) = anomalies(found, KIND)
    assert told.severity == "warning"
    assert 550 < told.step < 850
    assert told.onset_step is not None
    assert told.step - told.onset_step == 40
    assert "above the best level of" in told.message
    assert not anomalies(found, "divergence")


def test_it_is_over_when_the_level_is_back() -> None:
    up = creeping(0.0005, 400)
    found = judged(noisy([*FLAT, *up, *reversed(up), *FLAT], sd=0.05))
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]


def test_a_level_that_rises_no_further_is_the_normal_one() -> None:
    up = creeping(0.0005, 400)
    found = judged(noisy([*FLAT, *up, *[up[-1]] * 1800], sd=0.05))
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]
    assert "settled 2" in next(f.resolution for f in found if getattr(f, "resolution", ""))


@pytest.mark.parametrize("sd", [0.05, 0.2, 0.3])
def test_a_rise_within_what_blocks_differ_by_is_none(sd: float) -> None:
    assert not anomalies(judged(noisy([2.0] * 4000, sd=sd)), KIND)


def test_data_that_alternates_between_two_kinds_is_quiet() -> None:
    rng = random.Random(5)
    levels = [2.6 if rng.random() < 0.3 else 2.0 for _ in range(4000)]
    assert not [f for f in judged(noisy(levels, sd=0.02)) if getattr(f, "change", None) == "opened"]


def test_what_divergence_told_of_is_not_told_again() -> None:
    found = judged(noisy([*FLAT, *[2.6] * 1500], sd=0.03))
    assert incidents(found, "divergence")
    assert not anomalies(found, KIND)


def test_reinforcement_learning_and_negative_losses_are_left_alone() -> None:
    up = [*FLAT, *creeping(0.001, 800)]
    with_rewards = [row(i + 1, loss=value, reward=0.5) for i, value in enumerate(up)]
    assert not anomalies(judged(with_rewards), KIND)
    assert not anomalies(judged([row(i + 1, loss=value - 4.0) for i, value in enumerate(up)]), KIND)


def test_storing_the_state_anywhere_changes_nothing() -> None:
    rows = noisy([*FLAT, *creeping(0.0008, 500)], sd=0.05)
    assert [repr(f) for f in judged(rows, every=7)] == [repr(f) for f in judged(rows)]


def test_a_resume_ends_it_and_keeps_the_best_level() -> None:
    rows = noisy([*FLAT, *creeping(0.0008, 400)], sd=0.03)
    again = noisy([2.5] * 300, sd=0.03, first=700, seed=8)
    found = judged([*rows, *again])
    steps = [(step, change) for step, change, _ in incidents(found, KIND)]
    assert [change for _, change in steps] == ["opened", "resolved", "opened"]
    assert steps[1][0] == 700
