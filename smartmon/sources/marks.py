"""Fingerprints of the rows that were consumed, to find where a history that was written again begins to differ."""

from __future__ import annotations

import array
import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smartmon.records import Json

_REMEMBERED = 4096
"""Rows whose fingerprints are kept one by one."""
_BLOCK = 1024


def mark(row: Mapping[str, Any]) -> int:
    """Return a fingerprint of a row: a resumed run repeats the steps, hardly ever the digits."""
    return zlib.crc32(repr((row.get("step"), row.get("loss"), row.get("eval_loss"), len(row))).encode())


@dataclass(slots=True)
class Marks:
    """The rows consumed so far: a fingerprint for each beginning of whole blocks, and one each for the last rows."""

    count: int = 0
    blocks: list[int] = field(default_factory=list)
    recent: array.array[int] = field(default_factory=lambda: array.array("I"))
    """Of the last rows; the first of them begins a block."""

    @property
    def begin(self) -> int:
        """Return how many rows came before the recent ones."""
        return self.count - len(self.recent)

    def add(self, one: int) -> None:
        """Take one more row."""
        self.recent.append(one)
        self.count += 1
        if self.count % _BLOCK == 0:
            self.blocks.append(_digest(self.recent[-_BLOCK:], self.blocks[-1] if self.blocks else 0))
            self.recent = self.recent[max(0, len(self.recent) - _REMEMBERED) :]

    def cut(self, count: int) -> Marks:
        """Return the marks of the first rows alone; `count` must lie among the recent ones, or be whole blocks."""
        return Marks(count, self.blocks[: count // _BLOCK], self.recent[: max(0, count - self.begin)])

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {"count": self.count, "blocks": list(self.blocks), "recent": _packed(self.recent)}

    @classmethod
    def read(cls, data: Mapping[str, Json] | None) -> Marks:
        """Return what a cursor remembers; nothing for none, or for one of another version."""
        try:
            known = data or {}
            return cls(int(known["count"]), list(known["blocks"]), _unpacked(known["recent"]))
        except (KeyError, TypeError, ValueError, binascii.Error):
            return cls()


@dataclass(slots=True)
class Comparison:
    """How far the rows of a file, told one after the other, are those already consumed."""

    agreed: int = 0
    """Rows at the beginning that are known to be the same (or a little fewer: whole blocks, where they are old)."""
    parted: bool = False
    """Whether a row was another one, or a new one: what follows need not be compared."""
    block: array.array[int] = field(default_factory=lambda: array.array("I"))
    """Marks of the rows that were told since `agreed`, while they are compared by blocks."""
    digest: int = 0

    def add(self, one: int, known: Marks) -> bool:
        """Take the next row; return whether `agreed` has moved to just after it."""
        index = self.agreed + len(self.block)
        if index >= known.count:
            self.parted = True
        elif index >= known.begin:
            self.parted = one != known.recent[index - known.begin]
            self.agreed += not self.parted
            return not self.parted
        else:
            self.block.append(one)
            if len(self.block) == _BLOCK:
                return self._end_block(known)
        return False

    def _end_block(self, known: Marks) -> bool:
        self.digest = _digest(self.block, self.digest)
        self.parted = self.digest != known.blocks[self.agreed // _BLOCK]
        self.block = array.array("I")
        self.agreed += 0 if self.parted else _BLOCK
        return not self.parted

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {"agreed": self.agreed, "parted": self.parted, "block": _packed(self.block), "digest": self.digest}

    @classmethod
    def read(cls, data: Mapping[str, Json]) -> Comparison:
        """Return what `data` made; raise `KeyError`, `TypeError` or `ValueError` for anything else."""
        return cls(int(data["agreed"]), bool(data["parted"]), _unpacked(data["block"]), int(data["digest"]))


def _digest(block: array.array[int], before: int) -> int:
    return zlib.crc32(block.tobytes(), before)


def _packed(marks: array.array[int]) -> str:
    return base64.b64encode(marks.tobytes()).decode()


def _unpacked(text: str) -> array.array[int]:
    return array.array("I", base64.b64decode(text, validate=True))
