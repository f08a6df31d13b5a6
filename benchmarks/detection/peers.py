"""The rules of the peers that look at one loss (or any one metric), each as a pure function of the series.

Written anew from their descriptions, with their defaults; `report.py` says what is whose. Every function returns the
points that alarm. What is not finite is handled as the original does: most go blind, and that is part of the result.
Rules that fire in both directions are run upwards only, as "worse" is what is asked.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from smartmon.stats import deviation, middle

NAN = math.nan


@dataclass(frozen=True)
class Series:
    """One metric of a curve as a peer sees it."""

    values: list[float]
    steps: list[int]
    at: list[float] | None = None
    """When each value came, where the log says it."""
    grads: list[float | None] | None = None


class Moments:
    """Sum and sum of squares of the last values. Exact enough: both are rebuilt as often as the window is long."""

    def __init__(self, size: int) -> None:
        self.window: deque[float] = deque(maxlen=size)
        self._sums = (0.0, 0.0)
        self._bad = 0
        self._age = 0

    def add(self, value: float) -> None:
        """Absorb a value; the oldest leaves when the window is full."""
        gone = self.window[0] if len(self.window) == self.window.maxlen else None
        self.window.append(value)
        self._bad += (not math.isfinite(value)) - (gone is not None and not math.isfinite(gone))
        self._age += 1
        broken = not math.isfinite(value) or (gone is not None and not math.isfinite(gone))
        if broken or self._age >= (self.window.maxlen or 1):
            good = [v for v in self.window if math.isfinite(v)]
            self._sums, self._age = (math.fsum(good), math.fsum(v * v for v in good)), 0
            return
        total, squares = self._sums
        total, squares = total + value, squares + value * value
        if gone is not None:
            total, squares = total - gone, squares - gone * gone
        self._sums = total, squares

    @property
    def full(self) -> bool:
        """Whether the window holds all that it can."""
        return len(self.window) == self.window.maxlen

    @property
    def mean(self) -> float:
        """The mean; NaN when a value in the window is not finite, as in the originals."""
        return NAN if self._bad or not self.window else self._sums[0] / len(self.window)

    def sd(self, ddof: int = 0) -> float:
        """The standard deviation; NaN likewise."""
        n = len(self.window)
        if self._bad or n <= ddof:
            return NAN
        total, squares = self._sums
        return math.sqrt(max(0.0, squares - total * total / n) / (n - ddof))


class Ordered:
    """The last values, also in order."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.window: deque[float] = deque()
        self.ordered: list[float] = []

    def add(self, value: float) -> None:
        """Absorb a finite value."""
        if len(self.window) == self.size:
            del self.ordered[bisect.bisect_left(self.ordered, self.window.popleft())]
        self.window.append(value)
        bisect.insort(self.ordered, value)


def fix30(series: Series, ratio: float = 1.3) -> Iterator[int]:
    """F0: above 1.3 times the mean of the last five."""
    x = series.values
    for t in range(5, len(x)):
        if x[t] > ratio * sum(x[t - 5 : t]) / 5:
            yield t


def lightning(series: Series, rise: float = 2.0) -> Iterator[int]:
    """F1: three times the mean of the last ten accepted, or not finite."""
    accepted: deque[float] = deque(maxlen=10)
    last = 0.0
    for t, x in enumerate(series.values):
        if not math.isfinite(x):
            if t:
                yield t
            continue
        if t and x > last and accepted:
            mean = sum(accepted) / len(accepted)
            if abs(x - mean) >= rise * abs(mean):
                yield t
                continue
        accepted.append(x)
        last = x


def kill_loss_spike(series: Series) -> Iterator[int]:
    """F2: twice the mean of the last 5 % of the run, five times in a row; or half a window above its first maximum."""
    n = len(series.values)
    size = max(100, round(0.05 * n))
    moments, high, count, cap = Moments(size), 0, 0, None
    for t, x in enumerate(series.values):
        if moments.full:
            if cap is None:
                cap = min(max(moments.window), 10)
                high = sum(v > cap for v in moments.window)
            count = count + 1 if x >= 2 * moments.mean else 0
            if count > 4 or (t >= 2 * size and high >= size / 2):
                yield t
            high -= moments.window[0] > cap
        moments.add(x)
        high += cap is not None and x > cap


def trainpulse(series: Series, ratio: float = 5.0) -> Iterator[int]:
    """F3: five times the mean of the last fifty."""
    moments = Moments(50)
    for t, x in enumerate(series.values):
        mean = moments.mean
        if moments.full and mean > 0 and x > ratio * mean:
            yield t
        moments.add(x)


def olmo_core(
    series: Series, sigmas: float = 6.0, *, size: int = 128, start: int = 128, ddof: int = 0
) -> Iterator[int]:
    """F4: six deviations above the mean of the last 128; F4b judges from 64 on, by the sample's deviation."""
    moments = Moments(size)
    for t, x in enumerate(series.values):
        if len(moments.window) >= start:
            sd = moments.sd(ddof)
            # Skip-step asks whether the value is small enough, so whatever does not compare is skipped.
            skip = not x - moments.mean <= sigmas * sd
            if skip if ddof else sd >= 1e-10 and x > moments.mean + sigmas * sd:
                yield t
        moments.add(x)


def olmo_score(series: Series, sigmas: float = 7.0) -> Iterator[int]:
    """F5: seven deviations above the rolling mean of the last thousand (of what there is before that)."""
    moments = Moments(1000)
    for t, x in enumerate(series.values):
        if len(moments.window) >= 30:
            sd = moments.sd()
            if sd > 0 and x - moments.mean >= sigmas * sd:
                yield t
        moments.add(x)


