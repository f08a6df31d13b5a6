"""How fast a training goes, and what its forward passes tell: token accuracy, tokens, rows, a loss that is NaN."""

from __future__ import annotations

from collections import deque

_ROWS = 50
"""Rows that the remaining time is estimated from: evaluations among them are part of the pace."""


class Pace:
    """Steps a second between two rows, and the seconds that remain at the pace of the last rows."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        self._spans: deque[tuple[int, float]] = deque(maxlen=_ROWS)

    def row(self, step: int, at: float) -> float | None:
        """Return the steps a second since the last row; None for the first one, and where a run went back."""
        last, self._last = self._last, (step, at)
        if last is None:
            return None
        if step <= last[0] or at <= last[1]:
            if step < last[0]:
                self._spans.clear()
            return None
        self._spans.append((step - last[0], at - last[1]))
        return (step - last[0]) / (at - last[1])

    def aside(self, seconds: float) -> None:
        """Leave out a time in which nothing was to be done: a pause."""
        if self._last is not None:
            self._last = (self._last[0], self._last[1] + seconds)

    def remaining(self, steps: int) -> float | None:
        """Return the seconds that so many more steps will take."""
        done = sum(span[0] for span in self._spans)
        return max(0, steps) * sum(span[1] for span in self._spans) / done if done else None
