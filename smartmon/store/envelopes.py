"""Series for charts: at most so many buckets, each with its extremes, so that a spike of one step is never lost."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from smartmon.store.chunks import BLOCK, Cells, Points, cells_of, count_nonfinite, merge, read_summary
from smartmon.store.observations import ObservationTables, points_between
from smartmon.store.rows import Nonfinite, Point, Series
from smartmon.store.smoothing import Smoother
from smartmon.store.values import INT_MAX

NONFINITE_LISTED = 1000
_AT_ONCE = 500
_LEAD = 8192
"""Values before a range that its smoothed values begin from: a zoom shows the same as the whole."""
SCREEN = 4000
"""Buckets that a screen has room for; who asks for more wants the numbers themselves."""
_ENOUGH = 300
"""Blocks that draw a curve well: rather these, which are at hand, than to read twenty thousand observations."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of one attempt: a sealed chunk that is wanted whole, or points already at hand."""

    count: int
    nonfinite: int
    chunk_id: int = 0
    points: Points | None = None

    @property
    def blocks(self) -> int:
        return -(-self.count // BLOCK)


class EnvelopeTables(ObservationTables):
    """Reading series at the width of a screen."""

    def series(
        self,
        run_id: int,
        metric: str,
        *,
        attempt: int | None = None,
        start: int | None = None,
        end: int | None = None,
        max_points: int = SCREEN,
        windows: Mapping[int, tuple[int, int]] | None = None,
        smoothers: Sequence[Smoother] = (),
    ) -> Series:
        """A metric of a run (or of one attempt) between two steps, in at most `max_points` buckets of equal count.

        No bucket spans two attempts. Of more attempts than `max_points`, the newest are shown. `windows` has other
        first and last steps for some attempts.
        """
        max_points = max(1, max_points)
        with self.transaction() if self.readonly else self._lock:
            whole = (-INT_MAX if start is None else start, INT_MAX if end is None else end)
            ids = dict(self._series(run_id, metric, attempt))
            ranges = {number: (windows or {}).get(number, whole) for number in ids}
            found = [(number, self._pieces(ids[number], *ranges[number])) for number in ids]
            found = [(number, pieces) for number, pieces in found if pieces][-max_points:]
            before = {
                number: self._pieces(ids[number], -INT_MAX, ranges[number][0] - 1)
                for number, _ in (found if smoothers else ())
            }
            size, buckets = self._buckets(found, max_points, smoothers, before)
            bad = [Nonfinite(number, *where) for number, pieces in found for where in self._nonfinite(pieces)]
        pieces = [piece for _, many in found for piece in many]
        return Series(
            metric,
            sum(piece.count for piece in pieces),
            [Point(number, *row) for number, cells, _ in buckets for row in _rows(cells)],
            bad[:NONFINITE_LISTED],
            sum(piece.nonfinite for piece in pieces),
            size,
            [[value for *_, columns in buckets for value in columns[index]] for index in range(len(smoothers))],
        )

    def step_window(self, run_id: int, metric: str, attempt: int, since: float, until: float) -> tuple[int, int]:
        """The first and last step of an attempt whose observations of a metric lie between two moments.

        Empty (the first after the last) where there are none.
        """
        with self.transaction() if self.readonly else self._lock:
            for _, series_id in self._series(run_id, metric, attempt):
                first = self._step_at(series_id, since)
                after = self._step_at(series_id, math.nextafter(until, math.inf))
                return (INT_MAX if first is None else first), (INT_MAX if after is None else after - 1)
        return 1, 0

    def _step_at(self, series_id: int, at: float) -> int | None:
        """The first step from a moment on. Looks into few chunks: moments grow with the steps of an attempt."""
        chunks = self._all("SELECT id FROM chunks WHERE series_id = ? ORDER BY first_step", (series_id,))
        place = bisect_left(chunks, at, key=lambda chunk: self._summary(chunk[0]).ats[-1])
        if place < len(chunks):
            points = self._chunk(chunks[place][0])
            return points.steps[bisect_left(points.ats, at)]
        row = self._one("SELECT min(step) FROM tail WHERE series_id = ? AND at >= ?", (series_id, at))
        return row[0] if row else None

    def _summary(self, chunk_id: int) -> Cells:
        row = self._one("SELECT summary FROM chunks WHERE id = ?", (chunk_id,))
        assert row is not None
        return read_summary(row[0])

    def _buckets(
        self,
        found: list[tuple[int, list[_Piece]]],
        max_points: int,
        smoothers: Sequence[Smoother],
        before: Mapping[int, list[_Piece]],
    ) -> tuple[int, list[tuple[int, Cells, list[array[float]]]]]:
        """How many observations a bucket is of at most, and the buckets of each attempt with their smoothed values."""
        counts = [sum(piece.count for piece in pieces) for _, pieces in found]
        blocks = [sum(piece.blocks for piece in pieces) for _, pieces in found]
        size, each = _bucket_size(counts, max_points), 1
        if size >= BLOCK or (size > 1 and sum(blocks) >= _ENOUGH and max_points <= SCREEN):
            size, each = _bucket_size(blocks, max_points), BLOCK
        buckets = []
        for number, pieces in found:
            cells = self._cells(pieces, each)
            ends = [*range(size - 1, len(cells), size)]
            ends += [len(cells) - 1] if len(cells) % size else []
            lead = self._lead(before.get(number, []), each)
            columns = [smooth(lead + cells.lasts if lead else cells.lasts, each) for smooth in smoothers]
            picked = [array("d", (column[len(lead) + place] for place in ends)) for column in columns]
            buckets.append((number, cells.grouped(size), picked))
        return size * each, buckets

    def _cells(self, pieces: list[_Piece], each: int) -> Cells:
        return cells_of(self._all_points(pieces)) if each == 1 else self._all_blocks(pieces)

    def _lead(self, pieces: list[_Piece], each: int) -> array[float]:
        """The last values of what lies before a range."""
        near: list[_Piece] = []
        missing = _LEAD
        while pieces and missing > 0:
            near.insert(0, pieces.pop())
            missing -= near[0].count if each == 1 else near[0].blocks
        return self._cells(near, each).lasts[-_LEAD:]

    def _pieces(self, series_id: int, first: int, last: int) -> list[_Piece]:
        """What a range of steps consists of, in order. Only chunks that the range cuts or late rows touch are read."""
        pieces: list[_Piece] = []
        done = first - 1
        late = self._late_steps(series_id)
        for chunk_id, start, end, count, nonfinite in self._all(
            "SELECT id, first_step, last_step, count, nonfinite FROM chunks WHERE series_id = ? AND last_step >= ? "
            "AND first_step <= ? ORDER BY first_step",
            (series_id, first, last),
        ):
            if first <= start and end <= last and not any(done < step <= end for step in late):
                pieces.append(_Piece(count, nonfinite, chunk_id))
            else:
                newer = self._tail_points(series_id, done + 1, min(end, last))
                pieces += _piece(points_between(merge(self._chunk(chunk_id), newer), done + 1, min(end, last)))
            done = end
        return pieces + _piece(self._tail_points(series_id, done + 1, last))

    def _late_steps(self, series_id: int) -> list[int]:
        rows = self._all(
            "SELECT step FROM tail WHERE series_id = ? AND step <= "
            "(SELECT max(last_step) FROM chunks WHERE series_id = ?)",
            (series_id, series_id),
        )
        return [row[0] for row in rows]

    def _all_points(self, pieces: list[_Piece]) -> Points:
        points = Points()
        for piece in pieces:
            points.extend(self._points(piece))
        return points

    def _all_blocks(self, pieces: list[_Piece]) -> Cells:
        cells = Cells()
        whole = [piece.chunk_id for piece in pieces if piece.points is None]
        summaries: dict[int, bytes] = {}
        for start in range(0, len(whole), _AT_ONCE):
            ids = whole[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(ids))
            summaries |= dict(self._all(f"SELECT id, summary FROM chunks WHERE id IN ({marks})", ids))  # noqa: S608
        for piece in pieces:
            if piece.points is None:
                cells.extend(read_summary(summaries[piece.chunk_id]))
            else:
                cells.extend(cells_of(piece.points).grouped(BLOCK))
        return cells

    def _points(self, piece: _Piece) -> Points:
        return self._chunk(piece.chunk_id) if piece.points is None else piece.points

    def _nonfinite(self, pieces: list[_Piece]) -> list[tuple[int, float]]:
        bad = (
            (step, at)
            for piece in pieces
            if piece.nonfinite
            for points in (self._points(piece),)
            for step, at, value in zip(points.steps, points.ats, points.values)
            if not math.isfinite(value)
        )
        return list(islice(bad, NONFINITE_LISTED))


def _piece(points: Points) -> list[_Piece]:
    return [_Piece(len(points), count_nonfinite(points.values), points=points)] if points else []


def _rows(cells: Cells) -> zip[tuple[int, float, float, float, float]]:
    return zip(cells.steps, cells.ats, cells.lasts, cells.mins, cells.maxs)


def _bucket_size(counts: list[int], most: int) -> int:
    """The smallest size with which all stretches together make at most so many buckets."""
    size = max(1, -(-sum(counts) // most))
    while sum(-(-count // size) for count in counts) > most:
        size += max(1, size // 16)
    return size
