"""When printed rows were written: by the time at the start of their line, else from the ages of files."""

from __future__ import annotations

from smartmon.records import Observation
from smartmon.sources.base import SourceSpec
from smartmon.sources.dating import between, oldest_evidence, plausible
from smartmon.sources.rows import Row
from smartmon.sources.tail import Lines
from smartmon.sources.text_dialects.base import Written

_QUARTER = 900.0
_FARTHEST = 14 * 3600.0
_NEAR = 90.0
_AHEAD = 300.0


def zone_shift(last: Written | None, mtime: float) -> float:
    """Return the seconds by which times without a zone lie behind ours: a container may print UTC, its host does not.

    `last` is the time on the last line of the file, which was written at `mtime`. Only whole quarters of an hour count.
    """
    if last is None or last.zoned:
        return 0.0
    shift = round((mtime - last.at) / _QUARTER) * _QUARTER
    return shift if 0 < abs(shift) <= _FARTHEST and abs(mtime - last.at - shift) <= _NEAR else 0.0


def dated(
    rows: list[tuple[int, Row, Written | None]],
    lines: Lines,
    spec: SourceSpec,
    *,
    now: float,
    at: float | None,
    shift: float,
) -> tuple[list[Observation], float | None]:
    """Give every row its moment: its own, else one between the last known moment and the file's mtime."""
    live, newest = at is not None, min(lines.mtime, now)
    if not live and any(_own(row, when, newest, now, shift) is None for _, row, when in rows):
        at = oldest_evidence(spec.path, newest)
    observations: list[Observation] = []
    begin, start = lines.start, at
    for end, row, when in rows:
        own = _own(row, when, newest, now, shift)
        if own is not None:
            begin, start, at = end, own, own
            observations += row.observations(spec, own, timed=True)
            continue
        # By bytes and not by steps: a log may hold several attempts, and its end is not read yet.
        at = between(start or newest, newest, (end - begin) / max(1, lines.size - begin))
        newly = live and not lines.more and end == rows[-1][0]
        observations += row.observations(spec, at, timed=newly)
    return observations, at


def _own(row: Row, when: Written | None, newest: float, now: float, shift: float) -> float | None:
    """Return the moment that a row or its line carries. A line cannot be newer than its file."""
    if row.at is not None:
        return plausible(row.at, now)
    if when is None:
        return None
    at = when.at if when.zoned else when.at + shift
    return plausible(at, now) if at <= newest + _AHEAD else None
