"""The shape that a loss repeats in every epoch of a fine-tune: what is usual at a place in it is no news there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

BINS = 10
LEAST = 2
"""Values that a tenth of an epoch must hold for its mean to count."""
GAP = 2
"""Tenths without values up to which a shape is still one."""
LEAST_RANGE, MOST_RANGE = 0.1, 4.6
"""A shape that moves the loss by less than about 10 % would cost more noise than it explains; one of more than a
hundredfold is none."""


class Season:
    """The loss over the tenths of an epoch, in the logarithm, as the last two epochs agree on it.

    An epoch's shape is the mean of each tenth less the mean of all. What both epochs say with one sign, in the smaller
    of the two sizes, is taken to come again; a shape that was there once, as the first descent, is not. Between the
    middles of tenths it is interpolated. Gets wrong: an epoch whose data is shuffled differently has no such shape, and
    then none is found; a shape that changes is followed two epochs late.
    """

    def __init__(self) -> None:
        self.sums = [0.0] * BINS
        self.counts = [0] * BINS
        self.before: list[float] | None = None
        """The shape of the last whole epoch."""
        self.shape: list[float] | None = None
        """What the last two have in common."""

    def learn(self, place: float, value: float) -> None:
        """Take in a positive loss at a place in its epoch, 0 to 1."""
        tenth = min(BINS - 1, int(place * BINS))
        self.sums[tenth] += math.log(value)
        self.counts[tenth] += 1

    def turn(self) -> None:
        """An epoch is over."""
        now = self._whole()
        self.shape = None
        if now is not None and self.before is not None:
            both = [_common(a, b) for a, b in zip(now, self.before)]
            if LEAST_RANGE <= max(both) - min(both) <= MOST_RANGE:
                self.shape = both
        self.before = now
        self.sums, self.counts = [0.0] * BINS, [0] * BINS

    def _whole(self) -> list[float] | None:
        known = [i for i in range(BINS) if self.counts[i] >= LEAST]
        if len(known) < BINS - GAP:
            return None
        means = {i: self.sums[i] / self.counts[i] for i in known}
        middle = sum(means.values()) / len(means)
        return [means[min(known, key=lambda j: abs(j - i))] - middle for i in range(BINS)]

    def usual(self, place: float) -> float:
        """Return what the shape adds to the logarithm of the loss at a place in the epoch."""
        if self.shape is None:
            return 0.0
        at = place * BINS - 0.5
        low = min(max(int(at), 0), BINS - 2)
        share = at - low
        return (1 - share) * self.shape[low] + share * self.shape[low + 1]

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return dict(vars(self))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
        self.sums, self.counts = list(self.sums), list(self.counts)


def _common(a: float, b: float) -> float:
    if a * b <= 0:
        return 0.0
    return min(a, b, key=abs)
