"""The rows of several sources in one order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

from smartmon.records import Observation


def in_time_order(series: Iterable[Sequence[Observation]]) -> Iterator[Observation]:
    """Merge the rows of several sources by time; within a source the file's order stands, whatever its clock did."""

    def keyed(rank: int, rows: Sequence[Observation]) -> Iterator[tuple[float, int, int, Observation]]:
        latest = float("-inf")
        for index, row in enumerate(rows):
            latest = max(latest, row.at)
            yield latest, rank, index, row

    filled = [rows for rows in series if rows]
    if len(filled) == 1:
        yield from filled[0]
        return
    for *_key, row in heapq.merge(*(keyed(rank, rows) for rank, rows in enumerate(filled))):
        yield row
