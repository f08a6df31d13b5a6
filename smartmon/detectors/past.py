"""The past of a metric of which higher is better: its best level, its noise, and how deep it fell before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from smartmon import stats
from smartmon.stats import MAD_TO_SIGMA

KEPT = 110
"""Values that are remembered: a hundred, and the ten newest that are held against them."""
FLAT = 1.0
"""The least deviation, in points."""
ALIKE = 3
"""Values in a row whose mean is a level: the highest single value is luck. `best` takes them by threes."""
MOST = 1e9
"""No share of right answers: a value beyond it is kept as this, so that no sum of squares has an end."""
DEEPER = 1.25
"""A fall must be deeper, by this factor, than those that came and went unremarked."""
NEWEST = 10
"""Observations of a per-step log whose mean is held against the ones before."""


class Past:
    """The last values, newest last; those at the end that belong to a present fall are told by the caller."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []

    def learn(self, step: int, value: float) -> None:
        """Take a value in."""
        self.steps.append(step)
        self.values.append(min(max(value, -MOST), MOST))
        if len(self.values) > KEPT:
            del self.steps[0], self.values[0]

    def forget(self, count: int) -> None:
        """Drop the newest values: they were a fall, which says nothing of the usual noise."""
        if count:
            del self.steps[-count:], self.values[-count:]

    def adopt(self, count: int) -> None:
        """Keep nothing but the newest values: they are the level from here on."""
        del self.steps[:-count], self.values[:-count]

    def cut(self, step: int) -> None:
        """Keep what lies before a step."""
        keep = sum(one < step for one in self.steps)
        self.steps, self.values = self.steps[:keep], self.values[:keep]

    def before(self, count: int) -> list[float]:
        """Return the values without the newest `count`."""
        return self.values[: len(self.values) - count]

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {"steps": list(self.steps), "values": list(self.values)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.steps, self.values = list(state["steps"]), list(state["values"])


def best(values: Sequence[float]) -> float:
    """Return the highest mean of three values in a row; of fewer than three, the highest."""
    if len(values) < ALIKE:
        return max(values)
    return max(map(sum, zip(values, values[1:], values[2:]))) / ALIKE


def deepest(values: Sequence[float]) -> float:
    """Return the deepest fall of a value below the best level before it, of the falls that went back by half."""
    top, fall, found = -math.inf, 0.0, 0.0
    for i in range(ALIKE, len(values)):
        top = max(top, sum(values[i - ALIKE : i]) / ALIKE)
        fall = max(fall, top - values[i])
        if top - values[i] <= fall / 2:
            fall, found = 0.0, max(found, fall)
    return found


def noise(values: Sequence[float]) -> float:
    """Return the deviation in points, from the differences of neighbours, so that a trend is none: at least 1.

    The larger of what the median of `|d - median(d)|` says (x 1.4826 / sqrt 2), which knows nothing of the few harder
    values, and what their mean says (x sqrt(pi) / 2). Gets wrong: a metric that rose steeply just now.
    """
    steps = [b - a for a, b in pairwise(values)]
    if not steps:
        return FLAT
    middle = stats.median(steps) if len(steps) >= 5 else 0.0
    away = [abs(step - middle) for step in steps]
    found = MAD_TO_SIGMA * stats.median(away) / math.sqrt(2)
    return max(found, sum(away) / len(away) * math.sqrt(math.pi) / 2, FLAT)


def chance(values: Sequence[float], newest: int, sigmas: float) -> float:
    """Return how far the mean of the ten newest may fall by chance, in points; `newest` values are under test.

    Bernstein's inequality, `sqrt(2 v L / n) + M L / (3 n)` with `L = sigmas^2 / 2`: it asks for no bell curve, so it
    holds for the share of right answers among four. v and M, the variance and the largest fall, come from the
    differences of neighbours, those under test included: where all answers were right so far, only they know how much
    one wrong answer counts. Not less than a quarter more than the ten-value means fell before.
    """
    steps = [b - a for a, b in pairwise(values)]
    if not steps:
        return math.inf
    variance = sum(step * step for step in steps) / len(steps) / 2
    worst, odds = max(0.0, -min(steps)), sigmas * sigmas / 2
    known = values[: len(values) - newest]
    means = [sum(known[i - NEWEST : i]) / NEWEST for i in range(len(known), NEWEST - 1, -NEWEST)][::-1]
    top, fell = -math.inf, 0.0
    for mean in means:
        top = max(top, mean)
        fell = max(fell, top - mean)
    return max(math.sqrt(2 * variance * odds / NEWEST) + worst * odds / (3 * NEWEST), DEEPER * fell)
