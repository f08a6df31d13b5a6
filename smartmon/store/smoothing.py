"""Causal smoothing of a series: a value depends on what came before it only, so that what an alert cites stays put."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, islice, repeat
from operator import add, mul, truediv

Smoother = Callable[[Sequence[float], int], "array[float]"]
"""Smooths values of which each stands for so many observations. NaN is left out, and stays NaN until there is one."""

_FEWEST = 8
"""Where a cell stands for many observations, a mean is over so many cells at least: one would smooth nothing."""


def ema(weight: float) -> Smoother:
    """Exponential moving average, free of the pull of its start (as Adam's moments are): 0 is no smoothing."""

    def smooth(values: Sequence[float], _each: int) -> array[float]:
        return array("d", _ema_of_all(values, weight) if _all_finite(values) else _ema(values, weight))

    return smooth


def _all_finite(values: Sequence[float]) -> bool:
    """Whether no value is NaN or infinite: one pass in C, where the usual case is the quick one."""
    return math.isfinite(sum(values))


def _ema_of_all(values: Sequence[float], weight: float) -> Iterator[float]:
    """As `_ema`, for values that are all there, which takes half the time."""
    fresh = 1 - weight
    levels = accumulate(values, lambda level, value: weight * level + fresh * value, initial=0.0)
    next(levels)
    # Once the start has faded below what a float can tell from 1, there is nothing to be freed of.
    pulled = math.ceil(math.log(1e-17) / math.log(weight)) if weight else 1
    fading = accumulate(repeat(weight, pulled), mul)
    return chain(
        [level / (1 - faded) for faded, level in zip(fading, islice(levels, min(pulled, len(values))))], levels
    )


def _ema(values: Sequence[float], weight: float) -> Iterator[float]:
    level, faded = 0.0, 1.0
    for value in values:
        if value == value:  # noqa: PLR0124 - not NaN, in the quickest way
            level = weight * level + (1 - weight) * value
            faded *= weight
        yield level / (1 - faded) if faded < 1 else math.nan


def reach(window: int, each: int) -> int:
    """How many observations such a mean is over where a value stands for so many."""
    return window if each == 1 else each * max(_FEWEST, round(window / each))


def mean(window: int) -> Smoother:
    """Mean of the last `window` observations, or of as many as there are."""

    def smooth(values: Sequence[float], each: int) -> array[float]:
        cells = reach(window, each) // each
        if _all_finite(values):
            return array("d", map(truediv, _sums(values, cells), chain(range(1, cells), repeat(cells))))
        known = [value == value for value in values]  # noqa: PLR0124 - as above
        sums = _sums([value if fine else 0.0 for value, fine in zip(values, known)], cells)
        counts = _sums([float(fine) for fine in known], cells)
        return array("d", (total / count if count else math.nan for total, count in zip(sums, counts)))

    return smooth


def _sums(values: Sequence[float], window: int) -> list[float]:
    """Sum the last `window` values at each place.

    Of two neighbouring blocks the end of one and the beginning of the next: unlike a running sum, it forgets a value
    of 1e30 once that has left the window.
    """
    sums: list[float] = []
    after = [0.0] * (window + 1)
    for start in range(0, len(values), window):
        block = values[start : start + window]
        sums.extend(map(add, accumulate(block), after[1:]))
        after = [*reversed(list(accumulate(reversed(block)))), 0.0]
    return sums
