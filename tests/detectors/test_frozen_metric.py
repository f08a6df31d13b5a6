"""`frozen_metric`: what always changed and then repeats one value is told; what may repeat is not."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged
from tests.judge.feed import row

KIND = "frozen_metric"


def train(count: int, *, digits: int = 4, first: int = 1, seed: int = 3, **more: Any) -> list[Observation]:
    chance = random.Random(seed)
    return [
        row(first + i, loss=round(2 * chance.lognormvariate(0, 0.1), digits), grad_norm=chance.random() + 0.5, **more)
        for i in range(count)
    ]


def stuck(metric: str, value: float, count: int, *, first: int = 201, seed: int = 5, **more: Any) -> list[Observation]:
    rows = train(count, first=first, seed=seed, **more)
    return [row(o.step, **{**o.values, metric: value}) for o in rows]


def evals(metric: str, values: Sequence[float], *, every: int = 100, **more: Sequence[float]) -> list[Observation]:
    return [
        row((i + 1) * every, **{metric: value, **{name: others[i] for name, others in more.items()}})
        for i, value in enumerate(values)
    ]


def told(rows: Sequence[Observation]) -> list[tuple[str, str, int]]:
    return [(a.metric, a.severity.value, a.step) for a in anomalies(judged(rows), KIND)]


MOVING = [2.0913, 1.8021, 1.6544, 1.5532, 1.4817, 1.4321]


@pytest.mark.parametrize("digits", [1, 2, 3, 4, 8])
def test_healthy_noise_in_any_number_of_digits_is_silent(digits: int) -> None:
    assert told(train(3000, digits=digits)) == []


@pytest.mark.parametrize("metric", ["loss", "grad_norm"])
def test_the_tenth_equal_value_is_told_once_and_over_when_it_changes(metric: str) -> None:
    rows = [*train(200), *stuck(metric, 1.7243, 40), *train(50, first=241, seed=9)]
    assert told(rows) == [(metric, "warning", 210)]
    found = judged(rows)
    assert incidents(found, KIND) == [(210, "opened", "warning"), (241, "resolved", "warning")]
    (frozen,) = anomalies(found, KIND)
    assert (frozen.reason, frozen.onset_step) == (f"frozen_{metric}", 201)
    assert "1.7243, 10 times in a row since step 201" in frozen.message


def test_nine_equal_values_are_nothing() -> None:
    assert told([*train(200), *stuck("loss", 1.7243, 9), *train(50, first=210, seed=9)]) == []


def test_a_third_equal_evaluation_is_told() -> None:
    rows = evals("eval_loss", [*MOVING, 1.4, 1.4, 1.4, 1.4, 1.3])
    found = judged(rows)
    assert told(rows) == [("eval_loss", "warning", 900)]
    assert incidents(found, KIND) == [(900, "opened", "warning"), (1100, "resolved", "warning")]


def test_scores_that_repeat_while_the_losses_are_nan_are_told() -> None:
    """As a detector's mean average precision that is copied on from the last good epoch."""
    scores = [0.10731, 0.19842, 0.25311, 0.30127, 0.33412, 0.35871, 0.35871, 0.35871]
    rows = evals("metrics/mAP50(B)", scores, **{"val/box_loss": [*MOVING, math.nan, math.nan]})
    assert ("metrics/mAP50(B)", "warning", 800) in told(rows)


def test_an_accuracy_that_rests_while_the_evaluation_loss_moves_is_learned() -> None:
    accuracies = [0.61, 0.72, 0.79, 0.83, 0.86, 0.8873, 0.8873, 0.8873, 0.8873, 0.8873]
    losses = [*MOVING, 1.4011, 1.3874, 1.3765, 1.3701]
    assert told(evals("eval_accuracy", accuracies, eval_loss=losses)) == []


