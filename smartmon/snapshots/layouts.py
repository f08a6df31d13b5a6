"""Finds a run's checkpoints by the table of layouts, and looks whether they are finished or still being written."""

from __future__ import annotations

import contextlib
import enum
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from smartmon.records import Checkpoint
from smartmon.snapshots.complete import beside_problem, read_range
from smartmon.snapshots.layout_step import step_in
from smartmon.snapshots.layout_table import BY_NAME, PLACES, UNKNOWN, Layout, is_model_file, layout_of
from smartmon.snapshots.listing import (
    Listing,
    Skipped,
    entry_of,
    folder_at,
    folder_below,
    kind_of,
    list_tree,
    open_below,
)

_MOST = 10_000
"""A folder with more entries is not a run's: discovery skips it too."""
_MARKER_MOST = 64


def places(run: Path, checkpoint_dir: Path | None = None) -> tuple[Path, ...]:
    """Where a run's checkpoints may be: where config says, else in its folder and those that trainers make in it."""
    return (checkpoint_dir,) if checkpoint_dir is not None else (run, *(run / name for name in PLACES))


def find_checkpoints(run: Path, checkpoint_dir: Path | None = None) -> list[Checkpoint]:
    """Every checkpoint of a run that is there now, whole or not: lowest step first, of one step the oldest first.

    Where neither name nor file tells the step (yet), it is UNKNOWN, the lowest.
    """
    found = []
    for place, name, layout, names in _named(run, checkpoint_dir):
        with contextlib.suppress(OSError):
            listing = look(place / name, layout, names)
            if listing.entries or layout.folder:
                found.append(_checkpoint(place, name, layout, listing))
    return sorted(found, key=lambda checkpoint: (checkpoint.step, checkpoint.mtime, checkpoint.path))


def checkpoint_steps(run: Path, checkpoint_dir: Path | None = None) -> set[int]:
    """The steps that `find_checkpoints` would find, where they are known; what is in the folders is not listed."""
    steps = set()
    for place, name, layout, names in _named(run, checkpoint_dir):
        step = layout.step(name)
        if step is None:
            with contextlib.suppress(OSError):
                step = _step_inside(place, name, layout, look(place / name, layout, names))
        if step is not None:
            steps.add(step)
    return steps - {UNKNOWN}


def _named(run: Path, checkpoint_dir: Path | None) -> Iterator[tuple[Path, str, Layout, Collection[str]]]:
    """Yield what is named as a checkpoint, with all names in its folder."""
    for place in places(run, checkpoint_dir):
        names = _names(place)
        for name, folder in names.items():
            layout = layout_of(name, folder=folder, place="" if checkpoint_dir is not None else place.name)
            if layout is not None:
                yield place, name, layout, names


def _names(place: Path) -> dict[str, bool]:
    """The names in a folder, and which of them are folders."""
    try:
        with os.scandir(place) as entries:
            return {entry.name: entry.is_dir(follow_symlinks=False) for entry, _ in zip(entries, range(_MOST))}
    except OSError:
        return {}


def _checkpoint(place: Path, name: str, layout: Layout, listing: Listing) -> Checkpoint:
    path = place / name
    step = layout.step(name)
    if step is None:
        step = _step_inside(place, name, layout, listing)
    return Checkpoint(
        path=path,
        step=step,
        layout=layout.name,
        files=tuple(place / entry.name for entry in listing.entries),
        bytes=listing.bytes,
        mtime=path.lstat().st_mtime,
    )


def _step_inside(place: Path, name: str, layout: Layout, listing: Listing) -> int:
    inside = next((step_in(place, entry, layout.keys) for entry in listing.entries if entry.name == name), None)
    return UNKNOWN if inside is None else inside + layout.first


def look(path: Path, layout: Layout, names: Iterable[str] | None = None) -> Listing:
    """List a checkpoint's files, by their paths below the folder it lies in. Raises OSError when it is not there.

    `names` are those in that folder, where they are known.
    """
    with folder_below(path.parent) as place:
        if layout.folder:
            with folder_at(path.name, place) as root:
                return list_tree(root, f"{path.name}/")
        own = [path.name]
        if layout.companion:
            own += layout.companions(path.name, _names(path.parent) if names is None else names)
        return _files(place, own)


