"""How a training ended, from its exit code, its status file and what it left: done, failed, or to be gone on with."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smartmon import text
from smartmon.queue.jobs import JobState

LOCKED = 5
"""The exit code that says: another training, perhaps one that we lost sight of, still writes into its folder."""
KILLS = 3
"""So often may a training be killed without getting to another checkpoint."""
_CODES = {
    1: "it broke off with an error",
    2: "its settings cannot be used",
    4: "it could not reach a file it needs",
    5: "another training writes into its folder",
    20: "its loss was no longer a number",
    21: "its data cannot be used",
    22: "it has no whole checkpoint to go on from",
}
_FULL = ("No space left on device", "Errno 28", "Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class End:
    """What is known of a training that is over."""

    code: int | None
    """As Python has it: negative is the signal that ended it; None when it was nobody's child any more."""
    status: Mapping[str, Any]
    """What its status file says, empty when this start of it said nothing."""
    adapter: bool
    """Whether a whole adapter lies in its output folder."""
    lines: Sequence[str] = ()
    """The last lines of its log."""
    asked: bool = False
    """Whether we asked it to stop."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the job, and why."""

    state: JobState
    reason: str = ""
    killed: bool = False
    """Whether something else ended it: it may be started again a few times."""
    hold: bool = False
    """Whether the next job would meet the same: the queue had better wait for a person."""
    busy: bool = False
    """Whether another training is in the way: the queue had better look again later."""


def judge(end: End) -> Verdict:
    """Say what becomes of a job whose training is over."""
    word = str(end.status.get("status", ""))
    if word == "completed" and end.adapter:
        # Whatever came after: the work is done, and on the disk.
        return Verdict(JobState.DONE)
    if end.asked and end.code not in (2, 20, 21, 22):
        return Verdict(JobState.INTERRUPTED, "it was asked to stop")
    if was_stopped(end):
        return Verdict(JobState.FAILED, f"it was stopped {_where(end.status)}; smartmon queue retry goes on from there")
    if end.code == 0:
        return Verdict(JobState.DONE) if end.adapter and not word else Verdict(JobState.FAILED, "it left no adapter")
    return _broken_off(end, word)


def was_stopped(end: End) -> bool:
    """Whether it saved and ended before its last step, as somebody asked it to."""
    return end.status.get("status") == "stopped" and end.code in (0, None)


def _broken_off(end: End, word: str) -> Verdict:
    if _is_full(end):
        return Verdict(JobState.INTERRUPTED, "the disk is full", hold=True)
    if end.code == LOCKED:
        return Verdict(JobState.INTERRUPTED, _failure(end), busy=True)
    killer = _killer(end) if word not in ("crashed", "error") else ""
    if killer:
        return Verdict(JobState.INTERRUPTED, f"it was killed {_where(end.status)} {killer}", killed=True)
    return Verdict(JobState.FAILED, _failure(end))


def _where(status: Mapping[str, Any]) -> str:
    step = status.get("current_step")
    return f"at step {text.count(step)}" if isinstance(step, int) and step else "before its first step"


def _killer(end: End) -> str:
    """Name what ended the process from outside; empty when it ended by itself."""
    if end.code is None:
        return "while no queue was watching"
    number = -end.code if end.code < 0 else end.code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return ""
    return f"by {name}" + (" (out of memory?)" if number == signal.SIGKILL else "")


def _is_full(end: End) -> bool:
    said = [*end.lines, str(end.status.get("error_message", ""))]
    return any(words in line for line in said for words in _FULL)


def _failure(end: End) -> str:
    reason = _CODES.get(end.code or 0, f"it ended with exit code {end.code}" if end.code else "it broke off")
    said = _said(end)
    return f"{reason}: {said}" if said else reason


def _said(end: End) -> str:
    """The one line in which the training says what was wrong."""
    for index, line in reversed(list(enumerate(end.lines))):
        if line.startswith("smartmon: "):
            detail = end.lines[index + 1].strip() if [*end.lines, ""][index + 1].startswith(" ") else ""
            return text.clean("; ".join(filter(None, (line.removeprefix("smartmon: "), detail))))[:400]
    if end.status.get("status") in ("crashed", "error") and end.status.get("error_message"):
        kind = end.status.get("error_type") or ""
        return text.clean(f"{kind}: {end.status['error_message']}".removeprefix(": "))[:400]
    return text.clean(next((line for line in reversed(end.lines) if line.strip()), ""))[:400]
