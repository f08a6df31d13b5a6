"""Looks at folders that others write: what regular files are in them, without following a link and without an end.

Every step goes through the descriptor of the folder above it, so that nothing that is swapped in meanwhile leads out.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MAX_DEPTH = 6
"""DeepSpeed and FSDP put one folder below `checkpoint-N`; nobody is known to need more than two."""
MAX_FILES = 20_000

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Entry(NamedTuple):
    """A regular file as it was when it was looked at. `name` is its path below the root that was listed."""

    name: str
    size: int
    mtime_ns: int
    dev: int
    ino: int
    nlink: int
    blocks: int

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """What stays the same while a file is neither replaced nor written."""
        return self.dev, self.ino, self.size, self.mtime_ns


class Skipped(NamedTuple):
    """Something in a listed folder that is not copied, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The regular files below a folder, in order of their names."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def bytes(self) -> int:
        """The sum of the sizes."""
        return sum(entry.size for entry in self.entries)

    @property
    def stamp(self) -> tuple[tuple[str, int, int, int], ...]:
        """What two looks must agree in for the files to count as standing still."""
        return tuple((entry.name, entry.size, entry.mtime_ns, entry.ino) for entry in self.entries)


def entry_of(name: str, found: os.stat_result) -> Entry:
    """What is remembered of a regular file."""
    return Entry(
        name, found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino, found.st_nlink, found.st_blocks * 512
    )


def list_tree(root: int, prefix: str = "") -> Listing:
    """List the files below the open folder `root`, with `prefix` before their names.

    What vanishes during the walk is left out; links and special files are named as skipped.
    """
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    _walk(root, prefix, 0, entries, skipped)
    return Listing(tuple(sorted(entries)), tuple(sorted(skipped)))


def _walk(folder: int, prefix: str, depth: int, entries: list[Entry], skipped: list[Skipped]) -> None:
    with os.scandir(folder) as found:
        # NFS keeps a deleted file under such a name for as long as we hold it open: it is deleted all the same.
        names = sorted(entry.name for entry in found if not entry.name.startswith(".nfs"))
    for name in names:
        shown = prefix + name
        with contextlib.suppress(FileNotFoundError):
            seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode):
                if len(entries) >= MAX_FILES:
                    skipped.append(Skipped(shown, f"more than {MAX_FILES} files"))
                    return
                entries.append(entry_of(shown, seen))
            elif not stat.S_ISDIR(seen.st_mode):
                skipped.append(Skipped(shown, kind_of(seen.st_mode)))
            elif depth + 1 >= MAX_DEPTH:
                skipped.append(Skipped(shown, f"nested deeper than {MAX_DEPTH} folders"))
            else:
                with folder_at(name, folder) as inner:
                    _walk(inner, f"{shown}/", depth + 1, entries, skipped)


def kind_of(mode: int) -> str:
    """What something that is no regular file is, for a person."""
    return next((words for test, words in _KINDS if test(mode)), "no regular file")


@contextlib.contextmanager
def folder_at(name: str | Path, parent: int | None = None) -> Iterator[int]:
    """The descriptor of a folder, which may not be a link; closed at the end."""
    descriptor = os.open(name, FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def folder_below(path: Path) -> Iterator[int]:
    """The descriptor of a folder that config or discovery named; a link there was made by the person who runs it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_below(root: int, name: str, flags: int = FILE) -> int:
    """Open the file with the path `name` below `root` without following a link at any step."""
    *folders, last = name.split("/")
    with contextlib.ExitStack() as stack:
        for folder in folders:
            root = stack.enter_context(folder_at(folder, root))
        return os.open(last, flags, dir_fd=root)


def remove_tree(parent: int, name: str, beat: Callable[[], None] = lambda: None) -> None:
    """Remove a folder or file below `parent`, following nothing; what is gone already is as good."""
    try:
        seen = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(seen.st_mode):
            os.unlink(name, dir_fd=parent)
            return
        with folder_at(name, parent) as folder:
            with os.scandir(folder) as found:
                names = [entry.name for entry in found]
            for inner in names:
                beat()
                remove_tree(folder, inner, beat)
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return
