"""Decide what of one notifier's queue goes out next: pure, over the pending rows in their order.

A row that was tried and failed holds up the rows behind it, so that nothing is overtaken. A row that merely waits
for its time (quiet hours, the rate cap) holds up nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from smartmon.records import Json, Severity

FIRST_DELAY = 5.0
LONGEST_DELAY = 900.0
SHORTEST_DELAY = 1.0
LONGEST_WISH = 3600.0
"""Seconds: the longest Retry-After that is believed."""

CAP = 6
CAP_WINDOW = 3600.0
"""At most so many messages below critical of one run, to one notifier, in so many seconds."""


class Pending(Protocol):
    """What is read of an outbox row."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def run_id(self) -> int | None: ...
    @property
    def created_at(self) -> float: ...
    @property
    def next_at(self) -> float: ...
    @property
    def attempts(self) -> int: ...
    @property
    def payload(self) -> Mapping[str, Json]: ...


R = TypeVar("R", bound=Pending)


@dataclass(frozen=True, slots=True)
class Send(Generic[R]):
    """Send these rows as one message."""

    rows: tuple[R, ...]
    digest: bool = False
    """Whether all are told. Otherwise the last row is the message, and those before it are folded into it."""

    @property
    def told(self) -> R:
        """The row whose words, or whose id, the message has."""
        return self.rows[0] if self.digest else self.rows[-1]


@dataclass(frozen=True, slots=True)
class Hold(Generic[R]):
    """Put this row off: its run has had its share."""

    row: R
    until: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this time (None: until something new comes)."""

    until: float | None


@dataclass(frozen=True, slots=True)
class Rules(Generic[R]):
    """What the choice depends on besides the rows."""

    window: float
    """Seconds: how long a message may wait for its snapshot, and how close in time a burst is."""
    digest_runs: int
    ready: Callable[[R], bool]
    """Whether the outcome of the row's snapshot is known, or there is none."""
    free_at: Callable[[R], float]
    """When the rate cap lets the row's run speak again (a time in the past: now)."""


def backoff(attempts: int, random: float, wish: float | None = None) -> float:
    """Return the delay after the `attempts`-th failure: exponential with full jitter (`random` in [0, 1)).

    A service's own Retry-After is the least.
    """
    most = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(max(0, attempts - 1), 20))
    return max(SHORTEST_DELAY, random * most, min(wish or 0.0, LONGEST_WISH))


def _burst(rows: Sequence[R], lead: R, now: float, window: float) -> list[R]:
    """Return the openings close behind `lead`, each only if nothing of its own run stands before it."""
    spoken: set[int | None] = set()
    found = []
    for row in rows:
        if row.kind != "opened":
            spoken.add(row.run_id)
            continue
        close = lead.created_at <= row.created_at <= lead.created_at + window
        if close and row.run_id not in spoken and row.next_at <= max(now, lead.next_at):
            found.append(row)
    return found


def choose(rows: Sequence[R], now: float, rules: Rules[R]) -> Send[R] | Hold[R] | Wait:
    """Return what to do next with one notifier's pending rows, given in the order in which they were put in."""
    held = [row.next_at for row in rows if row.attempts == 0 and row.next_at > now]
    lead = next((row for row in rows if row.attempts > 0 or row.next_at <= now), None)
    if lead is None:
        return Wait(min(held, default=None))
    if lead.next_at > now:
        return Wait(min([*held, lead.next_at]))
    burst = _burst(rows, lead, now, rules.window) if lead.kind == "opened" else []
    if len({row.run_id for row in burst}) >= rules.digest_runs:
        end = lead.created_at + rules.window
        return Wait(end) if now < end and lead.attempts == 0 else Send(tuple(burst), digest=True)
    return _alone(rows, lead, now, rules)


def _alone(rows: Sequence[R], lead: R, now: float, rules: Rules[R]) -> Send[R] | Hold[R] | Wait:
    if lead.severity is not Severity.CRITICAL and lead.attempts == 0:
        free = rules.free_at(lead)
        if free > now:
            return Hold(lead, free)
    if lead.payload.get("capped"):
        return Send(tuple(row for row in rows if row.run_id == lead.run_id and _folds(row, lead, now)))
    end = lead.created_at + rules.window
    return Send((lead,)) if now >= end or rules.ready(lead) else Wait(min(now + 0.5, end))


def _folds(row: Pending, lead: Pending, now: float) -> bool:
    due = row.next_at <= now or row.payload.get("capped")
    return row is lead or (row.severity is not Severity.CRITICAL and bool(due))
