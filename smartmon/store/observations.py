"""Observations: a tail of rows for each series, sealed into chunks (`chunks.py`) as it grows.

New rows always go to the tail, also late ones whose step lies in a chunk already; reading joins both, the tail wins.
Once a tail holds a chunk's worth, late rows are worked into the chunks that they belong to and the rest is sealed.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from smartmon.store.chunks import CHUNK, Points, count_nonfinite, decode, encode, merge, summarise
from smartmon.store.database import Database
from smartmon.store.rows import ObservationRow, Sample
from smartmon.store.values import INT_MAX, integer, moment, real, text, untext


@dataclass(slots=True)
class _Tail:
    series_id: int
    count: int
    """Rows in the tail, or more: replaced rows are counted twice until somebody looks."""


class ObservationTables(Database):
    """The series, tail and chunk tables, for writing and for reading rows back."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, readonly: bool) -> None:
        super().__init__(path, connection, readonly=readonly)
        self._tails: dict[tuple[int, int, str], _Tail] = {}

    def append(self, run_id: int, attempt: int, step: int, at: float, values: Mapping[str, float]) -> None:
        """Store some metrics of one step. A metric that the step already has is replaced."""
        step, at = integer(step), moment(at)
        with self.transaction():
            tails = [self._tail(run_id, attempt, metric) for metric in values]
            self._execute_many(
                "INSERT OR REPLACE INTO tail VALUES (?, ?, ?, ?)",
                [(tail.series_id, step, at, real(value)) for tail, value in zip(tails, values.values())],
            )
            for tail in tails:
                tail.count += 1
                if tail.count >= CHUNK:
                    self._seal(tail)

    def rescale(self, run_id: int, attempt: int, metric: str, factor: float) -> None:
        """Multiply all that is stored of a metric in an attempt."""
        with self.transaction():
            tail = self._tail(run_id, attempt, metric)
            self._execute("UPDATE tail SET value = value * ? WHERE series_id = ?", (factor, tail.series_id))
            chunks = self._all("SELECT id FROM chunks WHERE series_id = ?", (tail.series_id,))
            for (chunk_id,) in chunks:
                points = self._chunk(chunk_id)
                for index, value in enumerate(points.values):
                    points.values[index] = value * factor
                self._execute("DELETE FROM chunks WHERE id = ?", (chunk_id,))
                self._store_chunk(tail.series_id, points)

    def metrics(self, run_id: int) -> list[str]:
        """The names of all metrics of a run, sorted."""
        rows = self._all("SELECT DISTINCT metric FROM series WHERE run_id = ?", (run_id,))
        return sorted(untext(row[0]) for row in rows)

    def bounds(self, run_id: int) -> list[tuple[int, int, int]]:
        """Each attempt that has observations, with its first and its last step."""
        rows = self._all(
            "SELECT attempt, min(low), max(high) FROM (SELECT attempt, "
            "(SELECT min(first_step) FROM chunks WHERE series_id = series.id) AS low, "
            "(SELECT max(last_step) FROM chunks WHERE series_id = series.id) AS high "
            "FROM series WHERE run_id = ?1 UNION ALL SELECT attempt, "
            "(SELECT min(step) FROM tail WHERE series_id = series.id), "
            "(SELECT max(step) FROM tail WHERE series_id = series.id) "
            "FROM series WHERE run_id = ?1) GROUP BY attempt HAVING min(low) IS NOT NULL ORDER BY attempt",
            (run_id,),
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def bytes_per_point(self, run_id: int, metric: str) -> float:
        """What a sealed observation of a metric takes on disk, summaries included."""
        row = self._one(
            "SELECT sum(length(summary) + length(body)) * 1.0 / sum(count) FROM chunks "
            "WHERE series_id IN (SELECT id FROM series WHERE run_id = ? AND metric = ?)",
            (run_id, text(metric)),
        )
        return (row and row[0]) or 0.0

    def recent(self, run_id: int, metric: str, n: int) -> list[Sample]:
        """The last `n` observations of a metric over all attempts, oldest first."""
        found: list[Sample] = []
        for attempt, series_id in reversed(self._series(run_id, metric)):
            points = Points()
            before = INT_MAX
            while len(points) < n - len(found):
                block = self._block_before(series_id, before, n)
                if not block:
                    break
                before = block.steps[0] - 1
                block.extend(points)
                points = block
            points = points.cut(max(0, len(points) - (n - len(found))), len(points))
            rows = zip(points.steps, points.ats, points.values)
            found = [Sample(attempt, step, at, value) for step, at, value in rows] + found
            if len(found) >= n:
                break
        return found

    def last_values(self, run_id: int, metric: str, n: int) -> list[float]:
        """The last `n` values of a metric over all attempts, oldest first."""
        return [sample.value for sample in self.recent(run_id, metric, n)]

    def rows(self, run_id: int, *, upto: tuple[int, int] | None = None) -> Iterator[ObservationRow]:
        """All that is stored of a run, step by step; `upto` is the last (attempt, step) wanted.

        The lock is free between steps, so a long reading does not keep the daemon from writing.
        """
        series = self._all("SELECT attempt, metric, id FROM series WHERE run_id = ? ORDER BY attempt, id", (run_id,))
        for attempt in sorted({row[0] for row in series}):
            if upto is not None and attempt > upto[0]:
                return
            until = upto[1] if upto is not None and attempt == upto[0] else INT_MAX
            columns = [
                self._samples(series_id, untext(metric), until)
                for series_attempt, metric, series_id in series
                if series_attempt == attempt
            ]
            yield from _joined(attempt, heapq.merge(*columns, key=itemgetter(0)))

    def _samples(self, series_id: int, metric: str, until: int) -> Iterator[tuple[int, float, str, float]]:
        after = -INT_MAX - 1
        while after < until:
            block = self._block_after(series_id, after)
            if not block:
                return
            for step, at, value in zip(block.steps, block.ats, block.values):
                if step > until:
                    return
                yield step, at, metric, value
            after = block.steps[-1]

    def _block_after(self, series_id: int, after: int) -> Points:
        """The points after a step: up to the end of the next chunk, or some of the tail."""
        with self._lock:
            chunk = self._one(
                "SELECT id, last_step FROM chunks WHERE series_id = ? AND last_step > ? ORDER BY first_step LIMIT 1",
                (series_id, after),
            )
            last, limit = (chunk[1], -1) if chunk else (INT_MAX, CHUNK)
            points = self._tail_points(series_id, after + 1, last, limit)
            return points_between(merge(self._chunk(chunk[0]), points), after + 1, last) if chunk else points

    def _block_before(self, series_id: int, before: int, n: int) -> Points:
        """The points up to a step: some of the tail above the last chunk, or the next chunk down to its start."""
        with self._lock:
            chunk = self._one(
                "SELECT id, first_step, last_step FROM chunks WHERE series_id = ? AND first_step <= ? "
                "ORDER BY first_step DESC LIMIT 1",
                (series_id, before),
            )
            sealed = chunk[2] if chunk else -INT_MAX - 1
            if before > sealed:
                rows = self._all(
                    "SELECT step, at, value FROM tail WHERE series_id = ? AND step > ? AND step <= ? "
                    "ORDER BY step DESC LIMIT ?",
                    (series_id, sealed, before, n),
                )
                if rows:
                    return Points.of(reversed(rows))
            if not chunk:
                return Points()
            late = self._tail_points(series_id, chunk[1], min(sealed, before))
            points = merge(self._chunk(chunk[0]), late)
            return points.cut(0, _index_after(points, before))

    def _tail(self, run_id: int, attempt: int, metric: str) -> _Tail:
        key = (run_id, attempt, metric)
        tail = self._tails.get(key)
        if tail is None:
            values = (run_id, integer(attempt), text(metric))
            self._execute("INSERT INTO series VALUES (NULL, ?, ?, ?) ON CONFLICT DO NOTHING", values)
            row = self._one("SELECT id FROM series WHERE run_id = ? AND attempt = ? AND metric = ?", values)
            assert row is not None
            tail = self._tails[key] = _Tail(row[0], self._tail_count(row[0]))
        return tail

    def _tail_count(self, series_id: int) -> int:
        row = self._one("SELECT count(*) FROM tail WHERE series_id = ?", (series_id,))
        assert row is not None
        count: int = row[0]
        return count

    def _seal(self, tail: _Tail) -> None:
        tail.count = self._tail_count(tail.series_id)
        if tail.count < CHUNK:
            return
        series_id = tail.series_id
        sealed = self._all("SELECT id, first_step, last_step FROM chunks WHERE series_id = ? ORDER BY 2", (series_id,))
        last = sealed[-1][2] if sealed else -INT_MAX - 1
        late = self._tail_points(series_id, -INT_MAX, last)
        if late:
            self._work_in(series_id, late, sealed)
        fresh = self._tail_points(series_id, last + 1, INT_MAX)
        whole = len(fresh) // CHUNK * CHUNK
        for start in range(0, whole, CHUNK):
            self._store_chunk(series_id, fresh.cut(start, start + CHUNK))
        upto = fresh.steps[whole - 1] if whole else last
        self._execute("DELETE FROM tail WHERE series_id = ? AND step <= ?", (series_id, upto))
        tail.count -= len(late) + whole

    def _work_in(self, series_id: int, late: Points, sealed: list[tuple[int, ...]]) -> None:
        """Put late points into their chunks: each chunk takes what comes before the next one's start."""
        ends = [chunk[1] - 1 for chunk in sealed[1:]] + [INT_MAX]
        start = 0
        for (chunk_id, *_), end in zip(sealed, ends):
            stop = _index_after(late, end)
            if stop > start:
                points = merge(self._chunk(chunk_id), late.cut(start, stop))
                self._execute("DELETE FROM chunks WHERE id = ?", (chunk_id,))
                # Up to twice the size stays whole, so that a few late points do not leave ever smaller chunks.
                size = len(points) if len(points) <= 2 * CHUNK else CHUNK
                for first in range(0, len(points), size):
                    self._store_chunk(series_id, points.cut(first, first + size))
            start = stop

    def _store_chunk(self, series_id: int, points: Points) -> None:
        self._execute(
            "INSERT INTO chunks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
            (
                series_id,
                points.steps[0],
                points.steps[-1],
                len(points),
                count_nonfinite(points.values),
                summarise(points),
                encode(points),
            ),
        )

    def _chunk(self, chunk_id: int) -> Points:
        row = self._one("SELECT body FROM chunks WHERE id = ?", (chunk_id,))
        assert row is not None
        return decode(row[0])

    def _tail_points(self, series_id: int, first: int, last: int, limit: int = -1) -> Points:
        return Points.of(
            self._all(
                "SELECT step, at, value FROM tail WHERE series_id = ? AND step BETWEEN ? AND ? ORDER BY step LIMIT ?",
                (series_id, first, last, limit),
            )
        )

    def _series(self, run_id: int, metric: str, attempt: int | None = None) -> list[tuple[int, int]]:
        """Attempt and series id, oldest attempt first."""
        rows = self._all(
            "SELECT attempt, id FROM series WHERE run_id = ? AND metric = ? ORDER BY attempt", (run_id, text(metric))
        )
        return [(row[0], row[1]) for row in rows if attempt is None or row[0] == attempt]

    def _forget(self) -> None:
        self._tails.clear()


def _index_after(points: Points, step: int) -> int:
    """The index of the first point after a step."""
    low, high = 0, len(points)
    while low < high:
        middle = (low + high) // 2
        if points.steps[middle] <= step:
            low = middle + 1
        else:
            high = middle
    return low


def points_between(points: Points, first: int, last: int) -> Points:
    """The points of steps from `first` to `last`, both included."""
    return points.cut(_index_after(points, first - 1), _index_after(points, last))


def _joined(attempt: int, samples: Iterator[tuple[int, float, str, float]]) -> Iterator[ObservationRow]:
    row: ObservationRow | None = None
    for step, at, metric, value in samples:
        if row is None or row.step != step:
            if row is not None:
                yield row
            row = ObservationRow(attempt, step, at, {})
        row.values[metric] = value
    if row is not None:
        yield row
