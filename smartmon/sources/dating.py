"""When rows without a timestamp were written: estimated from the ages of files, so that an old run never looks new."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

_SIBLINGS = 1000
_SKEW = 86400.0


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
