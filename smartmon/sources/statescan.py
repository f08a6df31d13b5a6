"""One version of a `trainer_state.json`, looked through to its end before any of its rows is believed.

The work is done a slice at a time and survives in the cursor. Where the file begins as the version that was consumed
last, the rows up to there are neither read nor parsed again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from smartmon.records import Json
from smartmon.sources.base import MAX_ROWS
from smartmon.sources.jsonwalk import Walk, walk
from smartmon.sources.marks import Comparison, Marks, mark
from smartmon.sources.numbers import whole
from smartmon.sources.rows import is_summary
from smartmon.sources.safe_read import read_at

ARRAY = "log_history"
_PROBES, _PROBE, _LAST = 16, 1024, 65536
"""What is looked at of the consumed part: pieces spread over it, and its last bytes.

A resumed run that tells another story differs in every row from where it parted, the last ones included.
"""


@dataclass(slots=True)
class Scan:
    """How far a version of the file was looked through, and what is known of it."""

    key: list[int]
    """Device, inode, size and mtime: another one is another version."""
    seen: bool
    """Whether the source had been read before this version appeared."""
    walk: Walk = field(default_factory=Walk)
    comparison: Comparison = field(default_factory=Comparison)
    count: int = 0
    """Objects in the array."""
    next: int = 0
    """Where the first row that is not consumed begins."""
    done: int = 0
    """How many rows are consumed."""
    last_step: int = 0
    summary: bool = False
    """Whether the last row ends the run."""

    @classmethod
    def begin(cls, descriptor: int, key: list[int], known: Marks, last: Mapping[str, Json]) -> Scan:
        """Start on a version of the file: where the consumed part ends, if it begins with that, else at its start."""
        scan = cls(key, bool(last))
        consumed = last.get("consumed")
        if not isinstance(consumed, dict) or consumed.get("count") != known.count or not known.count:
            return scan
        header = Walk()
        for _row in walk(descriptor, key[2], header, ARRAY):
            break
        end = header.begin + int(consumed["bytes"])
        if not header.begin or end > key[2] or fingerprint(descriptor, header.begin, end) != consumed["print"]:
            return scan
        scan.walk = header.within(end)
        scan.comparison.agreed = scan.count = scan.done = known.count
        scan.next, scan.last_step, scan.summary = end, int(consumed["step"]), bool(consumed["summary"])
        return scan

    def go(self, descriptor: int, known: Marks) -> None:
        """Look through the next slice."""
        comparison = self.comparison
        row: Mapping[str, Any] = {}
        for row in walk(descriptor, self.key[2], self.walk, ARRAY):
            self.count += 1
            if not comparison.parted and comparison.add(mark(row), known):
                self.next = self.walk.offset
        if row:
            self.last_step, self.summary = whole(row.get("step")) or 0, is_summary(row)
        if self.walk.whole:
            self.done = comparison.agreed
            self.next = self.next or self.walk.begin

    def take(self, descriptor: int, marks: Marks) -> Iterator[dict[str, Any]]:
        """Yield the next rows that are not consumed, as many as one batch and one slice hold; mark them."""
        place = self.walk.within(self.next)
        for row in islice(walk(descriptor, self.key[2], place, ARRAY), min(MAX_ROWS, self.count - self.done)):
            marks.add(mark(row))
            self.done += 1
            self.next = place.offset
            yield row

    @property
    def finished(self) -> bool:
        """Whether all rows are consumed."""
        return self.done == self.count

    def consumed(self, descriptor: int) -> dict[str, Json]:
        """Return what lets the next version be read from here on."""
        size = self.next - self.walk.begin
        found = {"count": self.count, "bytes": size, "step": self.last_step, "summary": self.summary}
        return found | {"print": fingerprint(descriptor, self.walk.begin, self.next)}

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        own = {name: getattr(self, name) for name in self.__slots__ if name not in ("walk", "comparison")}
        return own | {"walk": self.walk.data(), "comparison": self.comparison.data()}

    @classmethod
    def read(cls, data: Json, key: list[int]) -> Scan | None:
        """Return the scan that a cursor holds, if it is of this version of the file."""
        try:
            if data["key"] != key:
                return None
            parts = {"walk": Walk.read(data["walk"]), "comparison": Comparison.read(data["comparison"])}
            return cls(**data | parts)
        except (KeyError, TypeError, ValueError):
            return None


def fingerprint(descriptor: int, begin: int, end: int) -> str:
    """Return a digest of the bytes between two places, of which only a bounded number is read."""
    digest = hashlib.sha256()
    for index in range(_PROBES):
        at = begin + (end - begin) * index // _PROBES
        digest.update(read_at(descriptor, at, min(_PROBE, end - at)))
    start = max(begin, end - _LAST)
    digest.update(read_at(descriptor, start, end - start))
    return digest.hexdigest()[:32]


def identity(found: os.stat_result) -> list[int]:
    """Return what tells one version of a file from the next."""
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]
