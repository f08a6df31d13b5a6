"""Holds a checkpoint's files open, so that the trainer's rotation can delete their names but not what is in them."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from smartmon.errors import SnapshotError
from smartmon.snapshots.listing import Entry, folder_below, open_below
from smartmon.snapshots.troubles import ChangedError, VanishedError

_MOST = 1024


@dataclass(frozen=True, slots=True)
class Item:
    """One file to be kept: where it is, how it was seen, and what it will be called in the snapshot."""

    root: Path
    entry: Entry
    target: str
    owner: Path
    """The checkpoint, or the file of the model, that it is part of."""
    in_place: bool = False
    """Whether the trainer will write its next checkpoint into this very file."""


def most_pins() -> int:
    """How many files may be held open at once: half of what the process may open, the rest is for everybody else."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(_MOST, soft // 2)) if soft != resource.RLIM_INFINITY else _MOST


class Pins:
    """Descriptors of the files of one snapshot, all opened before the first is copied.

    Past the limit on open files the rest is opened when its turn comes; if it is gone then, so is the snapshot.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self._stack = contextlib.ExitStack()
        self._roots: dict[Path, int] = {}
        self._held: dict[Item, int] = {}

    def __enter__(self) -> Self:
        try:
            for root in dict.fromkeys(item.root for item in self.items):
                self._roots[root] = self._stack.enter_context(folder_below(root))
            for item in self.items[: most_pins()]:
                self._held[item] = self._open(item)
                self._stack.callback(os.close, self._held[item])
        except FileNotFoundError as error:
            self._stack.close()
            raise VanishedError(f"{error.filename} is gone", self.items[0].owner) from None
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def vanished(self) -> bool:
        """Whether the trainer has deleted any of the files since."""
        return any(os.fstat(descriptor).st_nlink == 0 for descriptor in self._held.values())

    @property
    def all_held(self) -> bool:
        """Whether every file is held open, so that nothing can be lost any more."""
        return len(self._held) == len(self.items)

    @contextlib.contextmanager
    def opened(self, item: Item) -> Iterator[int]:
        """The descriptor of one file. Raises VanishedError or ChangedError when it is not what was looked at."""
        held = self._held.get(item)
        if held is not None:
            yield held
            return
        descriptor = self._open(item)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open(self, item: Item) -> int:
        try:
            descriptor = open_below(self._roots[item.root], item.entry.name)
        except FileNotFoundError:
            raise VanishedError(f"{item.entry.name} was deleted before it could be copied", item.owner) from None
        except NotADirectoryError:
            raise ChangedError(f"{item.entry.name} is not what it was", item.owner) from None
        except OSError as error:
            raise SnapshotError(f"{item.entry.name} cannot be opened: {error.strerror}") from None
        try:
            check(item, descriptor)
        except ChangedError:
            os.close(descriptor)
            raise
        return descriptor


def check(item: Item, descriptor: int) -> None:
    """Raise ChangedError unless the open file is the one that was looked at, as it was then."""
    seen = os.fstat(descriptor)
    if (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns) != item.entry.identity:
        raise ChangedError(f"{item.entry.name} is being written", item.owner)
