"""What a source is: its description, the run it belongs to, and the three things it can do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from smartmon.records import Batch, Json, SourceRank

CHUNK = 1 << 20
"""Bytes read at a time from a growing log, and the longest line that is taken."""

MAX_ROWS = 5000
"""Rows in one batch at most: what one transaction of the store takes well."""

LIMIT = 16 << 20
"""The largest file that is read whole."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where a source is and how to read it."""

    id: str
    """Unique within its run: the path relative to the run's folder, as text that can be stored."""
    format: str
    """A key of `FORMATS`, or the name of an entry point of the group `smartmon.sources`."""
    path: Path
    """The file; for Hugging Face state the folder that holds `checkpoint-*`."""
    rank: SourceRank = SourceRank.STREAM
    root: Path | None = None
    """Symbolic links may not lead out of this folder. None: the user named the file, so it may lie anywhere."""
    options: Mapping[str, Json] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A folder in which something trains or has trained."""

    name: str
    path: Path
    base_dir: Path
    sources: tuple[SourceSpec, ...]
    checkpoint_dir: Path | None = None
    """Where its own status says that its checkpoints appear; None: in the usual places."""


class Source(Protocol):
    """Reads one place of the outside world. Holds no file open between calls, never writes, never blocks on a pipe."""

    @property
    def spec(self) -> SourceSpec:
        """What it was opened with."""
        ...

    def stamp(self) -> tuple[object, ...]:
        """Return a value that differs from the last one whenever `read` may have something new; a few `stat` calls."""
        ...

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return what came after `cursor` (None: from the beginning). Bad data becomes notes, never an exception.

        A source may also carry an `account: Account`, which `smartmon doctor --explain` shows.
        """
        ...


def shown(path: Path | str) -> str:
    """Return a path as text that can be stored: bytes that are no UTF-8 become `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def stat_key(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written, replaced, removed or gets other permissions."""
    try:
        found = path.stat()
    except OSError as error:
        return (error.errno or -1,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