def llm_c(series: Series, sigmas: float = 6.0) -> Iterator[int]:
    """F6: z over the last 128, the value itself included. One NaN stays in the running sum for good."""
    moments, dead = Moments(128), False
    for t, x in enumerate(series.values):
        dead = dead or not math.isfinite(x)
        if dead:
            continue
        moments.add(x)
        if moments.full:
            sd = moments.sd()
            if sd > 0 and (x - moments.mean) / sd > sigmas:
                yield t


def intern_evo(series: Series, ratio: float = 1.5) -> Iterator[int]:
    """F7: half as much again as the step before."""
    x = series.values
    for t in range(1, len(x)):
        if x[t] > ratio * x[t - 1]:
            yield t


def megatron(series: Series, factor: float = 10.0) -> Iterator[int]:
    """F8: ten times the largest of the first hundred; what is not finite has a check of its own (`not_finite`)."""
    limit = factor * max((abs(v) for v in series.values[:100] if math.isfinite(v)), default=math.inf)
    for t in range(100, len(series.values)):
        x = series.values[t]
        if math.isfinite(x) and abs(x) >= limit:
            yield t


def zclip(series: Series, sigmas: float = 2.5) -> Iterator[int]:
    """F9: ZClip's clipping of gradients, used as a detector of the loss."""
    first = series.values[:25]
    if len(first) < 25:
        return
    mu = sum(first) / 25
    var = sum((v - mu) ** 2 for v in first) / 25
    for t in range(25, len(series.values)):
        x = series.values[t]
        sd = math.sqrt(var) if var >= 0 else NAN
        z = (x - mu) / (sd + 1e-6)
        y = x
        if z > sigmas:
            yield t
            y = mu + sigmas * sd * (sigmas / z)
        mu = 0.97 * mu + 0.03 * y
        var = 0.97 * var + 0.03 * (y - mu) ** 2


def trainscope(series: Series, h: float = 6.0) -> Iterator[int]:
    """F10: CUSUM of robust z over the last 200, slack 1. Its callers filter what is not finite."""
    past, up = Ordered(200), 0.0
    for t, x in enumerate(series.values):
        if not math.isfinite(x):
            continue
        if len(past.ordered) >= 30:
            center = middle(past.ordered)
            z = (x - center) / max(1.4826 * deviation(past.ordered, center), 1e-12)
            up = max(0.0, up + z - 1)
            if up >= h:
                yield t
                up = 0.0
        past.add(x)


def window_z(series: Series, sigmas: float = 3.5, *, size: int = 200, start: int = 30, ddof: int = 1) -> Iterator[int]:
    """F10b: z above 3.5 over the last 200. F11 (W&B): 3 over the last 30, once they are full."""
    moments = Moments(size)
    for t, x in enumerate(series.values):
        if len(moments.window) >= start:
            sd = moments.sd(ddof)
            if sd > 0 and (x - moments.mean) / sd > sigmas - 1e-12:
                yield t
        if math.isfinite(x):
            moments.add(x)


def p0(series: Series, limit: float = 8.0) -> Iterator[int]:
    """F12: log-MAD above 8 over the last hundred from step 200 on, or loss and gradient both above 6 at one step."""
    losses, grads = _log_mad(series.values), _log_mad(series.grads or [])
    for t, score in enumerate(losses):
        both = score > 6 and t < len(grads) and grads[t] > 6
        if series.steps[t] >= 200 and (score > limit or both):
            yield t


def _log_mad(values: list[float] | list[float | None]) -> list[float]:
    """Return how far each value lies above the last hundred in logarithms; 0 where one of them is not finite."""
    past, bad, scores = Ordered(100), -1, []
    for t, x in enumerate(values):
        if x is None or not math.isfinite(x):
            bad = t
            past = Ordered(100)
            scores.append(0.0)
            continue
        u = math.log(max(x, 1e-12))
        score = 0.0
        if len(past.ordered) == 100 and t - bad > 100:
            center = middle(past.ordered)
            score = 0.6745 * (u - center) / (deviation(past.ordered, center) + 1e-12)
        scores.append(score)
        past.add(u)
    return scores


def metaseq(series: Series, limit: float = 1.3) -> Iterator[int]:
    """F14: ratio to an average of span 9 that refuses what is over the limit."""
    level = None
    for t, x in enumerate(series.values):
        if level is None:
            level = x
        elif x / level > limit if level else False:
            yield t
        else:
            level = 0.8 * level + 0.2 * x


def axolotl(series: Series) -> Iterator[int]:
    """F15: three in a row above a constant; here 1.5 times the median of the first twenty."""
    first = sorted(v for v in series.values[:20] if math.isfinite(v))
    count = 0
    for t, x in enumerate(series.values):
        count = count + 1 if first and x > 1.5 * middle(first) else 0
        if count >= 3:
            yield t


def trackio(series: Series) -> Iterator[int]:
    """F16: a debiased average (0.9) that doubles in a step after the thirtieth; a loss that is NaN or above 100."""
    raw, before = 0.0, NAN
    for t, x in enumerate(series.values):
        raw = 0.9 * raw + 0.1 * x
        now = raw / (1 - 0.9 ** (t + 1))
        if math.isnan(x) or x > 100 or (t > 30 and now > 2 * before):
            yield t
        before = now


def not_finite(series: Series) -> Iterator[int]:
    """The NaN checks of Keras, Composer, Levanter, MaxText and Megatron: the loss is not finite."""
    return (t for t, x in enumerate(series.values) if not math.isfinite(x))
