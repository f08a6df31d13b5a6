"""Sealed chunks: observations packed into bytes that any machine can read. Pure; no database here.

A chunk is a header and one zlib stream. In it, each column is cut into byte planes (all first bytes, all second
bytes, ...), which is what makes numbers compress. Steps and times are differences; times are whole milliseconds.
Values are whole numbers over a power of ten where that is exact (as printed losses are), else 32-bit floats where
that is exact, else 64-bit floats: no bit of a value is ever lost. A summary holds, for each 64 points, the x of the
last one, the last finite value, the extremes and how many were not finite.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, islice, repeat
from operator import sub, truediv

CHUNK = 4096
BLOCK = 64
_HEADER = struct.Struct("<BBBxI")
_VERSION = 1
_DOUBLE, _FLOAT, _DECIMAL = range(3)
_DECIMALS = 9
_EXACT = 2.0**53


def _ints(values: Iterable[int] = ()) -> array[int]:
    return array("q", values)


def _floats(values: Iterable[float] = ()) -> array[float]:
    return array("d", values)


@dataclass(slots=True)
class Points:
    """Observations of one series in step order, as three columns."""

    steps: array[int] = field(default_factory=_ints)
    ats: array[float] = field(default_factory=_floats)
    values: array[float] = field(default_factory=_floats)

    def __len__(self) -> int:
        return len(self.steps)

    def cut(self, start: int, end: int) -> Points:
        """The points from index `start` to before `end`."""
        return Points(self.steps[start:end], self.ats[start:end], self.values[start:end])

    def extend(self, other: Points) -> None:
        """Add later points."""
        self.steps.extend(other.steps)
        self.ats.extend(other.ats)
        self.values.extend(other.values)

    @classmethod
    def of(cls, rows: Iterable[tuple[int, float, float | None]]) -> Points:
        """From rows of step, time and value, where None is NaN."""
        points = cls()
        for step, at, value in rows:
            points.steps.append(step)
            points.ats.append(at)
            points.values.append(math.nan if value is None else value)
        return points


@dataclass(slots=True)
class Cells:
    """Stretches of a series in step order: where each ends, its last finite value, its extremes (NaN: none)."""

    steps: array[int] = field(default_factory=_ints)
    ats: array[float] = field(default_factory=_floats)
    lasts: array[float] = field(default_factory=_floats)
    mins: array[float] = field(default_factory=_floats)
    maxs: array[float] = field(default_factory=_floats)

    def __len__(self) -> int:
        return len(self.steps)

    def extend(self, other: Cells) -> None:
        """Add later stretches."""
        self.steps.extend(other.steps)
        self.ats.extend(other.ats)
        self.lasts.extend(other.lasts)
        self.mins.extend(other.mins)
        self.maxs.extend(other.maxs)

    def grouped(self, size: int) -> Cells:
        """Join each `size` neighbours into one. No extreme is lost."""
        if size <= 1:
            return self
        # Whole columns at a time, in C: a chart of a million points is waited for.
        whole = len(self) // size * size
        ends = slice(size - 1, whole, size)
        clean = math.isfinite(sum(self.lasts) + sum(self.mins) + sum(self.maxs))
        out = Cells(
            self.steps[ends],
            self.ats[ends],
            self.lasts[ends] if clean else _floats(_lasts(self.lasts, size, whole)),
            _floats(_extremes(min, self.mins, size, whole, clean)),
            _floats(_extremes(max, self.maxs, size, whole, clean)),
        )
        if whole < len(self):
            out.steps.append(self.steps[-1])
            out.ats.append(self.ats[-1])
            out.lasts.append(_last(self.lasts[whole:]))
            out.mins.append(min(_finite(self.mins[whole:]), default=math.nan))
            out.maxs.append(max(_finite(self.maxs[whole:]), default=math.nan))
        return out


def cells_of(points: Points) -> Cells:
    """Each finite point as a stretch of its own; what is not finite becomes NaN."""
    values = points.values
    if count_nonfinite(values):
        values = _floats(value if math.isfinite(value) else math.nan for value in values)
    return Cells(points.steps, points.ats, values, values, values)


def count_nonfinite(values: Sequence[float]) -> int:
    """How many are NaN or infinite."""
    # A sum is finite unless a value is not (or it overflows): the common case costs one pass in C.
    if math.isfinite(sum(values)):
        return 0
    return sum(not math.isfinite(value) for value in values)


def merge(older: Points, newer: Points) -> Points:
    """Both in step order; where both have a step, the newer one's observation stands."""
    if not newer:
        return older
    rows = dict(zip(older.steps, zip(older.ats, older.values)))
    rows.update(zip(newer.steps, zip(newer.ats, newer.values)))
    return Points.of((step, *rows[step]) for step in sorted(rows))


def encode(points: Points) -> bytes:
    """Pack points whose times are whole milliseconds."""
    steps, times = points.steps, _ints(round(at * 1000) for at in points.ats)
    code, decimals, column = _pack_values(points.values)
    planes = [_planes(_differences(steps)), _planes(_differences(times)), _planes(column)]
    return _HEADER.pack(_VERSION, code, decimals, len(points)) + zlib.compress(b"".join(planes), 6)


