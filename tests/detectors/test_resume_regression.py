"""`resume_regression`: worse after a resume than at the same steps before, and not merely after a resume."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from smartmon.detectors.resume_regression import KEPT, Regression, ResumeRegression
from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged
from tests.judge.feed import row

KIND = "resume_regression"
LATER = 1.8e9


def level(step: int) -> float:
    return 2.0 * math.exp(-step / 400) + 0.5


def attempt(
    first: int,
    last: int,
    *,
    every: int = 1,
    off: Callable[[int], float] = lambda _: 0.0,
    sd: float = 0.0,
    at: float = 0,
) -> list[Observation]:
    """Losses of steps first to last; `off` is how much worse they are, as a logarithm, at the k-th of them."""
    rng = random.Random(first + 1000 * every)
    steps = range(first, last + 1, every)
    return [
        row(step, at=LATER + at + step, loss=level(step) * math.exp(off(k) + rng.gauss(0, sd)))
        for k, step in enumerate(steps)
    ]


@pytest.mark.parametrize("sd", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("back", [1, 5, 30, 200])
def test_a_clean_resume_is_quiet(back: int, every: int, sd: float) -> None:
    rows = [*attempt(1, 500 * every, every=every, sd=sd)]
    again = attempt(1 + (500 - back) * every, 600 * every, every=every, sd=sd, at=1e5)
    assert anomalies(judged([*rows, *again]), KIND) == []


def test_a_lasting_rise_is_recorded_at_ten_pairs_and_told_at_fifteen() -> None:
    found = judged([*attempt(1, 500, sd=0.002), *attempt(460, 700, off=lambda _: 0.2, sd=0.002, at=1e5)])
    assert [(a.step, a.severity.value) for a in anomalies(found, KIND)] == [(469, "info"), (474, "warning")]
    assert incidents(found, KIND)[0] == (474, "opened", "warning")
    told = anomalies(found, KIND)[1]
    assert (told.onset_step, told.last_good_step) == (460, 459)
    assert "22.1 % higher than before the resume at step 460" in told.message


def test_weights_that_did_not_come_back_are_told_at_ten() -> None:
    found = judged([*attempt(1, 500), *attempt(460, 600, off=lambda _: 1.0, at=1e5)])
    assert incidents(found, KIND)[0] == (469, "opened", "warning")


@pytest.mark.parametrize("points", [5, 10])
def test_a_bump_of_a_few_points_wakes_nobody(points: int) -> None:
    found = judged([*attempt(1, 500), *attempt(460, 700, off=lambda k: 0.3 if k < points else 0.0, at=1e5)])
    assert "warning" not in {a.severity.value for a in anomalies(found, KIND)}


def test_a_rise_that_fades_is_over_once_the_loss_is_back() -> None:
    found = judged([*attempt(1, 500), *attempt(460, 1200, off=lambda k: 0.2 * math.exp(-k / 100), at=1e5)])
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]


def test_steps_logged_at_another_interval_are_compared_all_the_same() -> None:
    for before, after in ((1, 10), (10, 1)):
        first = attempt(10, 1000, every=before, sd=0.01)
        clean = attempt(800, 1100, every=after, sd=0.01, at=1e5)
        assert anomalies(judged([*first, *clean]), KIND) == []
        worse = attempt(800, 1100, every=after, off=lambda _: 0.2, sd=0.01, at=1e5)
        assert incidents(judged([*first, *worse]), KIND)[0][1] == "opened"


def test_without_steps_done_twice_the_losses_on_both_sides_are_compared() -> None:
    found = judged([*attempt(1, 500, sd=0.01), *attempt(498, 560, off=lambda _: 0.3, sd=0.01, at=1e5)])
    assert incidents(found, KIND)[0] == (517, "opened", "warning")
    assert "in its first 20 values" in anomalies(found, KIND)[0].message


def test_a_second_resume_from_worse_weights_is_compared_with_what_was_good() -> None:
    worse = [*attempt(1, 500), *attempt(440, 470, off=lambda _: 0.2, at=1e5)]
    again = attempt(460, 600, off=lambda _: 0.2, at=2e5)
    changes = [change for _, change, _ in incidents(judged([*worse, *again]), KIND)]
    assert changes[:3] == ["opened", "resolved", "opened"]


def test_a_run_that_begins_anew_is_on_no_trial() -> None:
    anew = [row(step, at=LATER + 1e5 + step, loss=3 * level(step)) for step in range(1, 100)]
    assert anomalies(judged([*attempt(1, 500), *anew]), KIND) == []


def test_rewards_make_the_loss_meaningless() -> None:
    rows = [*attempt(1, 500), *attempt(460, 600, off=lambda _: 0.5, at=1e5)]
    rewarded = [row(o.step, at=o.at, reward=1.0, **o.values) for o in rows]
    assert anomalies(judged(rewarded), KIND) == []


@pytest.mark.parametrize("odd", [math.nan, math.inf, 0.0, -2.0, 1e308, 5e-324])
def test_odd_values_raise_nothing_and_hide_nothing(odd: float) -> None:
    again = attempt(460, 600, off=lambda _: 0.3, at=1e5)
    again[3] = row(again[3].step, at=again[3].at, loss=odd)
    assert incidents(judged([*attempt(1, 500), *again]), KIND)[0][1] == "opened"


def test_what_it_remembers_is_bounded_however_long_the_run() -> None:
    detector = Regression(ResumeRegression())
    detector.steps, detector.logs = list(range(KEPT)), [0.0] * KEPT
    for step in (90, 60, 30, 10):
        detector.resume(step)
        assert sum(len(v) for v in detector.state().values() if isinstance(v, list)) <= 600


def test_a_state_stored_after_every_row_gives_the_same() -> None:
    rows = [*attempt(1, 200), *attempt(150, 175, off=lambda _: 0.2, at=1e5)]
    rows += attempt(170, 330, off=lambda k: 0.2 * math.exp(-k / 60), at=2e5)
    assert judged(rows, every=1) == judged(rows)
