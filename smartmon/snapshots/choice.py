"""Which of a run's checkpoints an anomaly's snapshot should hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smartmon.records import Checkpoint, Severity
from smartmon.snapshots.layout_table import BY_NAME
from smartmon.snapshots.layouts import Found, Looks, Readiness

WANTS_LAST_GOOD = frozenset({"loss_spike", "divergence", "nonfinite"})
BEST = "best_model"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is known when a snapshot is asked for."""

    step: int
    kinds: tuple[str, ...]
    severity: Severity
    onset_step: int | None = None
    last_good_step: int | None = None
    attempt_began: tuple[int, float] | None = None
    """Step and time at which the attempt began, unless it is the first."""
    own_step_may_come: bool = False
    """Whether the checkpoint of the very step may still be written: a best model waits for it."""
    hurry: bool = False
    """Whether all that stood still has been seen to: a last good checkpoint is not risked for a newer one."""
    best_effort: bool = False
    """Nothing is waited for any more."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to copy, or what to wait for."""

    checkpoints: tuple[Found, ...] = ()
    """The first is the one that was wanted most."""
    last_good_step: int | None = None
    wait: str = ""
    """What is worth waiting for, in words; empty: act now."""
    own_step: bool = False
    """Whether the wait is for the checkpoint of the step itself, which may take long."""


def choose(wish: Wish, checkpoints: Sequence[Checkpoint], looks: Looks, now: float) -> Choice:
    """Look at as few checkpoints as will do, the newest first."""
    usable = [checkpoint for checkpoint in checkpoints if not _stale(checkpoint, wish)] or list(checkpoints)
    newest_first = usable[::-1]
    if wish.kinds == (BEST,):
        return _choose_best(wish, newest_first, looks, now)
    newest, waiting = _first(newest_first, looks, now, wish.best_effort)
    good: Found | None = None
    if wish.severity is not Severity.INFO and WANTS_LAST_GOOD & set(wish.kinds):
        # Looked at even while the newest is waited for: both stand still together, and rotation takes this one first.
        older = [checkpoint for checkpoint in newest_first if _is_good(checkpoint, wish)]
        good, better = _first(older, looks, now, wish.best_effort)
        waiting = better or (None if good is not None and wish.hurry else waiting)
    if newest is None or waiting is not None:
        wait = "" if wish.best_effort else _wait(waiting, newest, _unfinished(newest_first, looks, now))
        return Choice(() if newest is None else (newest,), wait=wait)
    chosen = [newest]
    if BEST in wish.kinds:
        own = _own(wish, newest_first, looks, now)
        if own is not None and own.readiness is Readiness.READY:
            chosen.insert(0, own)
    if good is not None:
        chosen.append(good)
    return Choice(_unique(chosen), good.checkpoint.step if good is not None else None)


def _choose_best(wish: Wish, newest_first: list[Checkpoint], looks: Looks, now: float) -> Choice:
    own = _own(wish, newest_first, looks, now)
    if own is not None and own.readiness is Readiness.READY:
        return Choice((own,))
    # Looked at even while the own step's is waited for: if that never comes, this one is known to stand still.
    nearest = sorted(newest_first, key=lambda checkpoint: abs(checkpoint.step - wish.step))
    found, waiting = _first(nearest, looks, now, wish.best_effort)
    if not wish.best_effort:
        if own is not None and own.readiness is Readiness.SETTLING:
            return Choice(wait=f"{own.checkpoint.path.name} must stand still")
        if own is not None and own.readiness is Readiness.INCOMPLETE:
            return Choice(wait=_in_work(own.checkpoint.path.name, own.problem), own_step=True)
        if wish.own_step_may_come:
            return Choice(wait=f"the trainer may still save step {wish.step}", own_step=True)
    wait = "" if wish.best_effort else _wait(waiting, found, _unfinished(nearest, looks, now))
    return Choice(() if found is None else (found,), wait=wait)


def _own(wish: Wish, newest_first: list[Checkpoint], looks: Looks, now: float) -> Found | None:
    own = [looks.at(checkpoint, now) for checkpoint in newest_first if checkpoint.step == wish.step]
    return next((found for found in own if found.readiness is Readiness.READY), own[0] if own else None)


def _first(
    checkpoints: Sequence[Checkpoint], looks: Looks, now: float, best_effort: bool
) -> tuple[Found | None, Found | None]:
    """Return the first one that may be copied, and one before it that may be copied in a moment."""
    settling = None
    for checkpoint in checkpoints:
        found = looks.at(checkpoint, now)
        if found.readiness is Readiness.READY:
            return found, None if best_effort else settling
        if found.readiness is Readiness.SETTLING and settling is None:
            settling = found
    if best_effort and settling is not None and BY_NAME[settling.checkpoint.layout].marker:
        # A trainer that deletes its checkpoints before they have stood still: whole by its marker, or nothing at all.
        return settling, None
    return None, settling


def _wait(settling: Found | None, instead: Found | None, unfinished: str) -> str:
    """What is worth waiting for: one that only has to stand still, or with nothing to fall back on, any at all."""
    if settling is not None:
        return f"{settling.checkpoint.path.name} must stand still"
    return unfinished if instead is None else ""


def _unfinished(checkpoints: Sequence[Checkpoint], looks: Looks, now: float) -> str:
    for checkpoint in checkpoints:
        found = looks.at(checkpoint, now)
        if found.readiness is Readiness.INCOMPLETE:
            return _in_work(checkpoint.path.name, found.problem)
    return ""


def _stale(checkpoint: Checkpoint, wish: Wish) -> bool:
    """Whether a checkpoint is left over from an earlier attempt that got further than the one at hand began."""
    if wish.attempt_began is None:
        return False
    step, at = wish.attempt_began
    return checkpoint.step > step and checkpoint.mtime < at


def _is_good(checkpoint: Checkpoint, wish: Wish) -> bool:
    if wish.last_good_step is not None and wish.last_good_step < wish.step:
        return checkpoint.step <= wish.last_good_step
    return checkpoint.step < (wish.onset_step if wish.onset_step is not None else wish.step)


def _unique(found: Sequence[Found]) -> tuple[Found, ...]:
    return tuple({one.checkpoint.path: one for one in found}.values())


def _in_work(name: str, problem: str) -> str:
    """Say that a checkpoint is being written, and by what that shows: a file's problem names it already."""
    said = f"it {problem.removeprefix(f'{name} ')}" if problem.startswith(f"{name} ") else problem
    return f"{name} is being written: {said}"
