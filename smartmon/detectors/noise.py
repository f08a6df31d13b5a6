"""A metric's own level and noise: how many deviations a value stands from where the run has been.

Two baselines, both from accepted values. Long: median and 1.4826 x MAD of the last 100. Short: median of the last 30,
deviation `min(1.4826 x MAD, 1.3 x that of the first differences / sqrt 2)`, which ignores trend. Where the worse
tenth of the values lies further out than a Gaussian's would (its ninth decile is 1.2816 deviations), that is the
deviation: a minority of harder data is noise too. In the logarithm while the last 100 values are positive, else in
plain units. A value more than 4 deviations out is refused, at most 200 in a row: then the new level is adopted; and
not where such values come and go, 5 times in 100. While a rise is watched the level stands still for 60 values, unless
the run rises and comes back all the time. What it gets wrong: an epoch staircase inflates the deviation.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from smartmon import stats
from smartmon.stats import MAD_TO_SIGMA, Ordered, Sample

LONG = 100
SHORT = 30
KNOWN = 20
"""Accepted values from which the robust statistics hold; before, the plain deviation of what is there."""
SURE = 50
"""Accepted values in the window from which no allowance is needed for a poorly known deviation."""
UNKNOWN_Z = 8.0
"""Deviations that stand out while fewer than that are known."""
NINTH_DECILE = 1.2816
"""Of a Gaussian, in deviations."""
ACCEPT = 4.0
REFUSALS = 200
FREEZE = 60
"""Values for which a rise is judged by what was known before it."""
RISES = (3, 2000)
"""So many rises within so many values are this run's habit: it alternates, and must be followed."""
RETURNS = (5, 100)
"""So many times within so many values that it came back from refused ones make those part of the noise."""


class Score(NamedTuple):
    """Where a value stands. `z` is the larger of the two baselines', `ratio` and `center` are the long one's."""

    z: float
    z_long: float
    z_short: float
    ratio_long: float
    """Value over level. Where there is no ratio (linear mode): 1 + 0.4 x difference / interquartile range of the run,
    so that 1.1 means a quarter of that range."""
    ratio_short: float
    center: float
    """The long level, in the metric's unit."""
    known: bool
    """Whether 20 values were there to judge by."""
    allowance: float
    """What to add to a threshold for z, while the deviation is known from few values."""

    def exceeds(self, z: float, ratio: float) -> bool:
        """Whether one baseline alone says both: so many deviations out, and so large a ratio."""
        z += self.allowance
        return (self.z_long >= z and self.ratio_long >= ratio) or (self.z_short >= z and self.ratio_short >= ratio)


_UNKNOWN = Score(0.0, 0.0, 0.0, 1.0, 1.0, 0.0, False, 0.0)


