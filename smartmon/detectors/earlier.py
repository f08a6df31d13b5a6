"""The earlier values that the plain rules compare with: accepted ones, and a side list of refused ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

LAST = 5
"""How many of the accepted values make the mean."""
LEAST = 3
"""How many must be there for a verdict."""


class Earlier:
    """Accepted values of one metric, newest last. A value under test is never in it.

    Refused values wait beside it; as many in a row as `window` replace it: a level that stays becomes the normal one.
    """

    def __init__(self) -> None:
        self.accepted: list[tuple[int, float]] = []
        self.refused: list[tuple[int, float]] = []

    def mean(self, step: int, window: int) -> float | None:
        """Return the mean of the last `min(5, window)` accepted values, or None for fewer than three.

        A value of the same step is being replaced by the one under test, so it is forgotten first.
        """
        for pairs in (self.accepted, self.refused):
            if pairs and pairs[-1][0] == step:
                pairs.pop()
        if len(self.accepted) < LEAST:
            return None
        last = self.accepted[-min(LAST, window) :]
        return sum(value for _, value in last) / len(last)

    def used(self, window: int) -> int:
        """Return how many values the mean is taken over."""
        return min(LAST, window, len(self.accepted))

    def accept(self, step: int, value: float, window: int) -> None:
        """Learn a value that did not fire."""
        if self.refused:
            self.refused = []
        self.accepted.append((step, value))
        if len(self.accepted) > window:
            del self.accepted[0]

    def refuse(self, step: int, value: float, window: int) -> bool:
        """Set a value aside; return True when the refused ones have become the baseline by it."""
        self.refused.append((step, value))
        if len(self.refused) < window:
            return False
        self.accepted, self.refused = self.refused, []
        return True

    def go_back(self, known: Iterable[tuple[int, float]]) -> None:
        """Begin again from the last of the values that are known from before the step that the run went back to."""
        self.accepted = list(known)[-2 * LAST :]
        self.refused = []

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {"accepted": [list(p) for p in self.accepted], "refused": [list(p) for p in self.refused]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.accepted = [(step, value) for step, value in state["accepted"]]
        self.refused = [(step, value) for step, value in state["refused"]]


def beyond(value: float, limit: float) -> bool:
    """Whether a value is truly above a limit: what differs by a computation's rounding alone is equal to it."""
    return value > limit and not math.isclose(value, limit, rel_tol=1e-12, abs_tol=1e-15)


def percent_text(percent: float) -> str:
    """Write a percentage for a reason string: one decimal, and no endless digits."""
    return f"{percent:.1f}" if abs(percent) < 1e6 else f"{percent:.3g}"


def deviations(z: float) -> str:
    """Write how many deviations something is out, for a person: beyond a hundred the digits say nothing."""
    return f"{z:.1f} deviations" if abs(z) < 100 else "more than 100 deviations"
