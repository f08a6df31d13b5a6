"""`grad_vanish`: almost nothing is recorded; exactly nothing, while the loss stands still, is sent."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged
from tests.judge.feed import row

KIND = "grad_vanish"


def run(levels: Sequence[float], *, loss: Any = 2.0, seed: int = 3, **more: Any) -> list[Observation]:
    """Gradient norms around the levels; `loss` is a level or a function of the index."""
    chance = random.Random(seed)
    found = []
    for i, level in enumerate(levels):
        value = (loss(i) if callable(loss) else loss) * chance.lognormvariate(0, 0.05)
        found.append(row(i + 1, loss=value, grad_norm=level * chance.lognormvariate(0, 0.2), **more))
    return found


CALM = [1.0] * 100


def told(rows: Sequence[Observation]) -> list[tuple[str, str, int]]:
    return [(a.reason, a.severity.value, a.step) for a in anomalies(judged(rows), KIND)]


def test_a_norm_that_falls_with_the_loss_is_silent() -> None:
    assert told(run([math.exp(-i / 300) for i in range(2000)], loss=lambda i: 2 * math.exp(-i / 600))) == []


def test_a_hundredth_for_fifty_points_is_recorded_once() -> None:
    rows = run([*CALM, *[0.003] * 300, *CALM])
    assert told(rows) == [("grad_vanish", "info", 150)]
    assert incidents(judged(rows), KIND) == []


def test_a_hundredth_for_forty_points_is_nothing() -> None:
    assert told(run([*CALM, *[0.003] * 40, *CALM])) == []


def test_exact_zeros_with_a_loss_that_stands_still_are_sent_and_over_when_gradients_are_back() -> None:
    rows = run([*CALM, *[0.0] * 60, *CALM], learning_rate=1e-4)
    found = judged(rows)
    assert incidents(found, KIND) == [(120, "opened", "warning"), (163, "resolved", "warning")]
    (zero,) = anomalies(found, KIND)
    assert (zero.onset_step, zero.last_good_step) == (101, 91)
    assert "exactly 0 for 20 points" in zero.message


def test_from_the_start_of_a_run_it_takes_a_hundred_zeros() -> None:
    assert told(run([0.0] * 99)) == []
    assert told(run([0.0] * 150)) == [("grad_zero", "warning", 100)]


@pytest.mark.parametrize(
    ("why", "more"),
    [
        ("the loss falls: the trainer does not know its norm", {"loss": lambda i: 2 * math.exp(-i / 60)}),
        ("the learning rate is 0 on purpose", {"learning_rate": 0.0}),
        ("equal rewards teach nothing", {"reward": 1.0}),
        ("all is learned", {"loss": 1e-5}),
    ],
)
def test_zeros_that_have_a_reason_wake_nobody(why: str, more: dict[str, Any]) -> None:
    found = judged(run([*CALM, *[0.0] * 200], **more))
    assert incidents(found, KIND) == [], why


def test_a_few_zeros_now_and_then_are_a_loss_scaler_at_work() -> None:
    assert told(run([0.0 if i % 3 else 1.0 for i in range(600)])) == []


def test_values_that_are_no_norms_do_not_count() -> None:
    rows = run([*CALM, *[0.0] * 19])
    odd = [row(120 + i, loss=2.0, grad_norm=value) for i, value in enumerate([math.nan, -1.0, math.inf])]
    missing = [row(123, loss=2.0)]
    assert told([*rows, *odd, *missing]) == []
    last = row(124, loss=2.0, grad_norm=0.0)
    assert [reason for reason, _, _ in told([*rows, *odd, *missing, last])] == ["grad_zero"]


def test_a_resume_begins_to_count_anew() -> None:
    rows = run([*CALM, *[0.0] * 15])
    again = run([*CALM, *[0.0] * 15], seed=4)[90:]
    assert told([*rows, *again]) == []


def test_a_stored_state_continues_exactly() -> None:
    rows = run([*CALM, *[0.0] * 60, *[0.003] * 60, *CALM])
    assert repr(judged(rows, every=7)) == repr(judged(rows))
