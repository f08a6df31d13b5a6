"""`lr_jump`: what no schedule does is recorded, and nobody is ever woken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged
from tests.judge.feed import row

KIND = "lr_jump"
N = 1000


def run(rates: Sequence[float], *, first: int = 1, every: int = 10, **more: Any) -> list[Observation]:
    return [row(first + i * every, learning_rate=rate, **more) for i, rate in enumerate(rates)]


def told(rows: Sequence[Observation]) -> list[tuple[str, str, int]]:
    return [(a.reason, a.severity.value, a.step) for a in anomalies(judged(rows), KIND)]


def cosine(i: int, length: int = N) -> float:
    return 1e-4 * (1 + math.cos(math.pi * i / length)) / 2


SCHEDULES = {
    "constant": [1e-4] * N,
    "linear warm-up and decay": [1e-4 * min(i / 50, (N - i) / (N - 50)) for i in range(N + 1)],
    "warm-up that begins next to nothing": [*(1e-4 * 10 ** min(0, i - 4) for i in range(10)), *[1e-4] * 300],
    "cosine to exactly 0": [cosine(i) for i in range(N + 1)],
    "cosine with restarts": [cosine(i % 200, 200) for i in range(N)],
    "halved in steps": [1e-4 * 0.5 ** (i // 100) for i in range(N)],
    "zero at first": [*[0.0] * 5, *[1e-4] * 300],
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_silent(name: str) -> None:
    assert told(run(SCHEDULES[name])) == []


@pytest.mark.parametrize(
    ("factor", "reason"),
    [(100, "lr_jump_up_100x"), (10, "lr_jump_up_10x"), (0.01, "lr_jump_down_100x"), (0.1, "lr_jump_down_10x")],
)
def test_a_jump_by_ten_or_more_within_one_record_is_recorded(factor: float, reason: str) -> None:
    rows = run([*[1e-4] * 50, *[1e-4 * factor] * 50])
    assert told(rows) == [(reason, "info", 501)]
    (jump,) = anomalies(judged(rows), KIND)
    assert jump.expected == 1e-4
    assert "from 0.0001 at step 491 to" in jump.message


def test_zero_for_long_before_the_end_is_recorded_once() -> None:
    rows = run([*[1e-4] * 50, *[0.0] * 100], total_steps=5000.0)
    assert told(rows) == [("lr_zero", "info", 50 * 10 + 1 + 19 * 10)]


def test_zero_in_the_last_part_of_the_schedule_is_meant() -> None:
    assert told(run([*[1e-4] * 98, *[0.0] * 40], total_steps=1000.0)) == []


def test_jumps_that_come_again_and_again_are_this_runs_schedule() -> None:
    rates = [1e-4 if i // 30 % 2 else 1e-6 for i in range(600)]
    assert len(told(run(rates))) <= 3


def test_a_resume_is_no_jump_and_warms_up_again() -> None:
    rows = [*run([1e-4] * 60), *run([1e-7, 2e-6, 5e-5, *[1e-4] * 20], first=301)]
    assert told(rows) == []


def test_values_that_are_no_rates_change_nothing() -> None:
    rates = [*[1e-4] * 30, math.nan, -1.0, math.inf, *[1e-4] * 30]
    missing = [row(2000 + i, loss=1.0) for i in range(5)]
    assert told([*run(rates), *missing]) == []


def test_nobody_is_woken_and_a_stored_state_continues_exactly() -> None:
    rows = run([*[1e-4] * 50, *[1e-2] * 20, *[0.0] * 30, *[1e-4] * 20])
    assert incidents(judged(rows), KIND) == []
    assert len(told(rows)) == 3
    assert repr(judged(rows, every=7)) == repr(judged(rows))
