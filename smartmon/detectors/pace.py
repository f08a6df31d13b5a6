"""How long a step takes, in blocks of points: against the blocks before, and however coarse the clock is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartmon.stats import MAD_TO_SIGMA, deviation, median, middle

SKIP = 10
"""First points that are left out: compiling and caching."""
SHORTEST = 1e-9
"""Seconds that a step takes at least; what claims less is no measurement."""
BLOCKS = 4
"""Blocks that are judged: all of what is meant by "for so long"."""
BASELINE = 30
LEAST = 5
"""Blocks before those from which it is known how long a step takes."""
BACK = 2
"""Blocks near the level after which it is as before."""
ADOPT = 30
"""Slow blocks in a row after which that is the level."""
ABOVE = 1.1
"""Times the second highest block of the baseline: a run that is slow now and then is so by nature."""
NOISE = 3.0
"""Deviations of single blocks by which the median of four must be slower."""


class Blocks:
    """Seconds per step (or the inverse of a logged rate) in blocks: a baseline, and the last four before it."""

    def __init__(self) -> None:
        self.skipped = 0
        self.baseline: list[float] = []
        self.recent: list[float] = []
        self.began: list[int] = []
        """The first step of each recent block."""
        self.slow = False
        """Whether it is slow now, and since then not near the level again; meanwhile nothing joins the baseline."""
        self.slow_for = 0
        """Blocks since it is slow."""
        self.first_step: int | None = None
        """The first step of the block under way."""
        self.values: list[float] = []
        self.seconds = 0.0
        """What the points of the block under way took, and how many steps and points that was."""
        self.steps = 0
        self.points = 0
        self.worst = [0.0, 1.0]
        """The slowest gap of the block under way: seconds and steps."""

    def gap(self, step: int, seconds: float, steps: int, points: int, least: float) -> bool:
        """Take the time from one point to the next; return whether that closed a block.

        A block holds so many points and seconds at least. Its slowest gap does not count: an evaluation, a checkpoint,
        a night's sleep.
        """
        if self.skipped < SKIP:
            self.skipped += 1
            return False
        if self.first_step is None:
            self.first_step = step
        self.points += 1
        self.seconds += seconds
        self.steps += steps
        if seconds * self.worst[1] > self.worst[0] * steps:
            self.worst = [seconds, float(steps)]
        worst, steps_of_worst = self.worst
        if self.points < points or self.seconds - worst < least:
            return False
        return self._close(max(SHORTEST, (self.seconds - worst) / max(1.0, self.steps - steps_of_worst)))

    def value(self, step: int, seconds_each: float, at: float | None, points: int, least: float) -> bool:
        """Take one logged value; return whether that closed a block. `at` is None where the time is not known."""
        if self.skipped < SKIP:
            self.skipped += 1
            return False
        if self.first_step is None:
            self.first_step = step
        if at is not None and (not self.seconds or at < self.seconds):
            self.seconds = at
        # Enough is known from so many; what they wait for is the time.
        if len(self.values) < 4 * points:
            self.values.append(seconds_each)
        if len(self.values) < points or (at is not None and at - self.seconds < least):
            return False
        return self._close(median(self.values))

    def _close(self, pace: float) -> bool:
        if len(self.recent) == BLOCKS:
            old = self.recent.pop(0)
            del self.began[0]
            if not self.slow:
                self.baseline = [*self.baseline[1 - BASELINE :], old]
        self.recent.append(pace)
        self.began.append(self.first_step or 0)
        self.drop()
        return True

    def drop(self) -> None:
        """Forget the block under way."""
        self.first_step, self.values, self.seconds, self.steps, self.points = None, [], 0.0, 0, 0
        self.worst = [0.0, 1.0]

    @property
    def known(self) -> bool:
        """Whether there is enough to judge by."""
        return len(self.recent) == BLOCKS and len(self.baseline) >= LEAST

    @property
    def level(self) -> float:
        """Seconds per step of the baseline."""
        return median(self.baseline)

    @property
    def now(self) -> float:
        """Seconds per step of the last four blocks."""
        return median(self.recent)

    @property
    def newest(self) -> float:
        """Seconds per step of the last two blocks."""
        return median(self.recent[-BACK:])

    def look(self, ratio: float) -> None:
        """Judge the last four blocks, one of which is new."""
        if self.slow:
            self.slow_for += 1
            self.slow = not self.fine(ratio)
        else:
            self.slow_for = 0
            self.slow = self.known and self._is_slow(ratio)

    def _is_slow(self, ratio: float) -> bool:
        """Whether it takes `ratio` times as long, in each block by half of that, and as it did not before."""
        ordered = sorted(self.baseline)
        level, now = middle(ordered), self.now
        if now < ratio * level or min(self.recent) < (1 + ratio) / 2 * level:
            return False
        return now > ABOVE * ordered[-2] and now - level > NOISE * MAD_TO_SIGMA * deviation(ordered, level)

    def fine(self, ratio: float) -> bool:
        """Whether the last two blocks are near the level."""
        return not self.known or max(self.recent[-BACK:]) < (1 + ratio) / 2 * self.level

    def adopt(self) -> None:
        """Take what came last for the level."""
        self.baseline, self.slow, self.slow_for = list(self.recent), False, 0

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        lists = {name: list(getattr(self, name)) for name in ("baseline", "recent", "began", "values", "worst")}
        return vars(self) | lists

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