def test_an_accuracy_that_is_frozen_with_its_loss_is_told_with_it() -> None:
    accuracies = [0.6117, 0.7234, 0.7911, 0.8345, 0.8612, 0.8873, 0.8873, 0.8873]
    rows = evals("eval_accuracy", accuracies, eval_loss=[*MOVING, MOVING[-1], MOVING[-1]])
    assert sorted(told(rows)) == [("eval_accuracy", "warning", 800), ("eval_loss", "warning", 800)]
    assert [change for _, change, _ in incidents(judged(rows), KIND)] == ["opened"]


@pytest.mark.parametrize(
    ("why", "rows"),
    [
        ("converged and rounded", evals("eval_loss", [2.4, 2.37, 2.35, 2.34, 2.33, 2.32, 2.31, 2.31, 2.31, 2.31])),
        ("all right", evals("eval_accuracy", [0.61, 0.75, 0.83, 0.91, 0.97, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])),
        ("seen before", evals("eval_loss", [2.0913, 1.8021, 1.6544, 1.8021, 1.6544, 1.6544, 1.6544, 1.6544])),
        ("too few before", evals("eval_loss", [2.0913, 1.8021, 1.6544, 1.6544, 1.6544, 1.6544])),
        ("carried on in every row", evals("eval_loss", [v for v in MOVING for _ in range(50)], every=1)),
        ("a setting", [row(i, loss=2 + i % 7 / 9, max_grad_norm=1.0, learning_rate=1e-4) for i in range(300)]),
        ("a clock", evals("eval_runtime", [*MOVING, 1.4, 1.4, 1.4, 1.4])),
        ("masked or memorised", [*train(200), *stuck("loss", 0.0, 60)]),
    ],
)
def test_what_may_repeat_is_silent(why: str, rows: list[Observation]) -> None:
    assert told(rows) == [], why


def test_a_running_average_in_few_digits_comes_to_rest_by_rounding() -> None:
    rows = [row(i, loss=round(1.12 + 0.8 / (1 + i / 3), 3)) for i in range(1, 2000)]
    assert told(rows) == []


def test_once_the_learning_rate_has_decayed_nothing_has_to_change() -> None:
    rates = [1e-4] * 6 + [1e-7] * 4
    assert told(evals("eval_loss", [*MOVING, 1.4, 1.4, 1.4, 1.4], learning_rate=rates)) == []


def test_values_that_are_no_numbers_are_neither_repeats_nor_changes() -> None:
    rows = [*train(200), *stuck("loss", math.nan, 40), *stuck("loss", math.inf, 40, first=241)]
    assert told(rows) == []
    broken = [row(o.step, **({} if o.step % 2 else o.values)) for o in stuck("loss", 1.7243, 40)]
    assert told([*train(200), *broken]) == [("loss", "warning", 220)]
    negative = [row(o.step, loss=-o.values["loss"]) for o in [*train(200), *stuck("loss", 1.7243, 40)]]
    assert told(negative) == [("loss", "warning", 210)]


def test_what_is_told_again_after_a_resume_repeats_nothing() -> None:
    rows = [*train(200), *stuck("loss", 1.7243, 8)]
    again = [*stuck("loss", 1.7243, 8, first=190), *train(100, first=198, seed=9)]
    assert told([*rows, *again]) == []


def test_of_many_metrics_only_so_many_are_remembered() -> None:
    chance = random.Random(1)
    rows = [row(i, **{f"eval_{k}_loss": chance.random() for k in range(40)}) for i in range(30)]
    frozen = [row(30 + i, **{f"eval_{k}_loss": 0.51234 for k in range(40)}) for i in range(5)]
    assert len(told([*rows, *frozen])) == 6


def test_a_stored_state_continues_exactly() -> None:
    rows = [*train(200), *stuck("loss", 1.7243, 40), *train(50, first=241, seed=9)]
    rows = [row(o.step, **o.values, **({"eval_loss": 2 - o.step // 60 / 97} if o.step % 20 == 0 else {})) for o in rows]
    assert repr(judged(rows, every=7)) == repr(judged(rows))
