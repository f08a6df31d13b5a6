"""Which rows of a table were taken already, so that a file that is written anew is not told anew."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from smartmon.records import Json


@dataclass(slots=True)
class Seen:
    """A running checksum of rows, and what it was after 1, 2, 4, 8, ... of them: a few numbers for any length."""

    count: int = 0
    digest: int = 0
    milestones: list[int] = field(default_factory=list)

    def add(self, row: bytes) -> None:
        """Take a row in."""
        self.digest = zlib.crc32(row, self.digest)
        self.count += 1
        if self.count & (self.count - 1) == 0:
            self.milestones.append(self.digest)

    def differs(self, before: Seen) -> bool:
        """Whether these rows are certainly not the first of those that were seen before."""
        last = len(self.milestones)
        return self.milestones != before.milestones[:last] or (
            self.count == before.count and self.digest != before.digest
        )

    def common(self, before: Seen) -> Seen:
        """Return the rows that both certainly begin with: up to the last milestone that they share."""
        number = 0
        for mine, other in zip(self.milestones, before.milestones):
            if mine != other:
                break
            number += 1
        if not number:
            return Seen()
        return Seen(1 << (number - 1), self.milestones[number - 1], self.milestones[:number])

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {"count": self.count, "digest": self.digest, "milestones": list(self.milestones)}

    @classmethod
    def read(cls, data: Mapping[str, Json] | None) -> Seen:
        """Return what a cursor holds; nothing for none, or for one of another version."""
        try:
            known = data or {}
            return cls(int(known["count"]), int(known["digest"]), [int(mark) for mark in known["milestones"]])
        except (KeyError, TypeError, ValueError):
            return cls()