def decode(body: bytes) -> Points:
    """Unpack what `encode` packed."""
    version, code, decimals, count = _HEADER.unpack_from(body)
    if version != _VERSION:
        raise ValueError(f"chunk of version {version}")
    raw = zlib.decompress(body[_HEADER.size :])
    steps = _even(raw, count) or _sums(_ints_of(raw[: 8 * count]))
    ats = _floats(map(truediv, _sums(_ints_of(raw[8 * count : 16 * count])), repeat(1000)))
    return Points(steps, ats, _unpack_values(code, decimals, raw[16 * count :]))


def summarise(points: Points) -> bytes:
    """Pack the stretches of `BLOCK` points each."""
    cells = cells_of(points).grouped(BLOCK)
    columns: list[array[int] | array[float]] = [cells.steps, cells.ats, cells.lasts, cells.mins, cells.maxs]
    return zlib.compress(b"".join(_planes(column) for column in columns), 6)


@lru_cache(maxsize=2048)
def read_summary(summary: bytes) -> Cells:
    """Unpack what `summarise` packed. Remembers some (3 kB each), for whoever draws the same chart again: do not
    change what you get."""
    raw = zlib.decompress(summary)
    size = len(raw) // 5
    parts = [raw[index * size : (index + 1) * size] for index in range(5)]
    return Cells(_ints_of(parts[0]), *(_floats_of(part) for part in parts[1:]))


def _finite(values: array[float]) -> Iterable[float]:
    return values if math.isfinite(sum(values)) else [value for value in values if math.isfinite(value)]


def _extremes(most: Callable[..., float], values: array[float], size: int, whole: int, clean: bool) -> Iterable[float]:
    if clean:
        return map(most, *(values[start:whole:size] for start in range(size)))
    groups = (values[start : start + size] for start in range(0, whole, size))
    return (most(_finite(group), default=math.nan) for group in groups)


def _lasts(values: array[float], size: int, whole: int) -> Iterable[float]:
    return (_last(values[start : start + size]) for start in range(0, whole, size))


def _last(values: array[float]) -> float:
    return next((value for value in reversed(values) if math.isfinite(value)), math.nan)


def _differences(column: array[int]) -> array[int]:
    rest = list(map(sub, islice(column, 1, None), column))
    try:
        return _ints([*column[:1], *rest])
    except OverflowError:  # Steps at both ends of 64 bits: nobody trains that long, but nothing may fail.
        return _ints([*column[:1], *map(_wrapped, rest)])


def _sums(differences: array[int]) -> array[int]:
    try:
        return _ints(accumulate(differences))
    except OverflowError:
        return _ints(map(_wrapped, accumulate(differences)))


def _even(planes: bytes, count: int) -> array[int]:
    """Unpack whole numbers of which each is as far from the one before, as steps mostly are; empty for others."""
    rest = [planes[plane * count + 1 : (plane + 1) * count] for plane in range(8)]
    if count < 2 or any(each.count(each[0]) < len(each) for each in rest):
        return _ints()
    first = int.from_bytes(planes[: 8 * count : count], "little", signed=True)
    each = int.from_bytes(bytes(one[0] for one in rest), "little", signed=True)
    last = first + each * (count - 1)
    return _ints(range(first, last + each, each)) if each > 0 and last < 2**62 else _ints()


def _wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def _pack_values(values: array[float]) -> tuple[int, int, array[int] | array[float]]:
    exact = values.tobytes()
    for decimals in range(_DECIMALS + 1):
        whole = _as_decimals(values, 10**decimals)
        if whole is not None and _floats(number / 10**decimals for number in whole).tobytes() == exact:
            return _DECIMAL, decimals, whole
    try:
        narrow = array("f", values)
    except OverflowError:
        return _DOUBLE, 0, values
    return (_FLOAT, 0, narrow) if _floats(narrow).tobytes() == exact else (_DOUBLE, 0, values)


def _as_decimals(values: array[float], scale: int) -> array[int] | None:
    whole = _ints()
    for value in values:
        scaled = value * scale
        if not -_EXACT < scaled < _EXACT:
            return None
        number = round(scaled)
        if number / scale != value:
            return None
        whole.append(number)
    return whole


def _unpack_values(code: int, decimals: int, raw: bytes) -> array[float]:
    if code == _DECIMAL:
        return _floats(map(truediv, _ints_of(raw), repeat(10**decimals)))
    if code == _FLOAT:
        narrow = array("f", _joined(raw, 4))
        return _floats(_native(narrow))
    return _floats_of(raw)


def _floats_of(raw: bytes) -> array[float]:
    column = array("d", _joined(raw, 8))
    _native(column)
    return column


def _ints_of(raw: bytes) -> array[int]:
    column = array("q", _joined(raw, 8))
    _native(column)
    return column


def _planes(column: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    raw, width = column.tobytes(), column.itemsize
    return b"".join(raw[plane::width] for plane in range(width))


def _joined(raw: bytes, width: int) -> bytes:
    out, count = bytearray(len(raw)), len(raw) // width
    for plane in range(width):
        out[plane::width] = raw[plane * count : (plane + 1) * count]
    return bytes(out)


def _native(column: array[float] | array[int]) -> array[float] | array[int]:
    if sys.byteorder == "big":
        column.byteswap()
    return column
