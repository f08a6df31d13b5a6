"""What a request for a snapshot should get, and whether it is worth waiting for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from smartmon import text
from smartmon.config.sections import Snapshots
from smartmon.records import Checkpoint
from smartmon.snapshots.choice import Choice, Wish, choose
from smartmon.snapshots.layouts import Looks, Readiness, find_checkpoints, look_at_model
from smartmon.snapshots.listing import Listing, Skipped
from smartmon.store import KeepRow, RunRow, Store

PATIENCE = 30.0
"""Seconds that a snapshot waits for a checkpoint that is being written while there is no other."""


@dataclass
class Effort:
    """What has been tried for one request; forgotten with the process, as it only spares time."""

    asked: float
    """When it was first tried."""
    since: float = 0.0
    """When the wait for something to stand still began."""
    changes: int = 0
    avoid: dict[Path, str] = field(default_factory=dict)
    """What cannot be had, and why."""
    best_effort: bool = False
    """Nothing is waited for any more."""
    gave_up: str = ""
    """What was waited for in vain."""

    def __post_init__(self) -> None:
        self.since = self.asked

    def clock(self, now: float) -> None:
        """A clock that was set back must not make a wait longer."""
        self.asked, self.since = min(self.asked, now), min(self.since, now)

    def spare(self, choice: Choice) -> bool:
        """Where there is no room for all, do without what is not the last good one; False when that is all there is."""
        others = [found.checkpoint for found in choice.checkpoints if found.checkpoint.step != choice.last_good_step]
        if choice.last_good_step is None or not others:
            return False
        self.avoid |= {one.path: "was left out for want of room" for one in others}
        return True

    def note(self, choice: Choice) -> str:
        """Why the snapshot does not hold what one would expect; empty when it does."""
        why = [f"{text.clean(owner.name)} {reason}" for owner, reason in self.avoid.items()]
        if not choice.checkpoints and self.gave_up:
            why.append(self.gave_up)
        unstill = [found.checkpoint.path.name for found in choice.checkpoints if found.readiness is Readiness.SETTLING]
        why += [f"{text.clean(name)} is whole, but was not there for long enough to stand still" for name in unstill]
        return "; ".join(why)


class Wishes:
    """Looks at runs' checkpoints, and remembers how they looked."""

    def __init__(self, store: Store, settings: Snapshots) -> None:
        self._store = store
        self._settings = settings
        self._looks = Looks(settings.settle)
        self.largest = 0
        """Bytes of the largest checkpoint seen so far."""

    def forget_gone(self) -> None:
        """Forget how things looked that are no longer there."""
        self._looks.forget_gone()

    def choose(self, keep: KeepRow, run: RunRow, effort: Effort, now: float) -> tuple[Choice, str]:
        """Return which checkpoints to copy, and what to wait for; empty: copy now."""
        checkpoints = self._checkpoints(keep, run, effort)
        later = run.attempt != keep.attempt or (run.step or 0) > keep.step or run.state.ended
        wish = Wish(
            step=keep.step,
            kinds=keep.kinds,
            severity=keep.severity,
            onset_step=keep.payload.get("onset_step"),
            last_good_step=keep.payload.get("last_good_step"),
            attempt_began=self._began(keep, run, effort.asked),
            own_step_may_come=not later,
            hurry=now >= effort.asked + self._settings.settle,
        )
        # Counted by our own clock: the row's time, that of the request, may be hours off.
        grace_over = now > effort.asked + self._settings.checkpoint_grace
        choice = choose(wish, checkpoints, self._looks, now)
        if choice.own_step:
            # Once the folder is there and whole, it has all the time that it needs to stand still.
            effort.since = now
        hurry = grace_over if choice.own_step else now > effort.since + self._patience
        if choice.wait and (hurry or effort.best_effort):
            effort.gave_up = choice.wait
            choice = choose(replace(wish, best_effort=True), checkpoints, self._looks, now)
        return choice, choice.wait

    @property
    def _patience(self) -> float:
        return PATIENCE + 2 * self._settings.settle

    def _checkpoints(self, keep: KeepRow, run: RunRow, effort: Effort) -> list[Checkpoint]:
        said = keep.payload.get("checkpoint_dir")
        found = find_checkpoints(run.path, Path(said) if said else None)
        self.largest = max([self.largest, *(checkpoint.bytes for checkpoint in found)])
        return [checkpoint for checkpoint in found if checkpoint.path not in effort.avoid]

    def _began(self, keep: KeepRow, run: RunRow, asked: float) -> tuple[int, float] | None:
        """Where and when the attempt began, if there was one before: what is left of that one is not this one's.

        A time that is still to come is another clock's, and says nothing about the age of a folder.
        """
        if keep.attempt <= 1:
            return None
        rows = [row for row in self._store.attempts(run.id) if row.attempt == keep.attempt]
        return (rows[-1].step, rows[-1].at) if rows and rows[-1].at <= asked else None

    def model(self, keep: KeepRow, run: RunRow, effort: Effort, now: float) -> tuple[Path, Listing, str]:
        """Return the model's folder, its files that can be copied, and what to wait for."""
        folder = Path(keep.payload.get("model_dir") or run.path)
        listing = look_at_model(folder)
        if not listing.entries:
            return folder, listing, ""
        if self._looks.still(folder, listing, now):
            return folder, _without(listing, {path.name: why for path, why in effort.avoid.items()}), ""
        if not effort.best_effort and now <= effort.since + self._patience:
            return folder, listing, "the model's own files must stand still"
        return folder, _without(listing, {entry.name: "still being written" for entry in listing.entries}), ""


def _without(listing: Listing, avoid: dict[str, str]) -> Listing:
    left_out = tuple(Skipped(entry.name, avoid[entry.name]) for entry in listing.entries if entry.name in avoid)
    stay = tuple(entry for entry in listing.entries if entry.name not in avoid)
    return Listing(stay, (*listing.skipped, *left_out))
