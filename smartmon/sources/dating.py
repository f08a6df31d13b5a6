"""When rows without a timestamp were written: estimated from the ages of files, so that an old run never looks new."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from smartmon.records import Json, Note
from smartmon.sources.safe_read import Unreadable, opened, read_at
from smartmon.text import duration

_SIBLINGS = 1000
_SKEW = 86400.0
_QUARTER = 900.0
_FARTHEST = 14 * 3600.0
"""Zones reach from 12 hours behind to 14 ahead; two of them are seldom farther apart than this."""
_NEAR, _NEARER = 60.0, 20.0
"""Seconds between stamping a row and writing it, where the file was seen to grow, and where it was not."""
_LAST = 65536


def oldest_evidence(path: Path, latest: float) -> float:
    """Return the earliest moment at which the run of this file can be shown to have existed.

    It is the oldest mtime among the file, its folder and what else lies in it, but at most `latest`. A ctime says
    nothing: copying, moving and changing permissions renew it.
    """
    oldest = min(_mtime(path, latest), _mtime(path.parent, latest), latest)
    try:
        with os.scandir(path.parent) as entries:
            for entry in islice(entries, _SIBLINGS):
                try:
                    oldest = min(oldest, entry.stat(follow_symlinks=False).st_mtime)
                except OSError:
                    continue
    except OSError:
        return oldest
    return oldest


def _mtime(path: Path, default: float) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return default


def plausible(at: float | None, now: float) -> float | None:
    """Return a row's own moment; one slightly ahead of us (clocks differ) counts as now."""
    return now if at is not None and 0 < at - now <= _SKEW else at


def between(start: float, end: float, share: float) -> float:
    """Return the moment `share` of the way from start to end."""
    return start + (max(start, end) - start) * min(1.0, max(0.0, share))


@dataclass(slots=True)
class Clock:
    """How far the clock in the rows of a log is from that of its file: a container may write another zone's time.

    Zones differ by whole quarters of an hour. A row whose own moment lies such an amount before or after the moment at
    which the file was written is taken to tell another zone's time. That is wrong for a trainer that stamps a row half
    an hour, to the minute, before it writes it; the next row puts it right.
    """

    offset: float = 0.0
    """Seconds to add to the rows' own moments."""
    told: bool = False

    def learn(self, own: float | None, written: float, *, live: bool) -> None:
        """Compare the last row's own moment with that at which the file was written.

        `live`: the file has grown since it was last looked at, so its mtime is no copy's; else more is asked of it.
        """
        if own is None:
            return
        away = written - own
        if abs(away - self.offset) <= _NEAR:
            return
        step, slack = (_QUARTER, _NEAR) if live else (2 * _QUARTER, _NEARER)
        offset = step * round(away / step)
        if abs(away - offset) <= slack and (offset == 0 or 2 * _QUARTER <= abs(offset) <= _FARTHEST):
            self.offset = offset

    def moment(self, own: float | None, now: float) -> float | None:
        """Return a row's own moment by our clock; one slightly ahead of us counts as now."""
        return plausible(own if own is None else own + self.offset, now)

    def note(self, what: str) -> Note | None:
        """Return the note that times are corrected, once."""
        if self.told or not self.offset:
            return None
        self.told = True
        side = "behind" if self.offset > 0 else "ahead of"
        message = f"{what}: its clock is {duration(abs(self.offset))} {side} ours (another time zone?); corrected"
        return Note("warning", message, data={"path": what, "offset_seconds": self.offset})

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {"offset": self.offset, "told": self.told}

    @classmethod
    def read(cls, data: Json) -> Clock:
        """Return the clock that a cursor holds; one that is right for none."""
        try:
            return cls(float(data["offset"]), bool(data["told"]))
        except (KeyError, TypeError, ValueError):
            return cls()


def last_line(path: Path, root: Path | None = None) -> bytes:
    """Return the last whole line of a file: the only one to compare with its mtime while the rest is not read yet."""
    try:
        with opened(path, root) as (descriptor, found):
            start = max(0, found.st_size - _LAST)
            end = read_at(descriptor, start, found.st_size - start)
    except Unreadable:
        return b""
    lines = end[: end.rfind(b"\n") + 1].rstrip().rsplit(b"\n", 1)
    return lines[-1] if len(lines) > 1 or not start else b""
