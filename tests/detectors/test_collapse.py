"""`collapse`: a loss over a cliff, rewards that teach nothing; not memorising, and not NaN behind zeros."""

from __future__ import annotations

import math

import pytest

from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged, noisy
from tests.judge.feed import row

KIND = "collapse"
CLIFF = noisy([2.0] * 40 + [1.5, 0.4, 0.05] + [0.004] * 40, sd=0.05)


def reinforced(**values: list[float]) -> list[Observation]:
    """Rows of a run with rewards; the values of each metric one after another."""
    names = {name.replace("__", "/"): series for name, series in values.items()}
    rows = max(len(series) for series in names.values())
    return [row(i + 1, loss=0.0, reward=0.5, **{n: s[i] for n, s in names.items()}) for i in range(rows)]


def test_a_loss_that_falls_over_a_cliff_is_told_once() -> None:
    found = judged(CLIFF)
    assert incidents(found, KIND) == [(54, "opened", "warning")]
    assert anomalies(found, KIND)[0].reason == "collapse_loss"


def test_a_cliff_in_the_first_steps_is_told_too() -> None:
    assert [c for _, c, _ in incidents(judged(noisy([2.0, 2.0, 1.9, 1.5, 0.1] + [0.003] * 30)), KIND)] == ["opened"]


@pytest.mark.parametrize(
    "levels",
    [
        [6.3 * math.exp(-i / 50) + 0.001 for i in range(400)],  # memorised by and by
        [0.004] * 200,
        [2.0] * 50 + [0.2] * 100,
        [5.0 * 0.3 ** (i // 40) for i in range(400)],  # an epoch's staircase
        [3.0] * 100,
    ],
)
def test_other_ways_down_are_none(levels: list[float]) -> None:
    assert anomalies(judged(noisy(levels, sd=0.1)), KIND) == []


def test_coming_back_from_an_explosion_is_none() -> None:
    found = judged(noisy([1e6] * 10 + [0.02] * 50 + [1e9] * 45 + [0.01] * 50, sd=0.05))
    assert anomalies(found, KIND) == []


def test_zeros_after_a_real_loss_are_left_to_nonfinite() -> None:
    assert anomalies(judged([*noisy([2.0] * 40), *noisy([0.0] * 60, first=41)]), KIND) == []


def test_a_loss_that_was_never_anything_but_zero_is_told() -> None:
    found = judged([row(i + 1, loss=0.0, grad_norm=0.0) for i in range(30)])
    assert incidents(found, KIND) == [(10, "opened", "warning")]
    assert "no label reaches it" in anomalies(found, KIND)[0].message


def test_it_is_over_when_the_loss_is_back() -> None:
    found = judged([*CLIFF, *noisy([2.0] * 20, first=200)])
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]


def test_a_negative_loss_has_no_floor() -> None:
    assert anomalies(judged(noisy([1.0] * 30, sd=0.1) + noisy([-3.0] * 60, first=31)), KIND) == []


@pytest.mark.parametrize(
    ("values", "metric"),
    [
        ({"entropy": [1.2] * 30 + [0.01] * 25}, "entropy"),
        ({"actor__entropy": [1.2] * 30 + [0.01] * 25}, "actor/entropy"),
        ({"reward_std": [0.4] * 30 + [0.0] * 25}, "reward_std"),
        ({"frac_reward_zero_std": [0.3] * 30 + [1.0] * 25}, "frac_reward_zero_std"),
        ({"frac_reward_zero_std": [1.0] * 25}, "frac_reward_zero_std"),
        ({"completions__clipped_ratio": [0.1] * 30 + [1.0] * 25}, "completions/clipped_ratio"),
    ],
)
def test_reinforcement_learning_that_learns_nothing_any_more(values: dict[str, list[float]], metric: str) -> None:
    found = judged(reinforced(**values))
    assert [(a.metric, a.severity.value) for a in anomalies(found, KIND)] == [(metric, "warning")]


@pytest.mark.parametrize(
    "values",
    [
        {"entropy": [1.2 * 0.97**i + 0.2 for i in range(100)]},
        {"reward_std": [0.4, 0.0] * 50},
        {"frac_reward_zero_std": [0.9] * 100},
        {"completions__clipped_ratio": [1.0, 0.5] * 50},
    ],
)
def test_reinforcement_learning_that_still_learns_is_quiet(values: dict[str, list[float]]) -> None:
    assert anomalies(judged(reinforced(**values)), KIND) == []


def test_answers_cut_short_from_the_start_wake_nobody() -> None:
    found = judged(reinforced(completions__clipped_ratio=[1.0] * 60))
    assert [a.severity.value for a in anomalies(found, KIND)] == ["info"]


def test_two_signs_are_one_incident_that_ends_with_the_last() -> None:
    spread = [0.4] * 30 + [0.0] * 30 + [0.4] * 30
    entropy = [1.2] * 30 + [0.01] * 40 + [1.2] * 20
    found = judged(reinforced(reward_std=spread, entropy=entropy))
    assert [(s, c) for s, c, _ in incidents(found, KIND)] == [(50, "opened"), (71, "resolved")]


def test_entropy_means_nothing_outside_of_reinforcement_learning() -> None:
    rows = [row(i + 1, loss=1.0, entropy=1.2 if i < 30 else 0.001) for i in range(90)]
    assert anomalies(judged(rows), KIND) == []


def test_a_resume_judges_anew() -> None:
    again = [row(40 + i, loss=2.0, at=1.8e9 + i) for i in range(60)]
    found = judged([*CLIFF, *again])
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -1.0, 1e308])
def test_odd_values_raise_nothing(odd: float) -> None:
    rows = [*CLIFF[:10], row(500, loss=odd, entropy=odd), *noisy([2.0] * 50, first=501)]
    assert anomalies(judged(rows), KIND) == []


def test_a_state_stored_after_every_row_gives_the_same() -> None:
    rows = [*CLIFF, *noisy([2.0] * 20, first=200), *reinforced(entropy=[1.2] * 30 + [0.01] * 30)]
    assert judged(rows, every=1) == judged(rows)
