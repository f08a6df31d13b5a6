"""Copies a snapshot out of the snapshots dir: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from smartmon.errors import SnapshotError, UsageError
from smartmon.records import Snapshot, SnapshotState
from smartmon.snapshots import syscalls
from smartmon.snapshots.copying import Copier
from smartmon.snapshots.listing import folder_at, folder_below, list_tree, open_below, remove_tree
from smartmon.snapshots.metadata import MODEL, PINNED
from smartmon.text import clean, size


class Restored(NamedTuple):
    """What was copied out."""

    files: int
    bytes: int
    checkpoints: tuple[Path, ...]
    """Where the checkpoints are now: what a trainer resumes from."""


def restore(
    snapshot: Snapshot,
    destination: Path,
    *,
    checkpoint_only: bool = False,
    force: bool = False,
    copier: Copier | None = None,
) -> Restored:
    """Copy a snapshot to `destination`, which is made; with `checkpoint_only` its checkpoints and nothing else.

    A folder with something in it is refused unless `force`; then files of the same name are replaced, others stay.
    On any error the destination is as it was.
    """
    _check(snapshot, destination, checkpoint_only, force)
    staged = destination.parent / f".{destination.name}.partial-{uuid.uuid4().hex}"
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        staged.mkdir()
        files, taken = _copy_tree(snapshot, staged, checkpoint_only, copier or Copier())
        _move(staged, destination)
    except OSError as error:
        raise SnapshotError(
            f"{clean(snapshot.name)} cannot be restored to {clean(destination)}: {error.strerror}; nothing was changed"
        ) from None
    finally:
        with contextlib.suppress(OSError), folder_below(destination.parent) as parent:
            remove_tree(parent, staged.name)
    root = destination if checkpoint_only else destination / MODEL
    names = dict.fromkeys(Path(str(one["path"])).name for one in snapshot.metadata.get("checkpoints", ()))
    return Restored(files, taken, tuple(root / name for name in names if (root / name).exists()))


def _check(snapshot: Snapshot, destination: Path, checkpoint_only: bool, force: bool) -> None:
    name = clean(snapshot.name)
    if snapshot.state is SnapshotState.DAMAGED and not force:
        raise SnapshotError(f"{name} is damaged ({clean(snapshot.problem)}); --force copies what there is")
    if checkpoint_only and not (snapshot.has_weights and snapshot.checkpoint_step is not None):
        why = "retention gave up its weights" if snapshot.metadata.get("slimmed_at") else "it holds none"
        raise SnapshotError(f"{name} has no checkpoint to restore: {why}")
    inside = os.path.realpath(destination)
    if os.path.commonpath((inside, os.path.realpath(snapshot.path.parent))) == os.path.realpath(snapshot.path.parent):
        raise UsageError(f"{clean(destination)} lies inside the snapshots dir; choose another place")
    if not os.path.lexists(destination):
        return
    if not destination.is_dir():
        raise UsageError(f"{clean(destination)} exists and is no folder")
    if any(destination.iterdir()) and not force:
        raise UsageError(
            f"{clean(destination)} is not empty; choose another folder, or --force to replace files of the same name"
        )


def _copy_tree(snapshot: Snapshot, staged: Path, checkpoint_only: bool, copier: Copier) -> tuple[int, int]:
    files = taken = 0
    with folder_at(snapshot.path) as root:
        entries = list_tree(root).entries
        room = os.statvfs(staged)
        wanted = dict(_wanted(snapshot, [entry.name for entry in entries], checkpoint_only))
        needed = sum(entry.size for entry in entries if entry.name in wanted)
        if needed > room.f_bavail * room.f_frsize:
            free = size(room.f_bavail * room.f_frsize)
            raise SnapshotError(f"{clean(snapshot.name)} takes {size(needed)}, and {free} are free at the destination")
        for entry in entries:
            if entry.name not in wanted:
                continue
            target = staged / wanted[entry.name]
            target.parent.mkdir(parents=True, exist_ok=True)
            source = open_below(root, entry.name)
            try:
                descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                try:
                    copier.copy(source, descriptor, entry.size)
                finally:
                    os.close(descriptor)
            finally:
                os.close(source)
            files, taken = files + 1, taken + entry.size
    return files, taken


def _wanted(snapshot: Snapshot, names: list[str], checkpoint_only: bool) -> Iterator[tuple[str, str]]:
    """Yield (name in the snapshot, name at the destination)."""
    if not checkpoint_only:
        yield from ((name, name) for name in names if name != PINNED)
        return
    owned = snapshot.metadata.get("checkpoint_files") or ()
    yield from ((name, name.removeprefix(f"{MODEL}/")) for name in names if name in owned)


def _move(staged: Path, destination: Path) -> None:
    """Move what is staged into place; undo it all when one step fails."""
    if not os.path.lexists(destination) or not any(destination.iterdir()):
        staged.replace(destination)
        syscalls.sync_folder(destination.parent)
        return
    with folder_at(staged) as root:
        names = [entry.name for entry in list_tree(root).entries]
    aside = staged / f".aside-{uuid.uuid4().hex}"
    moved: list[tuple[Path, Path | None]] = []
    try:
        for name in names:
            target, old = destination / name, None
            target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(target):
                old = aside / name
                old.parent.mkdir(parents=True, exist_ok=True)
                target.rename(old)
            moved.append((target, old))
            (staged / name).rename(target)
    except OSError:
        for target, old in reversed(moved):
            target.unlink(missing_ok=True)
            if old is not None:
                old.rename(target)
        raise
