"""The rules of the peers that look at the clock, at drift, or at evaluations."""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterator

from benchmarks.detection.peers import Series
from smartmon.stats import median


def marin(series: Series) -> Iterator[int]:
    """F13: the floor of the last 5 minutes above mean + max(0.05, 6 sd) of the hour before, for 5 minutes more.

    Without a clock 5 points stand for 5 minutes and 55 for the hour. Besides: not finite, and a floor that rose by 1.
    """
    at = series.at or [60.0 * t for t in range(len(series.values))]
    x = series.values
    since, pushed = None, 0
    low, old, sums = _Lowest(x), _Lowest(x), _Prefix(x)
    for t in range(len(x)):
        recent, hour = bisect.bisect_right(at, at[t] - 300, 0, t + 1), bisect.bisect_right(at, at[t] - 3600, 0, t + 1)
        low.push(t)
        while pushed < recent:
            old.push(pushed)
            pushed += 1
        if sums.bad(recent, t + 1):
            since = None
            yield t
            continue
        if t + 1 - recent < 5 or recent - hour < 20 or sums.bad(hour, recent):
            since = None
            continue
        mean, sd = sums.moments(hour, recent)
        floor = low.since(recent)
        since = (since if since is not None else at[t]) if floor > mean + max(0.05, 6 * sd) else None
        if floor - old.since(hour) > 1.0 or (since is not None and at[t] - since >= 300):
            yield t


class _Lowest:
    """The lowest of the values from any index on, which only moves forward, to the last one pushed."""

    def __init__(self, values: list[float]) -> None:
        self._values = values
        self._rising = deque[int]()

    def push(self, index: int) -> None:
        """Take the next index in."""
        while self._rising and not self._values[self._rising[-1]] < self._values[index]:
            self._rising.pop()
        self._rising.append(index)

    def since(self, index: int) -> float:
        """Return the lowest value from an index on; all before it are forgotten."""
        while self._rising[0] < index:
            self._rising.popleft()
        return self._values[self._rising[0]]


class _Prefix:
    """Means and deviations of any stretch from running sums around the first value."""

    def __init__(self, values: list[float]) -> None:
        self.shift = next((v for v in values if math.isfinite(v)), 0.0)
        self.one, self.two, self.no = [0.0], [0.0], [0]
        for v in values:
            good = math.isfinite(v)
            d = v - self.shift if good else 0.0
            self.one.append(self.one[-1] + d)
            self.two.append(self.two[-1] + d * d)
            self.no.append(self.no[-1] + (not good))

    def bad(self, start: int, end: int) -> bool:
        """Whether something in the stretch is not finite."""
        return self.no[end] > self.no[start]

    def moments(self, start: int, end: int) -> tuple[float, float]:
        """Return the mean and the sample's deviation of a stretch of two or more."""
        n = end - start
        total, squares = self.one[end] - self.one[start], self.two[end] - self.two[start]
        return self.shift + total / n, math.sqrt(max(0.0, squares - total * total / n) / (n - 1))


def page_hinkley(series: Series, limit: float = 50.0, *, log: bool = False) -> Iterator[int]:
    """F17: river's Page-Hinkley test, delta 0.005, forgetting 0.9999, 30 samples; it begins anew after an alarm."""
    n, mean, level = 0, 0.0, 0.0
    for t, x in enumerate(_logs(series.values) if log else series.values):
        if not math.isfinite(x):
            continue
        n += 1
        mean += (x - mean) / n
        level = max(0.0, 0.9999 * level + x - mean - 0.005)
        if n >= 30 and level >= limit:
            yield t
            n, mean, level = 0, 0.0, 0.0


def adwin(series: Series, delta: float = 0.002, *, log: bool = False) -> Iterator[int]:
    """F18: ADWIN (Bifet and Gavalda 2007): a window that is cut where its parts differ; upward cuts alarm."""
    window = _Adwin(delta)
    for t, x in enumerate(_logs(series.values) if log else series.values):
        if math.isfinite(x) and window.add(x):
            yield t


