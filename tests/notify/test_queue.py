"""The choice of the next message: order, waiting, bursts and the rate cap, all without a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from smartmon.notify import queue
from smartmon.notify.queue import Hold, Rules, Send, Wait
from smartmon.records import Severity


@dataclass(frozen=True)
class Row:
    id: str
    run_id: int | None = 1
    kind: str = "opened"
    severity: Severity = Severity.WARNING
    created_at: float = 0.0
    next_at: float = 0.0
    attempts: int = 0
    payload: Mapping[str, Any] = field(default_factory=dict)


def choose(*rows: Row, now: float = 100.0, ready: bool = True, free_at: float = 0.0) -> Any:
    rules: Rules[Row] = Rules(5.0, 5, ready=lambda _: ready, free_at=lambda _: free_at)
    return queue.choose(rows, now, rules)


def test_the_oldest_due_row_goes_first() -> None:
    assert choose(Row("a"), Row("b")) == Send((Row("a"),))


def test_nothing_overtakes_a_row_that_is_tried_again() -> None:
    assert choose(Row("a", attempts=2, next_at=130.0), Row("b")) == Wait(130.0)


def test_a_row_that_waits_for_the_morning_holds_up_nothing() -> None:
    assert choose(Row("a", next_at=500.0), Row("b")) == Send((Row("b"),))
    assert choose(Row("a", next_at=500.0)) == Wait(500.0)


def test_nothing_pending_means_waiting_for_news() -> None:
    assert choose() == Wait(None)


def test_a_message_waits_for_its_snapshot_but_not_for_long() -> None:
    assert choose(Row("a", created_at=99.0), ready=False) == Wait(100.5)
    assert choose(Row("a", created_at=95.0), ready=False) == Send((Row("a", created_at=95.0),))


def test_a_burst_over_many_runs_is_gathered_and_sent_as_one() -> None:
    rows = [Row(f"r{n}", run_id=n, created_at=99.0 + n / 10) for n in range(7)]
    assert choose(*rows) == Wait(104.0)
    assert choose(*rows, now=104.0) == Send(tuple(rows), digest=True)


def test_a_few_runs_are_no_burst_nor_are_many_incidents_of_one() -> None:
    assert choose(*(Row(f"r{n}", run_id=n) for n in range(4))) == Send((Row("r0", run_id=0),))
    assert choose(*(Row(f"r{n}", run_id=1) for n in range(9))) == Send((Row("r0", run_id=1),))


def test_incidents_far_apart_in_time_are_told_one_by_one() -> None:
    rows = [Row(f"r{n}", run_id=n, created_at=n * 60.0) for n in range(9)]
    assert choose(*rows, now=3600.0) == Send((rows[0],))


def test_a_digest_takes_no_opening_from_behind_a_message_of_its_own_run() -> None:
    rows = [Row(f"r{n}", run_id=n) for n in range(6)]
    late = Row("late", run_id=9)
    assert late not in choose(*rows, Row("over", run_id=9, kind="resolved"), late).rows


def test_a_run_that_had_its_share_is_held() -> None:
    assert choose(Row("a"), free_at=700.0) == Hold(Row("a"), 700.0)


def test_critical_ones_are_never_held() -> None:
    critical = Row("a", severity=Severity.CRITICAL)
    assert choose(critical, free_at=700.0) == Send((critical,))


def test_what_was_held_goes_out_as_one_the_newest_told() -> None:
    capped = {"capped": True}
    rows = [Row("a", payload=capped), Row("x", run_id=2), Row("b", payload=capped), Row("c", kind="resolved")]
    sent = choose(*rows)
    assert [row.id for row in sent.rows] == ["a", "b", "c"]
    assert sent.told.id == "c"


@pytest.mark.parametrize(
    ("attempts", "random", "wish", "delay"),
    [
        (1, 1.0, None, 5.0),
        (2, 1.0, None, 10.0),
        (3, 0.5, None, 10.0),
        (60, 1.0, None, 900.0),
        (1, 0.0, None, 1.0),
        (1, 0.5, 37.0, 37.0),
        (1, 0.5, 10**6, 3600.0),
    ],
)
def test_backoff_doubles_with_jitter_and_a_cap(attempts: int, random: float, wish: float | None, delay: float) -> None:
    assert queue.backoff(attempts, random, wish) == delay
