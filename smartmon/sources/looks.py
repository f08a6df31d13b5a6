"""What files were found to be when they were looked into: each look costs a read of the file's beginning.

An answer is kept while the file is there: for good once a format was found or the file is longer than what is looked
at, else until the file grows; less and less often, if it goes on growing and never is a log. A folder of thousands of
texts must not hold up the runs beside it, so one scan looks only for so long; what nobody has looked into comes first,
and of that the newest, for what is written now is a run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from smartmon.records import Json
from smartmon.sources.sniff import HEAD

_VAIN = 64
"""Looks in vain after which a file that grows is looked into again only when it has become a quarter longer."""
Sniffer = Callable[[Path, Mapping[str, Json] | None], str | None]


@dataclass(slots=True)
class Look:
    """What a file was found to be."""

    inode: int
    size: int
    format: str | None
    mtime: float
    vain: int = 0
    """How often it was looked into and nothing was found."""

    def holds(self, seen: os.stat_result) -> bool:
        """Whether a look now would find the same."""
        if self.inode != seen.st_ino or seen.st_size < self.size:
            return False
        enough = self.size + (0 if self.vain < _VAIN else self.size // 4)
        return self.format is not None or self.size >= HEAD or seen.st_size <= enough


class Looks:
    """Looks into files, and remembers those that the last scan asked for."""

    def __init__(self, sniffer: Sniffer, patience: float | None = None) -> None:
        """`patience`: seconds of the processor that the looks of one scan may take; None: as long as it takes."""
        self._sniffer = sniffer
        self._patience = patience
        self._spent = 0.0
        self._before: dict[Path, Look] = {}
        self.known: dict[Path, Look] = {}
        """The files of this scan."""
        self.behind = 0
        """Files that were left for the next scan."""

    def begin(self) -> None:
        """Start a scan."""
        self._before, self.known = self.known, {}
        self._spent, self.behind = 0.0, 0

    def ahead(self, files: Iterable[tuple[Path, Mapping[str, Json] | None]]) -> None:
        """Look into those of many files that need it, the most promising first; with each the options of `format`."""
        waiting = []
        for path, options in files:
            seen = _stat(path)
            if seen is not None and not self._holds(path, seen):
                waiting.append((path in self._before, -seen.st_mtime, path, seen, options))
        for _, _, path, seen, options in sorted(waiting, key=lambda each: each[:2]):
            if self._tired:
                return
            self._look(path, seen, options)

    def format(self, path: Path, options: Mapping[str, Json] | None = None) -> str | None:
        """Return the format of a file; None where it is no log, not there, or not looked into yet.

        `options` say how its lines are to be read; they are the same each time.
        """
        if path in self.known:
            return self.known[path].format
        seen = _stat(path)
        if seen is None:
            return None
        if not self._holds(path, seen):
            if self._tired:
                self.behind += 1
                if (before := self._before.get(path)) is None or before.inode != seen.st_ino:
                    return None
                self.known[path] = before
            else:
                self._look(path, seen, options)
        return self.known[path].format

    @property
    def _tired(self) -> bool:
        return self._patience is not None and self._spent >= self._patience

    def _holds(self, path: Path, seen: os.stat_result) -> bool:
        look = self._before.get(path)
        if look is None or not look.holds(seen):
            return False
        look.mtime = seen.st_mtime
        self.known[path] = look
        return True

    def _look(self, path: Path, seen: os.stat_result, options: Mapping[str, Json] | None) -> None:
        begun = time.thread_time()
        kind = self._sniffer(path, options) if seen.st_size else None
        before = self._before.get(path)
        vain = before.vain + 1 if before is not None and before.inode == seen.st_ino else 1
        self.known[path] = Look(seen.st_ino, seen.st_size, kind, seen.st_mtime, vain)
        self._spent += time.thread_time() - begun


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None
