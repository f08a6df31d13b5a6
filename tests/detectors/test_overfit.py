"""`overfit`: evaluation gets worse while training gets better, and nothing else that looks like it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from smartmon.detectors.overfit import Overfit, Overfitting
from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged
from tests.judge.feed import row

KIND = "overfit"


def run(evals: Sequence[float], trains: Sequence[float], *, every: int = 100, **more: Any) -> list[Observation]:
    """Ten training losses around each level, and an evaluation after them."""
    found = []
    for i, (value, level) in enumerate(zip(evals, trains)):
        for k in range(10):
            found.append(row(i * every + (k + 1) * every // 10, loss=level * (1 + 0.01 * (k % 3 - 1))))
        found.append(row((i + 1) * every, eval_loss=value, **{name: values[i] for name, values in more.items()}))
    return found


FALLING = [2.0, 1.5, 1.2, 1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.35]
WORSE = [2.1, 1.7, 1.5, 1.45, 1.5, 1.56, 1.63, 1.7, 1.78, 1.85]


def test_three_worse_evaluations_while_training_gets_better_are_told_once() -> None:
    found = judged(run(WORSE, FALLING))
    assert incidents(found, KIND) == [(800, "opened", "warning")]
    (told,) = anomalies(found, KIND)
    assert (told.onset_step, told.last_good_step, told.expected) == (500, 400, pytest.approx(1.45))
    assert "17.2 % above its best, 1.45 at step 400" in told.message
    assert "training loss went from 1 to 0.6" in told.message


@pytest.mark.parametrize(
    ("evals", "opened"),
    [
        ([1.2, 1.0, 1.1, 1.25, 1.4], 500),  # five epochs, one evaluation each: all that there is to go by
        ([1.0, 1.3, 1.6], 300),  # three, from bad to worse: grave enough to need no more
        ([1.0, 1.05, 1.1], None),
        ([1.5, 1.2, 1.0, 1.04, 1.03], None),
        ([1.2, 1.0, 0.9, 0.85], None),
    ],
)
def test_a_fine_tune_with_few_evaluations_is_judged_by_what_it_has(evals: list[float], opened: int | None) -> None:
    steps = [step for step, change, _ in incidents(judged(run(evals, FALLING)), KIND) if change == "opened"]
    assert steps == ([] if opened is None else [opened])


def test_half_again_the_best_is_critical() -> None:
    found = judged(run([*WORSE, 2.0, 2.2, 2.4], [*FALLING, 0.3, 0.25, 0.2]))
    assert incidents(found, KIND) == [(800, "opened", "warning"), (1200, "escalated", "critical")]


def test_one_bad_evaluation_is_none() -> None:
    found = judged(run([2.1, 1.7, 1.5, 1.45, 7.6, 1.44, 1.43, 1.42], FALLING))
    assert anomalies(found, KIND) == []


def test_a_gap_between_training_and_evaluation_is_none_while_both_get_better() -> None:
    falling = [3.0 * 0.93**i for i in range(20)]
    assert anomalies(judged(run([2 * value for value in falling], falling)), KIND) == []


def test_evaluations_that_only_scatter_are_quiet() -> None:
    rng = random.Random(3)
    scattered = [1.5 * rng.lognormvariate(0, 0.03) for _ in range(60)]
    assert anomalies(judged(run(scattered, [1.0] * 60)), KIND) == []


def test_a_level_printed_with_two_digits_is_quiet() -> None:
    rounded = [0.047, 0.046, 0.046, 0.047, 0.047, 0.047, 0.047, 0.048, 0.047]
    assert anomalies(judged(run(rounded, FALLING)), KIND) == []


def test_where_training_gets_worse_too_it_says_so_and_wakes_nobody() -> None:
    found = judged(run(WORSE, [1.0, 0.9, 0.8, 0.8, 0.85, 0.9, 0.95, 1.0, 1.0, 1.0]))
    assert [(a.severity.value, a.reason.split("_")[0]) for a in anomalies(found, KIND)] == [("info", "eval")]
    assert "this is no overfitting" in anomalies(found, KIND)[0].message


def test_a_loss_that_runs_away_is_told_as_that_alone() -> None:
    found = judged(run([2.1, 1.7, 1.5, 1.45, 1.52, 1.9, 10.5], [*FALLING[:4], 1.0, 0.99, 9.0]))
    assert incidents(found, KIND) == []
    assert [change for _, change, _ in incidents(found, "divergence")]


def test_without_a_training_loss_it_says_what_is_missing() -> None:
    found = judged([row(100 * i, eval_loss=value) for i, value in enumerate(WORSE)])
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened"]
    assert "no training loss is known" in anomalies(found, KIND)[0].message


def test_the_loss_that_the_trainer_evaluates_on_training_data_comes_first() -> None:
    evaluated = [value * 1.01 for value in WORSE]
    found = judged(run(WORSE, FALLING, eval_train_loss=evaluated))
    assert {a.severity.value for a in anomalies(found, KIND)} == {"info"}


def test_a_score_that_gets_better_is_told_with_it() -> None:
    scores = [70, 75, 78, 79, 80, 81, 82, 83, 84, 85]
    (told,) = anomalies(judged(run(WORSE, FALLING, eval_accuracy=scores)), KIND)
    assert "yet eval_accuracy got better, from 79 to 83" in told.message


def test_it_is_over_when_evaluation_is_back_near_its_best() -> None:
    found = judged(run([*WORSE[:9], 1.46], FALLING))
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]


def test_after_a_rise_that_went_by_itself_the_next_must_be_higher() -> None:
    wave = [1.45, 1.5, 1.56, 1.63, 1.7]
    evals = [2.1, 1.7, 1.5, *wave, *wave, *wave, 1.8, 1.9, 2.0, 2.1]
    told = [(step, change) for step, change, _ in incidents(judged(run(evals, [1.0] * 30)), KIND)]
    assert told == [(800, "opened"), (900, "resolved"), (1900, "opened")]


def test_a_resume_takes_the_evaluations_after_it_back() -> None:
    again = [row(step, loss=0.9, at=1.8e9 + step) for step in range(410, 500, 10)]
    again += [row(500, eval_loss=1.44, at=1.8e9 + 500)]
    found = judged([*run(WORSE, FALLING), *again])
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]
    detector = Overfitting(Overfit())
    detector.evals, detector.count = [[100, 0.5, 1.0], [200, 0.1, 1.0], [300, 0.4, 1.0]], 3
    detector.best = [200, 0.1, 1.0]
    detector.resume(200)
    assert (detector.best, detector.count) == ([100, 0.5, 1.0], 1)


def test_rewards_are_no_loss_but_preferences_are() -> None:
    rewarded = [row(o.step, reward=0.5, **o.values) for o in run(WORSE, FALLING)]
    assert anomalies(judged(rewarded), KIND) == []
    preferred = [row(o.step, **{"eval_rewards/margins": 0.5, **o.values}) for o in run(WORSE, FALLING)]
    assert len(anomalies(judged(preferred), KIND)) == 1


@pytest.mark.parametrize("odd", [math.nan, math.inf, 0.0, -1.0, 1e308, 5e-324])
def test_odd_values_raise_nothing_and_hide_nothing(odd: float) -> None:
    rows = run(WORSE, FALLING)
    rows[33] = row(rows[33].step, loss=odd)
    found = judged([*rows, row(1100, eval_loss=odd), row(1200, eval_loss=odd)])
    assert (800, "opened", "warning") in incidents(found, KIND)


def test_a_state_stored_after_every_row_gives_the_same() -> None:
    rows = run([*WORSE, 2.4, 1.4], [*FALLING, 0.3, 0.3])
    assert judged(rows, every=1) == judged(rows)
