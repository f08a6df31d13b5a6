"""`plateau`: a loss that falls no more is recorded, once, and wakes nobody."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from smartmon.detectors.plateau import theil_sen
from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged
from tests.judge.feed import feed, row

KIND = "plateau"


def run(levels: Sequence[float], *, sd: float = 0.02, first: int = 1, **more: Any) -> list[Observation]:
    chance = random.Random(3)
    return [row(first + i, loss=x * chance.lognormvariate(0, sd), **more) for i, x in enumerate(levels)]


def told(rows: Sequence[Observation]) -> list[int]:
    return [a.step for a in anomalies(judged(rows), KIND)]


FALLING = [3 * math.exp(-i / 400) + 1 for i in range(800)]


def test_a_loss_that_falls_is_silent() -> None:
    assert told(run([3 * math.exp(-i / 3000) for i in range(3000)])) == []


def test_a_loss_that_stands_is_recorded_once_and_wakes_nobody() -> None:
    found = judged(run([*FALLING, *[FALLING[-1]] * 1500]))
    (plateau,) = anomalies(found, KIND)
    assert plateau.severity.value == "info"
    assert 1200 <= plateau.step <= 1500
    assert plateau.onset_step is not None
    assert plateau.onset_step >= 750
    assert incidents(found, KIND) == []


def test_it_is_recorded_again_after_the_loss_fell_on() -> None:
    level = FALLING[-1]
    lower = [level * (1 - 0.3 * min(1, i / 300)) for i in range(1500)]
    assert len(told(run([*FALLING, *[level] * 900, *lower]))) == 2


@pytest.mark.parametrize(
    ("why", "rows"),
    [
        ("too short", run([2.0] * 480)),
        ("too noisy to say", run([2.0] * 3000, sd=1.0)),
        ("rising, which others tell", run([1 + i / 1000 for i in range(2000)])),
        ("reinforcement learning", run([2.0] * 2000, reward=0.5)),
        ("no level to speak of", run([-2.0] * 2000)),
        ("the learning rate has decayed", [*run(FALLING, learning_rate=1e-3),
                                           *run([FALLING[-1]] * 1500, first=801, learning_rate=5e-5)]),
    ],
)  # fmt: skip
def test_what_is_no_plateau_is_silent(why: str, rows: list[Observation]) -> None:
    assert told(rows) == [], why


def test_values_that_are_no_losses_do_not_count() -> None:
    rows = run([*FALLING, *[FALLING[-1]] * 1500])
    odd = [math.nan, math.inf, -math.inf]
    broken = [row(o.step, loss=odd[o.step % 3]) if o.step % 5 == 0 else o for o in rows]
    assert len(told(broken)) == 1


def test_a_resume_forgets_what_lies_after_it() -> None:
    rows = run([*FALLING, *[FALLING[-1]] * 300])
    again = run([*FALLING, *[FALLING[-1]] * 200])[700:]
    assert told([*rows, *again]) == []


def test_the_look_back_grows_with_the_run_and_the_memory_does_not() -> None:
    judge = Judge(JudgeSettings())
    found = feed(run([10 * (i + 1) ** -0.1 for i in range(6000)], sd=0.01), judge)
    assert anomalies(found, KIND) == []
    known = judge.state()["panel"][KIND]
    assert known["per_block"] == 2
    assert len(known["blocks"]) <= 40


def test_the_slope_is_that_of_the_line_whatever_a_few_points_do() -> None:
    line = [5 - 0.5 * i for i in range(20)]
    assert theil_sen(line) == pytest.approx((-0.5, -0.5, -0.5))
    line[3] = 100.0
    assert theil_sen(line)[1] == pytest.approx(-0.5, abs=0.01)


def test_a_stored_state_continues_exactly() -> None:
    rows = run([*FALLING, *[FALLING[-1]] * 900], learning_rate=1e-4)
    assert repr(judged(rows, every=77)) == repr(judged(rows))