class _Adwin:
    """Buckets of 1, 2, 4, ... values with their sum and squares, at most five of a size, newest last."""

    def __init__(self, delta: float) -> None:
        self.delta = delta
        self.buckets: list[tuple[int, float, float]] = []
        """Count, sum, and sum of squares around the bucket's own mean."""
        self.added = 0

    def add(self, x: float) -> bool:
        """Absorb a value; return whether the window was cut because its newer part lies higher."""
        self.buckets.append((1, x, 0.0))
        self._compress()
        self.added += 1
        up = False
        # Every 32 values, as river does: the test costs as much as there are buckets.
        while self.added % 32 == 0 and (cut := self._cut()) is not None:
            up = up or cut
            del self.buckets[0]
        return up

    def _compress(self) -> None:
        size, end = 1, len(self.buckets)
        while True:
            start = end
            while start and self.buckets[start - 1][0] == size:
                start -= 1
            if end - start <= 5:
                return
            self.buckets[start : start + 2] = [_merged(self.buckets[start], self.buckets[start + 1])]
            size, end = size * 2, start + 1

    def _cut(self) -> bool | None:
        """Return whether the newer part lies higher, where two parts differ; None where none do."""
        whole = (0, 0.0, 0.0)
        for bucket in self.buckets:
            whole = _merged(whole, bucket) if whole[0] else bucket
        n, total, squares = whole
        if n < 10:
            return None
        variance = squares / n
        spread = math.log(2 * math.log(n) / self.delta)
        n0, s0 = 0, 0.0
        for count, part, _ in self.buckets[:-1]:
            n0, s0 = n0 + count, s0 + part
            n1 = n - n0
            if n0 < 5 or n1 < 5:
                continue
            m = 1 / (1 / n0 + 1 / n1)
            bound = math.sqrt(2 / m * variance * spread) + 2 / (3 * m) * spread
            rise = (total - s0) / n1 - s0 / n0
            if abs(rise) > bound:
                return rise > 0
        return None


def _merged(one: tuple[int, float, float], other: tuple[int, float, float]) -> tuple[int, float, float]:
    n, m = one[0], other[0]
    apart = one[1] / n - other[1] / m
    return n + m, one[1] + other[1], one[2] + other[2] + apart * apart * n * m / (n + m)


def _logs(values: list[float]) -> list[float]:
    return [math.log(max(v, 1e-12)) if math.isfinite(v) else v for v in values]


def early_stopping(values: list[float], patience: int, *, higher: bool = False) -> Iterator[int]:
    """F19: no new best for `patience` evaluations; Lightning's form, where what is not finite stops at once."""
    best, waited = None, 0
    for t, x in enumerate(values):
        value = -x if higher else x
        if not math.isfinite(value):
            yield t
        elif best is None or value < best:
            best, waited = value, 0
        else:
            waited += 1
            if waited == patience:
                yield t


def sagemaker_overfit(series: Series, evals: list[tuple[int, float]], ratio: float = 0.1) -> Iterator[int]:
    """F20: the evaluation a tenth above the mean training loss since the last one. `evals`: points so far, value."""
    before = 0
    for index, (points, value) in enumerate(evals):
        train = [v for v in series.values[before:points] if math.isfinite(v)]
        before = points
        if train and (mean := sum(train) / len(train)) > 0 and (value - mean) / mean > ratio:
            yield index


def gaps(at: list[float], limit: float) -> Iterator[int]:
    """F21: FlagScale 1,800 s, Marin 900 s, DLRover 600 s without a step."""
    return (t for t in range(1, len(at)) if at[t] - at[t - 1] > limit)


def nvrx(at: list[float]) -> Iterator[int]:
    """F21: five times the longest gap so far, after five."""
    longest = 0.0
    for t in range(1, len(at)):
        gap = at[t] - at[t - 1]
        if t > 5 and gap > 5 * longest > 0:
            yield t
        longest = max(longest, gap)


def portos(at: list[float]) -> Iterator[int]:
    """F21: six times the longest of the last gaps, at least 90 s, at most 15 min."""
    recent: deque[float] = deque(maxlen=20)
    for t in range(1, len(at)):
        gap = at[t] - at[t - 1]
        if recent and gap > min(900.0, max(90.0, 6 * max(recent))):
            yield t
        recent.append(gap)


def slow_p0(at: list[float]) -> Iterator[int]:
    """F22: the median of the last 30 step times above 1.25 times the run's."""
    times: list[float] = []
    ordered: list[float] = []
    for t in range(1, len(at)):
        times.append(at[t] - at[t - 1])
        bisect.insort(ordered, times[-1])
        if t >= 60 and median(times[-30:]) > 1.25 * ordered[len(ordered) // 2]:
            yield t


def slow_trainpulse(at: list[float]) -> Iterator[int]:
    """F22: a step of three times the mean of the last twenty."""
    times: deque[float] = deque(maxlen=20)
    for t in range(1, len(at)):
        gap = at[t] - at[t - 1]
        if len(times) == 20 and gap > 3 * sum(times) / 20:
            yield t
        times.append(gap)
