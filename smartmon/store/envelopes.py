"""Series for charts: at most so many buckets, each with its extremes, so that a spike of one step is never lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

from smartmon.store.chunks import BLOCK, Cells, Points, cells_of, count_nonfinite, merge, read_summary
from smartmon.store.observations import ObservationTables, points_between
from smartmon.store.rows import Nonfinite, Point, Series
from smartmon.store.values import INT_MAX

NONFINITE_LISTED = 1000


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
        max_points: int = 4000,
    ) -> Series:
        """A metric of a run (or of one attempt) between two steps, in at most `max_points` buckets of equal count.

        No bucket spans two attempts. Of more attempts than `max_points`, the newest are shown.
        """
        max_points = max(1, max_points)
        with self.transaction() if self.readonly else self._lock:
            first, last = -INT_MAX if start is None else start, INT_MAX if end is None else end
            found = [
                (number, self._pieces(series_id, first, last))
                for number, series_id in self._series(run_id, metric, attempt)
            ]
            found = [(number, pieces) for number, pieces in found if pieces][-max_points:]
            points = [Point(number, *row) for number, cells in self._buckets(found, max_points) for row in _rows(cells)]
            bad = [Nonfinite(number, *where) for number, pieces in found for where in self._nonfinite(pieces)]
        pieces = [piece for _, many in found for piece in many]
        return Series(
            metric,
            sum(piece.count for piece in pieces),
            points,
            bad[:NONFINITE_LISTED],
            sum(piece.nonfinite for piece in pieces),
        )

    def _buckets(self, found: list[tuple[int, list[_Piece]]], max_points: int) -> list[tuple[int, Cells]]:
        counts = [sum(piece.count for piece in pieces) for _, pieces in found]
        size = _bucket_size(counts, max_points)
        if size < BLOCK:
            return [(number, cells_of(self._all_points(pieces)).grouped(size)) for number, pieces in found]
        size = _bucket_size([sum(piece.blocks for piece in pieces) for _, pieces in found], max_points)
        return [(number, self._all_blocks(pieces).grouped(size)) for number, pieces in found]

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
        for piece in pieces:
            if piece.points is None:
                row = self._one("SELECT summary FROM chunks WHERE id = ?", (piece.chunk_id,))
                assert row is not None
                cells.extend(read_summary(row[0]))
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