class Level:
    """The level and noise of one metric of one attempt. `sign` is -1 for a metric that gets worse downwards."""

    def __init__(self, *, floor: float, sign: int = 1, plain: bool = False) -> None:
        self.floor = floor
        self.sign = sign
        self.plain = plain
        self.steps: deque[int] = deque()
        self.raw: deque[float] = deque()
        self.us: deque[float] = deque()
        self.short_len = 0
        self.long, self.short, self.diffs = Ordered(), Ordered(), Ordered()
        self.seen = 0
        self.positive = 0
        """Finite values in a row that were above 0."""
        self.refused: list[tuple[int, float]] = []
        self.returns: list[int] = []
        """Of the last returns from refused values, how many values had been seen."""
        self.sample = Sample()
        self.floor_long = 0.0
        self.floor_left = 0
        """How many more values a deviation carried over from another logging interval holds for."""
        self.last_step: int | None = None
        self.last_accepted = False
        self.log = False
        """Whether the level is kept in the logarithm."""
        self.frozen: tuple[float, float, float, float] | None = None
        """The two levels and deviations to judge by while a rise is being watched: it must not teach them itself."""
        self.thawed = True
        """Whether they may be frozen: once for each rise."""
        self.rises: list[int] = []
        """Of the last rises, how many values had been seen."""
        self.frozen_left = 0
        self._cache: tuple[float, float, float, float] | None = None
        self._scale_cache = (-1, 0.0)
        """How many values were seen, and what their spread was then."""

    def _is_log(self) -> bool:
        return not self.plain and self.positive >= min(self.seen, LONG)

    def _to(self, value: float) -> float:
        return math.log(value) if self.log else value

    def score(self, value: float, interval: float = 1.0) -> Score:
        """Say where a finite value stands, without learning it; `interval` > 1 widens a shorter average's noise."""
        n = len(self.us)
        if n < 3 or (self.log and value <= 0):
            return _UNKNOWN
        u = self._to(value)
        if n < KNOWN:
            us = list(self.us)
            center = sum(us) / n
            z = self.sign * (u - center) / _sigma(stats.spread(us), self._floor(center))
            ratio = self._ratio(u - center)
            return Score(z, z, z, ratio, ratio, self._from(center), False, 0.0)
        long, wide, short, narrow = self._numbers()
        z_long = self.sign * (u - long) / (wide * interval)
        z_short = self.sign * (u - short) / (narrow * interval)
        return Score(
            max(z_long, z_short),
            z_long,
            z_short,
            self._ratio(u - long),
            self._ratio(u - short),
            self._from(long),
            True,
            2.0 if n < SURE else 0.0,
        )

    @property
    def sigma(self) -> float:
        """The long deviation, in the kept unit; the floor's while it is not known."""
        return self._numbers()[1] if len(self.us) >= KNOWN else self.floor

    def watch(self, suspicion: float) -> None:
        """Freeze what is judged by for a while from a suspicion of 1 (of a rise) on; 0 ends it."""
        if suspicion <= 0:
            self.thawed, self.frozen = True, None
        elif self.frozen is not None:
            self.frozen_left -= 1
            if self.frozen_left <= 0:
                self.frozen = None
        elif self.thawed and suspicion >= 1 and len(self.us) >= KNOWN:
            self.thawed = False
            count, values = RISES
            usual = len(self.rises) == count and self.rises[0] > self.seen - values
            self.rises = [*self.rises[1 - count :], self.seen]
            if not usual:
                self.frozen, self.frozen_left = self._numbers(), FREEZE

    def _numbers(self) -> tuple[float, float, float, float]:
        if self.frozen is not None:
            return self.frozen
        if self._cache is None:
            long = stats.middle(self.long.values)
            wide = _robust(self.long.values, long, self.sign)
            diffs = self.diffs.values
            step = _robust(diffs, stats.middle(diffs), self.sign) / math.sqrt(2)
            floor = max(self._floor(long), self.floor_long if self.floor_left else 0.0)
            short = stats.middle(self.short.values)
            self._cache = (long, _sigma(wide, floor), short, _sigma(min(wide, 1.3 * step), floor))
        return self._cache

    def _floor(self, center: float) -> float:
        """Return the least deviation: no run is so quiet that its first step, or a rounded digit, is far out."""
        if not self._linear():
            return self.floor
        return max(self.floor * abs(center), 0.25 * self._scale())

    def _linear(self) -> bool:
        return not self.log and not self.plain

    def _scale(self) -> float:
        """Return how widely the whole run is spread: the distance between its quartiles, or what is like it."""
        if self._scale_cache[0] != self.seen:
            scale = self.sample.quartile_range()
            if not scale and self.sample.values:
                # Most values are one and the same: then the usual size of the others' steps is the measure.
                usual = stats.median(self.sample.values)
                away = [abs(value - usual) for value in self.sample.values if value != usual]
                scale = 4 * stats.median(away) if away else 0.0
            self._scale_cache = (self.seen, scale)
        return self._scale_cache[1]

    def _from(self, u: float) -> float:
        return math.exp(min(u, 700.0)) if self.log else u

    def _ratio(self, difference: float) -> float:
        """Return the ratio that a difference in the kept unit means (see `Score.ratio_long`)."""
        if self.log:
            return math.exp(min(difference, 700.0))
        if self.plain:
            return math.inf
        scale = self._scale()
        if scale <= 0:
            return math.inf if difference > 0 else 1.0
        return 1 + 0.4 * difference / scale

    def lift(self, values: Sequence[float], *, short: bool = False) -> float:
        """Return the ratio of the median of `values` to the long or short level; 1 while that is not known."""
        if len(self.us) < KNOWN or (self.log and min(values) <= 0):
            return 1.0
        return self._ratio(stats.median(map(self._to, values)) - self._numbers()[2 if short else 0])

    def before(self, step: int, value: float) -> float:
        """Return how many deviations a value stands above the accepted values older than `step`."""
        us = sorted(u for s, u in zip(self.steps, self.us) if s < step)
        if len(us) < 5 or (self.log and value <= 0):
            return math.inf
        center = stats.middle(us)
        sigma = _sigma(_robust(us, center, self.sign), self._floor(center))
        return self.sign * (self._to(value) - center) / sigma

    def learn(self, step: int, value: float, score: Score) -> bool:
        """Take a finite value in; return True when a level refused 200 times in a row was adopted by it."""
        if step == self.last_step and self.last_accepted:
            self._drop_last()
        self.last_step = step
        was_log = self.log
        self.seen += 1
        self.positive = self.positive + 1 if value > 0 else 0
        self.log = self._is_log()
        self.sample.add(value)
        if self.floor_left:
            self.floor_left -= 1
            self._cache = None
        if self.log != was_log and self.us:
            self._rebuild(list(self.steps), list(self.raw))
        self.last_accepted = score.z_long <= (ACCEPT if score.known else UNKNOWN_Z) or self._keeps_returning()
        if self.last_accepted:
            if self.refused:
                self.returns = [*self.returns[1 - RETURNS[0] :], self.seen]
                self.refused.clear()
            self._add(step, value)
            return False
        self.refused.append((step, value))
        if len(self.refused) < (REFUSALS if score.known else SHORT // 3):
            return False
        kept = self.refused[-LONG:]
        self.refused = []
        self._rebuild([s for s, _ in kept], [v for _, v in kept])
        return True

    def _keeps_returning(self) -> bool:
        """Whether refused values come and go so often that the baseline must learn them: data of two kinds."""
        count, values = RETURNS
        return not self.refused and len(self.returns) == count and self.returns[0] > self.seen - values

    def _add(self, step: int, value: float) -> None:
        u = self._to(value)
        if self.us:
            self.diffs.add(u - self.us[-1])
        self.steps.append(step)
        self.raw.append(value)
        self.us.append(u)
        self.long.add(u)
        self.short.add(u)
        self.short_len += 1
        while len(self.us) > max(KNOWN, min(LONG, self.seen // 2)):
            self._drop_first()
        while self.short_len > max(KNOWN // 2, min(SHORT, self.seen // 2)):
            self.short.remove(self.us[-self.short_len])
            self.short_len -= 1
        self._cache = None

    def _drop_first(self) -> None:
        u = self.us.popleft()
        if self.us:
            self.diffs.remove(self.us[0] - u)
        if self.short_len > len(self.us):
            self.short.remove(u)
            self.short_len -= 1
        self.long.remove(u)
        self.steps.popleft()
        self.raw.popleft()
        self._cache = None

    def _drop_last(self) -> None:
        """Forget the newest accepted value: its step is judged again with another one."""
        u = self.us.pop()
        if self.us:
            self.diffs.remove(u - self.us[-1])
        self.long.remove(u)
        if self.short_len:
            self.short.remove(u)
            self.short_len -= 1
        self.steps.pop()
        self.raw.pop()
        self.last_accepted = False
        self._cache = None

    def _rebuild(self, steps: list[int], raw: list[float], short_len: int = SHORT) -> None:
        if self.log and any(v <= 0 for v in raw):
            pairs = [(s, v) for s, v in zip(steps, raw) if v > 0]
            steps, raw = [s for s, _ in pairs], [v for _, v in pairs]
        us = [self._to(v) for v in raw]
        self.steps, self.raw, self.us = deque(steps), deque(raw), deque(us)
        self.frozen = None
        self.short_len = min(short_len, len(us))
        self.long, self.short = Ordered(us), Ordered(us[len(us) - self.short_len :])
        self.diffs = Ordered(b - a for a, b in pairwise(us))
        self._cache = None

    def cut(self, *, last: int | None = None, before: int | None = None) -> None:
        """Keep only the newest `last` values, and those of steps below `before`."""
        pairs = [(s, v) for s, v in zip(self.steps, self.raw) if before is None or s < before]
        pairs = pairs[-last:] if last is not None else pairs
        self.refused = []
        self.last_accepted = False
        self._rebuild([s for s, _ in pairs], [v for _, v in pairs])

    def interval_changed(self, ratio: float) -> None:
        """Widen the noise when one observation now averages fewer steps (`ratio` = old interval / new)."""
        self.frozen = None
        if len(self.us) >= KNOWN:
            wide = self._numbers()[1]
            self.floor_long = wide * math.sqrt(max(ratio, 1.0)) if math.isfinite(wide) else 0.0
            self.floor_left = 20
            self._cache = None

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "steps": list(self.steps),
            "raw": list(self.raw),
            "short": self.short_len,
            "seen": self.seen,
            "positive": self.positive,
            "refused": [list(pair) for pair in self.refused],
            "returns": list(self.returns),
            "frozen": [
                None if self.frozen is None else list(self.frozen),
                self.thawed,
                self.frozen_left,
                list(self.rises),
            ],
            "sample": [self.sample.stride, self.sample.seen, list(self.sample.values)],
            "floor": [self.floor_long, self.floor_left],
            "last": [self.last_step, self.last_accepted],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.seen, self.positive = state["seen"], state["positive"]
        self.log = self.seen > 0 and self._is_log()
        self.sample.stride, self.sample.seen, self.sample.values = state["sample"]
        self.sample.values = list(self.sample.values)
        self.floor_long, self.floor_left = state["floor"]
        self.last_step, self.last_accepted = state["last"]
        self.refused = [(step, value) for step, value in state["refused"]]
        self.returns = list(state["returns"])
        self._rebuild(state["steps"], state["raw"], state["short"])
        frozen, self.thawed, self.frozen_left, rises = state["frozen"]
        self.rises = list(rises)
        self.frozen = None if frozen is None else (frozen[0], frozen[1], frozen[2], frozen[3])


def _robust(ordered: Sequence[float], center: float, sign: int) -> float:
    """Return the deviation of ordered values: the larger of what their middle and what their worse side says.

    Where a minority of the data is harder than the rest, the middle half knows nothing of it.
    """
    tenth = len(ordered) // 10
    far = ordered[-1 - tenth] - center if sign > 0 else center - ordered[tenth]
    return max(MAD_TO_SIGMA * stats.deviation(ordered, center), far / NINTH_DECILE)


def _sigma(deviation: float, floor: float) -> float:
    """Return the deviation, never below its floor; where neither is known nothing is any deviations out."""
    return max(deviation, floor) or math.inf
