"""A snapshot while it is being made: a hidden folder that becomes a snapshot by one rename, or nothing at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from smartmon.errors import SnapshotError
from smartmon.records import Json
from smartmon.snapshots import names, syscalls
from smartmon.snapshots.copying import Copier, ShorterError
from smartmon.snapshots.folder import PARTIAL, discard, empty, locked, replace, write
from smartmon.snapshots.listing import folder_below, remove_tree
from smartmon.snapshots.metadata import METADATA, dumps
from smartmon.snapshots.pins import Item, Pins, check
from smartmon.snapshots.troubles import DISK, ChangedError, NoRoomError
from smartmon.text import clean

LINK, HARD_LINK = "link", "hard_link"

_TWINS = 1000

Held = Mapping[tuple[int, int, int, int], Path]
"""Identity of a trainer's file (device, inode, size, mtime) -> our own copy of it in an earlier snapshot."""


@dataclass
class Staging:
    """An unfinished snapshot. Used as a context; what was not published by its end is deleted."""

    folder: Path
    copier: Copier
    path: Path = field(init=False)
    methods: dict[str, int] = field(default_factory=dict)
    """How many bytes were brought in which way."""
    files: list[dict[str, Json]] = field(default_factory=list)
    _lock: int = -1
    _made: set[Path] = field(default_factory=set)

    def __enter__(self) -> Self:
        self.path = self.folder / f"{PARTIAL}{uuid.uuid4().hex}"
        with _disk(f"cannot write to {clean(self.folder)}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path.mkdir()
            self._made = {self.path}
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # a file system without locks: there is no second daemon to tell
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        # What cannot be deleted now, the next sweep deletes; the reason for being here matters more.
        with contextlib.suppress(OSError), folder_below(self.folder) as parent:
            remove_tree(parent, self.path.name)

    def add(self, pins: Pins, item: Item, held: Held, *, hard_links: bool = False) -> None:
        """Bring one pinned file in. Raises what `Pins.opened` does, NoRoomError, or SnapshotError naming the file."""
        target = self.path / item.target
        with pins.opened(item) as source, _disk(f"{clean(item.entry.name)} cannot be copied"):
            check(item, source)
            self._folders(target.parent)
            method = self._link(item, source, target, held, hard_links) or self._copy(item, source, target)
            check(item, source)
        self.methods[method] = self.methods.get(method, 0) + item.entry.size
        entry = item.entry
        origin = {"dev": entry.dev, "ino": entry.ino, "mtime_ns": entry.mtime_ns}
        self.files.append({"path": item.target, "bytes": entry.size, "method": method, "source": origin})

    def _link(self, item: Item, source: int, target: Path, held: Held, hard_links: bool) -> str:
        own = held.get(item.entry.identity)
        if own is not None and _linked(own, target) and target.lstat().st_size == item.entry.size:
            return LINK
        target.unlink(missing_ok=True)
        # A link would hold whatever the trainer writes into the file next.
        return HARD_LINK if hard_links and not item.in_place and _linked_open(source, target) else ""

    def _copy(self, item: Item, source: int, target: Path) -> str:
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            return self.copier.copy(source, descriptor, item.entry.size)
        except ShorterError:
            raise ChangedError(f"{item.entry.name} became shorter while it was copied", item.owner) from None
        finally:
            os.close(descriptor)

    def _folders(self, path: Path) -> None:
        if path not in self._made:
            self._folders(path.parent)
            path.mkdir(exist_ok=True)
            self._made.add(path)

    def write(self, name: str, data: bytes) -> None:
        """Write one of our own files."""
        with _disk(f"cannot write {name}"):
            write(self.path / name, data)

    def seal(self, metadata: Mapping[str, Json]) -> None:
        """Write the metadata and make everything durable; nothing is added after this."""
        self.write(METADATA, dumps(metadata))
        with _disk("the copy cannot be made durable"):
            for path in sorted(self._made, key=lambda path: -len(path.parts)):
                syscalls.sync_folder(path)

    def hold(self, place: Path) -> None:
        """Move into the held place, instead of what is there."""
        with locked(self.folder), _disk("the copy cannot be put in its place"):
            old = discard(place) if os.path.lexists(place) else None
            syscalls.rename_new(self.path, place)
            syscalls.sync_folder(self.folder)
        if old is not None:
            empty(old, self.copier.alive)


def publish(path: Path, metadata: dict[str, Json], at: float, reasons: list[str]) -> Path:
    """Give a sealed folder its name as a snapshot and return where it is now; nothing is ever replaced."""
    folder = path.parent
    with locked(folder), _disk("the snapshot cannot be published"):
        for number in range(1, _TWINS):
            name = names.name(at, reasons, number)
            if os.path.lexists(folder / name):
                continue
            if metadata["name"] != name:
                metadata["name"] = name
                replace(path / METADATA, dumps(metadata))
            try:
                syscalls.rename_new(path, folder / name)
            except FileExistsError:
                continue
            syscalls.sync_folder(folder)
            return folder / name
    raise SnapshotError(f"there are {_TWINS} snapshots called {clean(name)} already")


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        return False
    return True


def _linked_open(source: int, target: Path) -> bool:
    """Link an open file: whatever has its name by now, this is the one that was looked at."""
    try:
        # With a folder's descriptor Python calls linkat(2), which alone can follow the kernel's link to the file.
        with folder_below(Path("/proc/self/fd")) as descriptors:
            os.link(str(source), target, src_dir_fd=descriptors, follow_symlinks=True)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _disk(doing: str) -> Iterator[None]:
    """Tell a full disk from every other trouble with it, in words."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in DISK:
            raise NoRoomError(f"{doing}: {why}") from None
        where = " (the disk reports an error: check it)" if error.errno == errno.EIO else ""
        raise SnapshotError(f"{doing}: {why}{where}") from None


def method_text(methods: Mapping[str, int]) -> str:
    """How a snapshot's bytes were brought in, the largest share first: `reflink`, `link+copy_file_range`."""
    return "+".join(sorted(methods, key=lambda method: (-methods[method], method))) or "none"
