"""Reading the files of a run that the store holds only the sum of. Names are ours, or those of sources that were read:
what a browser sends is compared with them, and never becomes a path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from smartmon.sources.safe_read import Unreadable, opened, read_at
from smartmon.store import RunRow

_BLOCK = 64 << 10


class Line(NamedTuple):
    """A line of a file: where it begins, and its bytes without the line end."""

    offset: int
    data: bytes


class Block(NamedTuple):
    """The lines at the end of a file, or before some place of it."""

    size: int
    lines: list[Line]
    start: int
    """Where the first of them begins; 0 is the beginning of the file."""
    end: int
    """Where the one after the last of them begins."""


def root_of(row: RunRow) -> Path:
    """Return the folder that a run's own files may not lead out of."""
    return row.base_dir if row.path.is_relative_to(row.base_dir) else row.path


def last_lines(path: Path, root: Path | None, most: int, *, before: int | None = None, room: int = 1 << 20) -> Block:
    """Return the last whole lines of a file, in their order: at most so many, and at most `room` bytes of them.

    A torn last line counts as one. Raises Unreadable.
    """
    with opened(path, root) as (descriptor, found):
        end = found.st_size if before is None else max(0, min(before, found.st_size))
        start, data = end, b""
        while start > 0 and len(data) < room and data.count(b"\n") <= most:
            length = min(_BLOCK, start, room - len(data))
            start -= length
            data = read_at(descriptor, start, length) + data
    if start > 0:
        # What is cut in front belongs to the page before; a line longer than all the room is shown from where we are.
        cut = data.find(b"\n") + 1
        start, data = (start + cut, data[cut:]) if 0 < cut < len(data) else (start, data)
    lines = list(_split(data, start, most))
    return Block(found.st_size, lines, lines[0].offset if lines else 0, end)


def first_lines(path: Path, root: Path | None, most: int, *, after: int, room: int = 1 << 20) -> Block:
    """Return the lines from some place of a file on, as `last_lines` does those before one; `end` says how far."""
    with opened(path, root) as (descriptor, found):
        start = min(after, found.st_size)
        data = read_at(descriptor, start, min(room, found.st_size - start))
    if start + len(data) < found.st_size:
        # What is cut behind belongs to the page that follows.
        data = data[: data.rfind(b"\n") + 1] or data
    parts = data.split(b"\n", most)
    if len(parts) > most:
        data = data[: len(data) - len(parts[-1])]
    return Block(found.st_size, list(_split(data, start, most)), start, start + len(data))


def _split(data: bytes, offset: int, most: int) -> Iterator[Line]:
    """Split into the last lines, at line feeds only: of a progress bar's carriage returns, its last state is seen."""
    parts = data.removesuffix(b"\n").rsplit(b"\n", most) if data else []
    if len(parts) > most:
        offset += len(parts.pop(0)) + 1
    for part in parts:
        yield Line(offset, part.rstrip(b"\r").rpartition(b"\r")[2])
        offset += len(part) + 1


def first_there(row: RunRow, names: tuple[str, ...]) -> str:
    """Return the first of some files of a run that is there; empty where none is."""
    for name in names:
        try:
            with opened(row.path / name, root_of(row)):
                return name
        except Unreadable:
            continue
    return ""


def stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a file does."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
