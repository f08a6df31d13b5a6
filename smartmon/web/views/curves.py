"""Series, ready to be drawn: which part of them, on which axis, how smooth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from smartmon.store import Nonfinite, Point, RunRow, Series, Store
from smartmon.store.chunks import BLOCK
from smartmon.store.smoothing import ema, mean, reach
from smartmon.web.models import Attempt, Axis, SeriesAnswer, SeriesOne, Stretch
from smartmon.web.site import Site

_STEPS = 2.0**62
_MOST_POINTS = 200_000
"""Of all series together: an answer of millions would take gigabytes."""


@dataclass(frozen=True, slots=True)
class Ask:
    """How series are wanted."""

    x: Axis = "step"
    start: float | None = None
    end: float | None = None
    max_points: int = 4000
    attempt: int | None = None
    smooth: float | None = None
    mean: int | None = None


def series(site: Site, store: Store, rows: Sequence[RunRow], metrics: Sequence[str], ask: Ask) -> SeriesAnswer:
    """Return some metrics of some runs."""
    ask = replace(ask, max_points=max(1, min(ask.max_points, _MOST_POINTS // (len(rows) * len(metrics)))))
    with store.transaction():
        lying = {row.id: attempts(site, store, row) for row in rows}
        return SeriesAnswer.model_construct(
            run=rows[0].name,
            x=ask.x,
            attempts=[one for row in rows for one in lying[row.id]],
            series=[_one(store, row, metric, ask, lying[row.id]) for row in rows for metric in metrics],
        )


def attempts(site: Site, store: Store, row: RunRow) -> list[Attempt]:
    """Return every attempt of a run that has rows, and how its steps lie on the axes."""
    known = {one.attempt: one for one in store.attempts(row.id)}
    found: list[Attempt] = []
    origin: float | None = None
    for number, first, last in store.bounds(row.id):
        began = known.get(number)
        at = began.at if began is not None else _first_at(site, store, row, number, first)
        origin = at if origin is None else origin
        # Each attempt goes on where the one before it ended, however far back it began.
        offset = found[-1].last_step + found[-1].offset + 1 - first if found else 0
        found.append(
            Attempt(
                run=row.name,
                attempt=number,
                first_step=first,
                last_step=last,
                started_at=at,
                offset=offset if found and first <= found[-1].last_step else (found[-1].offset if found else 0),
                origin=origin,
                reason=began.reason if began is not None else "",
            )
        )
    return found


def began(site: Site, store: Store, row: RunRow) -> float:
    """Return when a run began: its first row may be older than our first sight of it."""
    bounds = store.bounds(row.id)
    seen = _first_at(site, store, row, *bounds[0][:2]) if bounds else row.first_seen
    return row.started_at or min(row.first_seen, seen)


def identity(row: RunRow) -> tuple[int, float]:
    """Return what tells a run from one that had its number in a database that is gone."""
    return row.id, row.first_seen


def _first_at(site: Site, store: Store, row: RunRow, attempt: int, first: int) -> float:
    """Return the moment of an attempt's first row."""

    def find() -> float:
        for metric in store.metrics(row.id):
            if points := store.series(row.id, metric, attempt=attempt, start=first, end=first, max_points=1).points:
                return points[0].at
        return row.started_at or row.first_seen

    return site.memory.get(("first", *identity(row), attempt), first, find)


def _one(store: Store, row: RunRow, metric: str, ask: Ask, lying: Sequence[Attempt]) -> SeriesOne:
    smoothers = [*([ema(ask.smooth)] if ask.smooth is not None else []), *([mean(ask.mean)] if ask.mean else [])]
    found = store.series(
        row.id,
        metric,
        attempt=ask.attempt,
        max_points=ask.max_points,
        windows=_windows(store, row, metric, ask, lying),
        smoothers=smoothers,
    )
    at = _axis(ask.x, {one.attempt: one for one in lying})
    columns = [
        "x",
        "value",
        "min",
        "max",
        *(["ema"] if ask.smooth is not None else []),
        *(["mean"] if ask.mean else []),
    ]
    return SeriesOne.model_construct(
        run=row.name,
        metric=metric,
        count=found.count,
        bucket=found.bucket,
        nonfinite=[at(bad) for bad in found.nonfinite],
        nonfinite_count=found.nonfinite_count,
        attempts=_stretches(found.points),
        mean_over=reach(ask.mean, BLOCK if found.bucket >= BLOCK else 1) if ask.mean else None,
        columns=columns,
        points=_rows(found, at),
    )


def _rows(found: Series, at: Callable[[Point], float]) -> list[list[float | None]]:
    # NaN becomes null where the answer is written.
    xs = map(at, found.points)
    rows = zip(xs, *([point[index] for point in found.points] for index in (3, 4, 5)), *found.smoothed)
    return [list(row) for row in rows]


def _stretches(points: Sequence[Point]) -> list[Stretch]:
    found: list[Stretch] = []
    start = 0
    for index in range(1, len(points) + 1):
        if index == len(points) or points[index].attempt != points[start].attempt:
            found.append(Stretch(attempt=points[start].attempt, start=start, points=index - start))
            start = index
    return found


def _axis(x: Axis, lying: Mapping[int, Attempt]) -> Callable[[Point | Nonfinite], float]:
    origin = next((one.origin for one in lying.values()), 0.0)
    if x == "time":
        return lambda point: point.at
    if x == "elapsed":
        return lambda point: point.at - origin
    if x == "position":
        return lambda point: point.step + (lying[point.attempt].offset if point.attempt in lying else 0)
    return lambda point: point.step


def _windows(
    store: Store, row: RunRow, metric: str, ask: Ask, lying: Sequence[Attempt]
) -> dict[int, tuple[int, int]] | None:
    """Return the first and last step wanted of each attempt."""
    if ask.start is None and ask.end is None:
        return None
    low = -math.inf if ask.start is None else ask.start
    high = math.inf if ask.end is None else ask.end
    windows = {}
    for one in lying:
        if ask.x in ("time", "elapsed"):
            origin = one.origin if ask.x == "elapsed" else 0.0
            windows[one.attempt] = store.step_window(row.id, metric, one.attempt, low + origin, high + origin)
        else:
            offset = one.offset if ask.x == "position" else 0
            windows[one.attempt] = (_step(math.ceil, low) - offset, _step(math.floor, high) - offset)
    return windows


def _step(rounded: Callable[[float], int], x: float) -> int:
    return rounded(max(-_STEPS, min(_STEPS, x)))
