"""Where a training starts: anew, or at which checkpoint. What is passed over or has changed is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.errors import ResumeError
from smartmon.trainer import checkpoints, export, record
from smartmon.trainer.settings import TrainSettings


@dataclass(frozen=True)
class Start:
    """Where to start."""

    checkpoint: Path | None = None
    """Go on from here; None starts anew."""
    complete: bool = False
    """There is nothing left to do: this very training is already complete."""
    notes: list[str] = field(default_factory=list)
    """What to tell the person."""

    @property
    def step(self) -> int:
        """The step of the checkpoint; 0 anew."""
        return (checkpoints.step_of(self.checkpoint) or 0) if self.checkpoint is not None else 0


def choose(settings: TrainSettings, data: str, world_size: int) -> Start:
    """Decide by the settings, what is in the output folder, and the record of the training that wrote it.

    `data` is the dataset's digest. Checkpoints that the new training would write over, or that a later resume would
    mistake for its own, are moved to `.earlier/`. Raises ResumeError when the checkpoint that was asked for, or the
    only ones there are, cannot be gone on from.
    """
    checkpoints.empty_trash(settings.output)
    now = _Now(settings, data, world_size)
    if settings.resume == "none":
        start = Start(notes=now.aside(checkpoints.find(settings.output), "start anew, as asked"))
    else:
        start = now.automatic() if settings.resume == "auto" else now.asked(Path(settings.resume))
    return start if now.is_here(start.checkpoint) else replace(start, notes=[*start.notes, *now.kept()])


@dataclass(frozen=True)
class _Now:
    """The training that is to start."""

    settings: TrainSettings
    data: str
    world_size: int

    def automatic(self) -> Start:
        """Go on from the newest whole checkpoint of an unfinished training, else start anew."""
        output = self.settings.output
        found, before = checkpoints.find(output), record.read(output)
        if not found:
            return Start()
        newest, skipped = checkpoints.newest_verified(output, world_size=before.get("world_size"))
        notes = [_passed_over(folder, why) for folder, why in skipped]
        if newest is None:
            return Start(notes=[*notes, *self.aside(found, "anew: no checkpoint is whole")])
        completed, same = before.get("state") == "completed", bool(before) and not self.changes(before)
        if (completed or _ended(newest)) and not same:
            return Start(notes=self.aside(found, "anew: the training before is complete, and was another"))
        return Start(newest, complete=True) if completed else self.go_on(newest, before, notes)

    def asked(self, folder: Path) -> Start:
        """Go on from the folder that was named: a checkpoint, or where checkpoints are."""
        if not folder.is_dir() and (self.settings.output / folder.name).is_dir():
            folder = self.settings.output / folder.name
        if checkpoints.step_of(folder) is None:
            newest, skipped = checkpoints.newest_verified(folder)
            notes = [_passed_over(path, why) for path, why in skipped]
            if newest is None:
                raise ResumeError(
                    f"cannot go on from {text.clean(folder)}: there is no whole checkpoint in it"
                    f"{''.join(f'; {note}' for note in notes)}; --resume none starts anew"
                )
            return self.go_on(newest, record.read(folder), notes)
        lacking = checkpoints.problem(folder)
        if lacking:
            other, _skipped = checkpoints.newest_verified(folder.parent)
            hint = f"{other.name} is whole" if other is not None else "--resume none starts anew"
            raise ResumeError(f"cannot go on from {text.clean(folder)}: {lacking}; {hint}")
        return self.go_on(folder, record.read(folder.parent), [])

    def go_on(self, folder: Path, before: Mapping[str, Any], notes: list[str]) -> Start:
        """Go on from a whole checkpoint, if its weights fit."""
        unfit = record.unfit(before, self.settings)
        if unfit:
            raise ResumeError(
                f"cannot go on from {text.clean(folder)}: {'; '.join(unfit)}; "
                "give the old values, or start anew with --resume none"
            )
        step = checkpoints.step_of(folder) or 0
        here = self.is_here(folder)
        rest = checkpoints.find(self.settings.output)
        later = [path for path in rest if not here or (checkpoints.step_of(path) or 0) > step]
        changed = [f"changed since then: {what}" for what in self.changes(before)]
        return Start(folder.resolve(), notes=[f"at {folder.name}", *notes, *changed, *self.aside(later)])

    def is_here(self, checkpoint: Path | None) -> bool:
        """Whether a checkpoint is in the output folder, so that the adapter there is of the same training."""
        return checkpoint is not None and checkpoint.parent.resolve() == self.settings.output.resolve()

    def kept(self) -> list[str]:
        """Keep the adapter of another training that the new one's takes the place of, and say so."""
        place = export.keep_before(self.settings.output)
        return (
            []
            if place is None
            else [f"the adapter that was there is kept in {place.relative_to(self.settings.output)}"]
        )

    def changes(self, before: Mapping[str, Any]) -> list[str]:
        """What is not as it was for the training before."""
        return record.changes(before, self.settings, self.data, self.world_size)

    def aside(self, folders: list[Path], why: str = "") -> list[str]:
        """Move checkpoints out of the way, and say so."""
        place = checkpoints.set_aside(self.settings.output, folders)
        if place is None:
            return []
        names = ", ".join(path.name for path in folders[:3]) + (", ..." if len(folders) > 3 else "")
        inside = place.relative_to(self.settings.output)
        return [*([why] if why else []), f"{names} moved to {inside} in {text.clean(self.settings.output)}"]


def _passed_over(folder: Path, why: str) -> str:
    return f"{text.clean(folder.name)} is passed over: {why}"


def _ended(folder: Path) -> bool:
    """Whether the checkpoint is that of a training's last step."""
    try:
        state = json.loads((folder / "trainer_state.json").read_bytes())
        return int(state["global_step"]) >= int(state["max_steps"]) > 0
    except (OSError, ValueError, KeyError, TypeError):
        return False
