"""A snapshots dir: its lock, what is in it, and what may be done to a snapshot as a whole.

Names that begin with a dot are ours: `.lock`, `.partial-*` (being made), `.held-*` (made, not yet published),
`.trash-*` (being removed). `anomaly_*` folders are snapshots. Everything else is foreign and left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from smartmon.errors import LockedError, SnapshotError, UsageError
from smartmon.records import Snapshot
from smartmon.snapshots import syscalls
from smartmon.snapshots.listing import folder_at, folder_below, remove_tree
from smartmon.snapshots.metadata import METADATA, MODEL, PINNED, dumps, read_snapshot
from smartmon.text import clean

LOCK = ".lock"
PARTIAL, HELD, TRASH = ".partial-", ".held-", ".trash-"

_SNAPSHOT = re.compile(r"anomaly_\d{8}_\d{6}(_.*)?", re.ASCII | re.DOTALL)
_LOOK_AGAIN = 0.05


@contextlib.contextmanager
def locked(folder: Path, patience: float = 10.0) -> Iterator[None]:
    """Hold the lock of a snapshots dir while the body runs; it is only ever held for moments.

    Raises LockedError when somebody else holds it for longer than about `patience` seconds.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise SnapshotError(f"snapshots cannot be changed in {clean(folder)}: {error.strerror}") from None
    try:
        _take(descriptor, folder, patience)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path, patience: float) -> None:
    for tries_left in range(int(patience / _LOOK_AGAIN), -1, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not tries_left:
                raise LockedError(
                    f"another smartmon is changing the snapshots in {clean(folder)}; try again in a moment"
                ) from None
            time.sleep(_LOOK_AGAIN)
        except OSError as error:
            raise SnapshotError(f"cannot lock {clean(folder / LOCK)}: {error.strerror}") from None


def scan(folder: Path) -> list[Snapshot]:
    """Every snapshot in a snapshots dir, oldest first. Damaged ones are listed as such, foreign things are not."""
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if _SNAPSHOT.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SnapshotError(f"the snapshots in {clean(folder)} cannot be listed: {error.strerror}") from None
    found = [read_snapshot(folder / name) for name in names]
    return sorted(found, key=age)


def age(snapshot: Snapshot) -> tuple[float, int, str]:
    """What snapshots are sorted by, oldest first: rows that were read at once may share a moment, not a step."""
    return moment(snapshot), snapshot.step or 0, snapshot.name


def moment(snapshot: Snapshot) -> float:
    """The moment a snapshot was made; of a damaged one what its name says."""
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(snapshot.created_at).timestamp()
    with contextlib.suppress(ValueError):
        return datetime.strptime(snapshot.name[8:23], "%Y%m%d_%H%M%S").astimezone().timestamp()
    return 0.0


def choose(snapshots: list[Snapshot], wanted: str, *, loose: bool = True) -> Snapshot:
    """The snapshot of this name, or the only one whose name begins so; if `loose`, the only one whose name holds it.

    Raises UsageError where there is none, or more than one.
    """
    for matches in (
        [one for one in snapshots if one.name == wanted],
        [one for one in snapshots if one.name.startswith(wanted)],
        [one for one in snapshots if loose and wanted in one.name],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(clean(one.name) for one in matches[:5])
            raise UsageError(f"{clean(wanted)!r} could be any of {len(matches)} snapshots: {names}")
    held = [one for one in snapshots if wanted and wanted in one.name]
    if held:
        raise UsageError(
            f"no snapshot's name begins with {clean(wanted)!r}, and a part of a name is not enough here; "
            f"did you mean {clean(held[-1].name)}?"
        )
    raise UsageError(f"there is no snapshot {clean(wanted)!r}; see: smartmon snapshots list")


def set_pinned(snapshot: Snapshot, pinned: bool) -> None:
    """Keep a snapshot from ever being removed by retention, or no longer."""
    marker = snapshot.path / PINNED
    with locked(snapshot.path.parent), _reported(f"cannot change {clean(snapshot.name)}"):
        if pinned:
            os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
        else:
            marker.unlink(missing_ok=True)
        syscalls.sync_folder(snapshot.path)


def remove(snapshot: Snapshot, *, even_pinned: bool = False, beat: Callable[[], None] = lambda: None) -> None:
    """Remove a snapshot: it is gone at once and whole, its files are deleted afterwards."""
    folder = snapshot.path.parent
    with locked(folder), _reported(f"cannot remove {clean(snapshot.name)}"):
        if not even_pinned and os.path.lexists(snapshot.path / PINNED):
            raise SnapshotError(f"{clean(snapshot.name)} is pinned; unpin it first")
        trash = discard(snapshot.path)
    empty(trash, beat)


def slim(snapshot: Snapshot, at: float, why: str, beat: Callable[[], None] = lambda: None) -> None:
    """Give up a snapshot's weights and keep the rest as history."""
    folder = snapshot.path.parent
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    with locked(folder), _reported(f"cannot give up the weights of {clean(snapshot.name)}"):
        if os.path.lexists(snapshot.path / PINNED):
            raise SnapshotError(f"{clean(snapshot.name)} is pinned; unpin it first")
        replace(snapshot.path / METADATA, dumps({**snapshot.metadata, "slimmed_at": stamp, "slimmed_why": why}))
        trash = discard(snapshot.path / MODEL, folder) if os.path.lexists(snapshot.path / MODEL) else None
    if trash is not None:
        empty(trash, beat)


def discard(path: Path, folder: Path | None = None) -> Path:
    """Rename something of ours to a trash name in its snapshots dir, durably; returns the new path."""
    folder = folder or path.parent
    trash = folder / f"{TRASH}{uuid.uuid4().hex}"
    syscalls.rename_new(path, trash)
    syscalls.sync_folder(path.parent)
    syscalls.sync_folder(folder)
    return trash


def empty(trash: Path, beat: Callable[[], None] = lambda: None) -> None:
    """Delete what was discarded. Raises SnapshotError; the next sweep tries again."""
    with _reported(f"cannot delete {clean(trash)}"), folder_below(trash.parent) as parent:
        remove_tree(parent, trash.name, beat)


def replace(path: Path, data: bytes) -> None:
    """Replace one of our small files, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    write(temporary, data)
    temporary.replace(path)
    syscalls.sync_folder(path.parent)


def write(path: Path, data: bytes) -> None:
    """Write a new file durably."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def sweep(folder: Path, beat: Callable[[], None] = lambda: None) -> list[str]:
    """Delete what a killed process left unfinished; returns what could not be deleted, and why.

    What another process is still making is locked by it and left alone.
    """
    troubles: list[str] = []
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith((PARTIAL, TRASH))]
    except OSError:
        return troubles
    for name in names:
        if not in_use(folder / name):
            try:
                empty(folder / name, beat)
            except SnapshotError as error:
                troubles.append(str(error))
    for snapshot in scan(folder):
        if snapshot.metadata.get("slimmed_at") is not None and os.path.lexists(snapshot.path / MODEL):
            try:
                empty(discard(snapshot.path / MODEL, folder), beat)
            except (SnapshotError, OSError) as error:
                troubles.append(str(error))
    return troubles


def in_use(path: Path) -> bool:
    """Whether a living process holds the lock on an unfinished folder."""
    try:
        with folder_at(path) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def _reported(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SnapshotError(f"{what}: {error.strerror or error}") from None
