"""Robust statistics over small windows, and the JSON form of numbers that JSON does not know."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from smartmon.records import Json

MAD_TO_SIGMA = 1.4826
"""What a median absolute deviation is multiplied by to estimate a Gaussian's standard deviation."""

_MARK = "~"
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def middle(ordered: Sequence[float]) -> float:
    """Return the median of values that are already in order; raise IndexError when there are none."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def median(values: Iterable[float]) -> float:
    """Return the median; raise IndexError when there are no values."""
    return middle(sorted(values))


def deviation(ordered: Sequence[float], center: float) -> float:
    """Return the median absolute deviation from `center` of values that are already in order.

    The nearest half of the values lies side by side, so a binary search finds it: O(log n) for every observation.
    """
    n = len(ordered)
    near = n // 2 + n % 2
    low, high = 0, n - near
    while low < high:
        mid = (low + high) // 2
        if center - ordered[mid] > ordered[mid + near] - center:
            low = mid + 1
        else:
            high = mid
    inner = max(center - ordered[low], ordered[low + near - 1] - center)
    if n % 2:
        return inner
    left = center - ordered[low - 1] if low else math.inf
    right = ordered[low + near] - center if low + near < n else math.inf
    return (inner + min(left, right)) / 2


def spread(values: Sequence[float]) -> float:
    """Return the sample standard deviation (0 for fewer than two values)."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) * (v - mean) for v in values) / (len(values) - 1))


class Ordered:
    """A multiset of floats kept in order; adding and removing cost O(log n) comparisons."""

    __slots__ = ("values",)

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.values = sorted(values)

    def add(self, value: float) -> None:
        """Put a value in its place."""
        insort(self.values, value)

    def remove(self, value: float) -> None:
        """Take one occurrence of a value out; it must be there."""
        del self.values[bisect_left(self.values, value)]


class Sample:
    """An evenly thinned memory of a whole series: at most `size` values, however long it gets."""

    __slots__ = ("seen", "size", "stride", "values")

    def __init__(self, size: int = 256) -> None:
        self.size = size
        self.stride = 1
        self.seen = 0
        self.values: list[float] = []

    def add(self, value: float) -> None:
        """Remember every `stride`-th value; when full, keep every third and triple the stride.

        Never a power of two: a log with a period of 2 or 10 would show but one of its faces.
        """
        if self.seen % self.stride == 0:
            if len(self.values) == self.size:
                self.values = self.values[::3]
                self.stride *= 3
            if self.seen % self.stride == 0:
                self.values.append(value)
        self.seen += 1

    def quartile_range(self) -> float:
        """Return the distance between the quartiles (0 for fewer than four values)."""
        if len(self.values) < 4:
            return 0.0
        ordered = sorted(self.values)
        return ordered[(3 * len(ordered)) // 4] - ordered[len(ordered) // 4]


def encode(value: Json) -> Json:
    """Return the value with NaN and the infinities spelled so that strict JSON carries them."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_MARK: "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode(value: Json) -> Json:
    """Undo `encode`."""
    if isinstance(value, dict):
        if len(value) == 1 and _MARK in value:
            return _WORDS[value[_MARK]]
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return value
