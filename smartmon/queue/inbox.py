"""The inbox: which files in it are whole, and how one gets in or out."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Collection
from pathlib import Path

from smartmon.queue.files import stamp
from smartmon.queue.jobs import first_free
from smartmon.snapshots.syscalls import rename_new, sync_folder

ENDING = ".jsonl"
LOOKS = 2
LOOKS_IF_EMPTY = 60
"""A file is often made first and filled later: one that stays empty is taken too, and refused by the trainer."""
_UNFINISHED = (".part", ".tmp", ".partial", ".crdownload", ".filepart")


class Inbox:
    """Looks into the inbox again and again: a file is whole once it stands still and nobody writes to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[tuple[int, ...], int]] = {}
        self._told: set[str] = set()

    def files(self) -> list[str]:
        """Return the names of the data files, whole or not, the one that came first in front."""
        dated = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if is_data(entry.name) and entry.is_file():
                        dated.append((entry.stat().st_mtime_ns, entry.name))
        return [name for _at, name in sorted(dated)]

    def look(self, known: Collection[str] = ()) -> list[str]:
        """Return the names of the files that have not changed since the look before, and are open to no writer.

        Those in `known` are not looked at.
        """
        seen, whole = {}, []
        for name in self.files():
            if name in known:
                continue
            found = stamp(self.folder / name)
            before, looks = self._seen.get(name, ((), 0))
            seen[name] = (found, looks + 1 if found == before else 1)
            needed = LOOKS if len(found) > 1 and found[1] else LOOKS_IF_EMPTY
            if found and seen[name][1] >= needed and not being_written(self.folder / name):
                whole.append(name)
        self._seen = seen
        return whole

    def strangers(self) -> list[str]:
        """Return the names of files that are no data, each once."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                odd = not is_data(entry.name) and not entry.name.endswith(_UNFINISHED) and entry.name[0] != "."
                if odd and entry.name not in self._told:
                    self._told.add(entry.name)
                    found.append(entry.name)
        return sorted(found)


def is_data(name: str) -> bool:
    """Whether a file of this name is to be trained on: JSON Lines, not hidden, not on its way."""
    return name.endswith(ENDING) and name[0] != "."


def being_written(path: Path) -> bool:
    """Whether some process has the file open for writing. False where the file system cannot tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # The kernel lends a read lease only on a file that nobody writes.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


def land(part: Path, inbox: Path, wanted: str) -> str:
    """Give a file that was copied beside them a name that nothing in the inbox has; return it; raise OSError."""
    taken = {entry.name.removesuffix(ENDING) for entry in inbox.iterdir()}
    while True:
        name = first_free(wanted, taken)
        try:
            rename_new(part, inbox / f"{name}{ENDING}")
        except FileExistsError:
            taken.add(name)
        else:
            sync_folder(inbox)
            return f"{name}{ENDING}"
