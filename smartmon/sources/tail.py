"""Reads the whole lines that were appended to a file since a cursor, through rotation, truncation and restarts.

A file is known by its inode and by two fingerprints: of its first bytes and of the bytes just before the cursor. A
file that was truncated and has grown past the cursor again is thus told from one that was appended to. No file stays
open between reads: a rotated file is found again by its inode, a copied one by its fingerprints.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from smartmon.records import Json, Note, Severity
from smartmon.sources.base import CHUNK, MAX_ROWS, shown, stat_key
from smartmon.sources.safe_read import Missing, Unreadable, opened, read_at

_HEAD, _TAIL = 1024, 64
_ROTATED = re.compile(r"[.\-_]\d[\d\-_.T:]*")
"""What log rotation appends to a name: `.1`, `-20251112`, `.2025-11-12_14`."""
_ROTATIONS = 100
_SKIPPED = 64 * CHUNK
"""How much of an endless line is passed over in one read."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far which file was read."""

    dev: int = 0
    ino: int = 0
    offset: int = 0
    head: str = ""
    """Fingerprint of the first (up to 1,024) bytes before the offset."""
    tail: str = ""
    """Fingerprint of the last 64 bytes before the offset."""
    skipping: bool = False
    """Whether the offset lies inside a line that is too long to be taken."""

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Lines:
    """What one read gave."""

    place: Place | None
    """Where the next read begins; None while the file has not appeared."""
    lines: list[tuple[int, bytes]] = field(default_factory=list)
    """Each line without its end, and the offset just after it. Blank lines are left out."""
    notes: list[Note] = field(default_factory=list)
    more: bool = False
    start: int = 0
    """The offset at which this read began."""
    size: int = 0
    """The size of the file that the lines came from."""
    mtime: float = 0.0
    """When that file was last written."""