def look_at_model(folder: Path) -> Listing:
    """List the model's files directly in its folder."""
    try:
        with folder_below(folder) as root:
            with os.scandir(root) as found:
                names = [entry.name for entry, _ in zip(found, range(_MOST))]
            return _files(root, [name for name in names if is_model_file(name)])
    except OSError:
        return Listing(())


def _files(root: int, names: Sequence[str]) -> Listing:
    entries, skipped = [], []
    for name in sorted(names):
        with contextlib.suppress(FileNotFoundError):
            seen = os.stat(name, dir_fd=root, follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode):
                entries.append(entry_of(name, seen))
            elif not stat.S_ISDIR(seen.st_mode):
                skipped.append(Skipped(name, kind_of(seen.st_mode)))
    return Listing(tuple(entries), tuple(skipped))


class Readiness(enum.Enum):
    """Whether a checkpoint may be copied."""

    READY = "ready"
    SETTLING = "settling"
    """Whole as far as its files tell, but not yet seen twice the same."""
    INCOMPLETE = "incomplete"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint as it looks now."""

    checkpoint: Checkpoint
    listing: Listing
    readiness: Readiness
    problem: str = ""


@dataclass(slots=True)
class _Look:
    stamp: object
    since: float
    problem: str


class Looks:
    """Remembers how checkpoints looked, so that two looks some time apart can be compared. Nothing here waits."""

    def __init__(self, settle: float) -> None:
        self.settle = settle
        self._seen: dict[Path, _Look] = {}

    def at(self, checkpoint: Checkpoint, now: float) -> Found:
        """Look at a checkpoint now."""
        layout = BY_NAME[checkpoint.layout]
        try:
            listing = look(checkpoint.path, layout)
            if not listing.entries:
                raise FileNotFoundError
            beside = _beside(checkpoint.path.parent, layout)
            seen = self._look(
                checkpoint.path, (listing.stamp, beside), now, lambda: _problem(checkpoint, listing, beside)
            )
        except FileNotFoundError:
            return Found(checkpoint, Listing(()), Readiness.GONE, "it is gone")
        except OSError as error:
            return Found(checkpoint, Listing(()), Readiness.INCOMPLETE, f"it cannot be read: {error.strerror}")
        if seen.problem:
            return Found(checkpoint, listing, Readiness.INCOMPLETE, seen.problem)
        ready = now - seen.since >= self.settle
        return Found(checkpoint, listing, Readiness.READY if ready else Readiness.SETTLING)

    def still(self, folder: Path, listing: Listing, now: float) -> bool:
        """Whether the model folder's own files look as they did `settle` seconds ago."""
        return now - self._look(folder, listing.stamp, now, str).since >= self.settle

    def forget_gone(self) -> None:
        """Forget how things looked that are no longer there."""
        self._seen = {path: seen for path, seen in self._seen.items() if os.path.lexists(path)}

    def _look(self, path: Path, stamp: object, now: float, problem: Callable[[], str]) -> _Look:
        seen = self._seen.get(path)
        # A clock that was set back must not make a fresh look an old one.
        if seen is None or seen.stamp != stamp or now < seen.since:
            seen = self._seen[path] = _Look(stamp, now, problem())
        return seen


def _beside(place: Path, layout: Layout) -> bytes | None:
    """What the file says that names the newest finished checkpoint of a place."""
    if not layout.beside:
        return None
    try:
        with folder_below(place) as root:
            return _read(root, layout.beside, 0, _MARKER_MOST)
    except OSError:
        return None


def _problem(checkpoint: Checkpoint, listing: Listing, beside: bytes | None) -> str:
    layout = BY_NAME[checkpoint.layout]
    prefix = f"{checkpoint.path.name}/" if layout.folder else ""
    entries = [entry._replace(name=entry.name.removeprefix(prefix)) for entry in listing.entries]
    with folder_below(checkpoint.path.parent) as root:
        lacking = layout.problem(
            checkpoint.step, entries, lambda name, offset, length: _read(root, prefix + name, offset, length)
        )
    if not lacking and checkpoint.step == UNKNOWN:
        return "no step can be read in it"
    return lacking or (beside_problem(layout.beside, checkpoint.step, beside) if layout.beside else "")


def _read(root: int, name: str, offset: int, length: int) -> bytes:
    descriptor = open_below(root, name)
    try:
        return read_range(descriptor, offset, length)
    finally:
        os.close(descriptor)