class Tail:
    """Follows one path. All that must survive a restart is in the `Place` that each read returns."""

    def __init__(
        self,
        path: Path,
        root: Path | None = None,
        *,
        max_lines: int = MAX_ROWS,
        returns: bool = False,
        blank: bytes = b" \t\r\n\0",
    ) -> None:
        """`returns`: a lone carriage return ends a line too, as each drawing of a progress bar.

        `blank`: what is cut off at both ends of a line, and what a line that is left out consists of.
        """
        self._returns = returns
        self._blank = blank
        self._path = path
        self._root = root
        self._max_lines = max_lines
        self._looks = itertools.count()
        self._elsewhere = False
        """Whether the cursor stands in a rotated file, whose growth the path's own `stat` does not show."""

    def stamp(self) -> tuple[object, ...]:
        """One `stat` call."""
        return (*stat_key(self._path), next(self._looks) if self._elsewhere else None)

    def read(self, place: Place | None) -> Lines:
        """Return the next whole lines; raise `Unreadable` where the file cannot be read at all."""
        self._elsewhere = False
        try:
            with opened(self._path, self._root) as (descriptor, found):
                here = Place(found.st_dev, found.st_ino)
                if place is None:
                    return self._lines(descriptor, found, here)
                same = (place.dev, place.ino) == (here.dev, here.ino)
                if same and _matches(descriptor, place, found.st_size):
                    return self._lines(descriptor, found, place)
                return self._changed(descriptor, found, place, same)
        except Missing:
            # Between the renaming and the new file; or it is gone for good.
            lines = self._drained(place, ended=False) if place else None
            self._elsewhere = lines is not None
            return lines or Lines(place)

    def _changed(self, descriptor: int, found: os.stat_result, place: Place, same: bool) -> Lines:
        """Go on in the file that the cursor stands in, if it still exists under a rotated name; else in the new one."""
        begun = found.st_size > 0
        lines = self._drained(place, ended=begun)
        lost = same or lines is None
        # While the new file is empty the writer may still have the old one open.
        self._elsewhere = lines is not None and (bool(lines.lines) or lines.more or not begun)
        if lines is None or not self._elsewhere:
            lines = self._lines(descriptor, found, Place(found.st_dev, found.st_ino))
        elif begun:
            lines.more = True
        if lost and place.offset:
            lines.notes.insert(0, self._gap(place, found.st_size, same))
        return lines

    def _gap(self, place: Place, size: int, same: bool) -> Note:
        name = shown(self._path.name)
        what = "truncated or rewritten" if same else "replaced, and the old file is gone"
        message = f"{name} was {what} after byte {place.offset}; reading it from its start"
        return Note("source_truncated", message, data={"path": name, "offset": place.offset, "size": size})

    def _drained(self, place: Place, *, ended: bool) -> Lines | None:
        """Return what is left in the rotated file of the cursor or in the next one; None if it is not to be found."""
        olds = self._rotated()
        for index, (path, ino) in enumerate(olds):
            if place.ino != ino and place.offset < _TAIL:
                continue  # too little was read to know a copy by its content
            try:
                with opened(path, self._root) as (descriptor, found):
                    if not _matches(descriptor, place, found.st_size):
                        continue
                    here = replace(place, dev=found.st_dev, ino=found.st_ino)
                    last = index + 1 == len(olds)
                    lines = self._lines(descriptor, found, here, ended=ended or not last)
            except Unreadable:
                continue
            if lines.lines or lines.more:
                return lines
            return self._whole(olds[index + 1 :], ended=ended) or lines
        return None

    def _whole(self, olds: list[tuple[Path, int]], *, ended: bool) -> Lines | None:
        """Return the first lines of the oldest of these files that has any."""
        for index, (path, _) in enumerate(olds):
            try:
                with opened(path, self._root) as (descriptor, found):
                    last = index + 1 == len(olds)
                    start = Place(found.st_dev, found.st_ino)
                    lines = self._lines(descriptor, found, start, ended=ended or not last)
            except Unreadable:
                continue
            if lines.lines or lines.more:
                return lines
        return None

    def _rotated(self) -> list[tuple[Path, int]]:
        """Return the rotated files of this path with their inodes, the oldest first."""
        name = self._path.name
        found = []
        try:
            with os.scandir(self._path.parent) as entries:
                for entry in entries:
                    if not entry.name.startswith(name) or not _ROTATED.fullmatch(entry.name[len(name) :]):
                        continue
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, Path(entry.path), status.st_ino))
        except OSError:
            return []
        return [(path, ino) for _, path, ino in sorted(found)[-_ROTATIONS:]]

    def _lines(self, descriptor: int, found: os.stat_result, place: Place, *, ended: bool = False) -> Lines:
        """Return the lines after `place` in an open file. `ended`: nothing will complete its last line."""
        result = Lines(place, start=place.offset, size=found.st_size, mtime=found.st_mtime)
        if place.skipping:
            place = self._skip(descriptor, place, result)
            if place.skipping:
                return result
        chunk = read_at(descriptor, place.offset, CHUNK)
        full = len(chunk) == CHUNK
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r") if self._returns else -1) + 1
        if not end and full:
            message = f"{shown(self._path.name)}: the line at byte {place.offset} is longer than {CHUNK} bytes; skipped"
            result.notes.append(Note("warning", message, Severity.WARNING, {"offset": place.offset}))
            self._skip(descriptor, replace(place, offset=place.offset + CHUNK, skipping=True), result)
            return result
        if ended and not full:
            end = len(chunk)
        self._split(chunk[:end], place.offset, result)
        offset = result.lines[-1][0] if result.more else place.offset + end
        result.more = result.more or full
        result.place = _advanced(descriptor, place, offset)
        return result

    def _split(self, chunk: bytes, offset: int, result: Lines) -> None:
        for line in chunk.splitlines(keepends=True) if self._returns or b"\r" not in chunk else _by_newline(chunk):
            offset += len(line)
            # A file that was truncated under a writer that does not append begins with a hole.
            text = line.strip(self._blank)
            if text:
                result.lines.append((offset, text))
                if len(result.lines) >= self._max_lines:
                    result.more = True
                    return

    def _skip(self, descriptor: int, place: Place, result: Lines) -> Place:
        """Pass over the rest of an endless line; where it does not end yet, go on there the next time."""
        offset = place.offset
        for _ in range(_SKIPPED // CHUNK):
            chunk = read_at(descriptor, offset, CHUNK)
            end = chunk.find(b"\n") + 1
            offset += end or len(chunk)
            if end or len(chunk) < CHUNK:
                break
        skipping = not end
        result.more = not skipping or len(chunk) == CHUNK
        result.place = replace(_advanced(descriptor, place, offset), skipping=skipping)
        return result.place


def _by_newline(chunk: bytes) -> list[bytes]:
    """Split at newlines only: a lone carriage return is part of the line (progress bars)."""
    parts = [part + b"\n" for part in chunk.split(b"\n")]
    last = parts.pop()[:-1]
    return [*parts, last] if last else parts


def _advanced(descriptor: int, place: Place, offset: int) -> Place:
    head = _digest(read_at(descriptor, 0, min(_HEAD, offset)))
    tail = _digest(read_at(descriptor, max(0, offset - _TAIL), min(_TAIL, offset)))
    return replace(place, offset=offset, head=head, tail=tail, skipping=False)


def _matches(descriptor: int, place: Place, size: int) -> bool:
    """Whether the bytes before the cursor are still those that were read."""
    if place.offset == 0:
        return True
    if size < place.offset:
        return False
    head = _digest(read_at(descriptor, 0, min(_HEAD, place.offset)))
    tail = _digest(read_at(descriptor, max(0, place.offset - _TAIL), min(_TAIL, place.offset)))
    return (head, tail) == (place.head, place.tail)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def place_from(data: Mapping[str, Json] | None) -> Place | None:
    """Return the place that a stored cursor holds; None for none, or for one of another version."""
    if not data:
        return None
    try:
        return Place(**data)
    except TypeError:
        return None
