"""`divergence`: a loss that keeps rising, stays up, or runs away."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pydantic import Field

from smartmon import stats
from smartmon.detectors.noise import KNOWN, Level, Score
from smartmon.detectors.signal import Firing, Point, Trace, Verdict
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

CLIP = 4.0
SLACK = 0.75
CALM_Z, CALM_SUM, CALM_POINTS = 2.0, 3.0, 20
"""Back to normal: so few deviations, so small a sum, for so many points."""
LONG_OPEN = 200
RUNAWAY = 3.0
LOST, LOST_FROM = 2.0, 5
"""Times the first losses, for three values in a row within the first 20, that say a run was lost at once."""
AGAIN = 1.5
"""Times the initial level that a loss which had halved must reach to be lost."""


class Divergence(Params):
    """Fires when at least `rising_share` of the steps within the window rise and it ends above its start.

    That plain rule is info: pure noise satisfies it three times in 10,000 points. It is a warning when the median of
    the last three is `min_rise` above the start and 4 deviations above the level before the window. With the noise
    guard two more rules fire under this name. Sustained: `S = max(0, S + clip(z, -4, 4) - 0.75) >= cusum` while the
    median of the last five is `level` times the baseline, for 20 points of a per-step log (10 when a fifth up, 1 when
    half); critical when half up, when a fifth up after 200 points, or with a gradient spike. Runaway: three times the
    best level, 1.5 times the first after halving, or twice the first two within 20 values; critical. Where `epoch` is
    logged, what comes again in every epoch is taken out first. Gets wrong: the first two epochs of such a staircase,
    and any where no epoch is logged.
    """

    enabled: bool = Field(True, description="Whether to look for a diverging loss.")
    rising_share: float = Field(
        0.8, gt=0, le=1, description="Share of the steps within the loss window that must rise: 0.8 is 80 %."
    )
    min_rise: float = Field(
        0.05,
        ge=0,
        le=10,
        description="Rise within the window from which a divergence is sent, as a share; else recorded.",
    )
    cusum: float = Field(
        12.0, gt=0, le=1000, description="Summed excess over the run's noise, in deviations, that says the level moved."
    )
    level: float = Field(
        1.1, gt=1, le=100, description="Smallest lasting level, against the one before, that counts: 1.1 is 10 % up."
    )


class Shift:
    """The state of `divergence` for one attempt: the raw window, and the sums that say the level moved."""

    def __init__(self) -> None:
        self.window: list[tuple[int, float]] = []
        self.last: list[float] = []
        """The last five values, without what is usual at their places in an epoch."""
        self.sums = [0.0, 0.0]
        self.sums_before = [0.0, 0.0]
        self.onset: int | None = None
        self.open: Severity | None = None
        self.points_up = 0
        """Points in a row at which the level was up."""
        self.points_open = 0
        self.calm = 0
        self.first: list[float] = []
        self.best: float | None = None
        self.halved = False

    @property
    def quiet(self) -> bool:
        """Whether neither baseline's sum says that the level is up."""
        return max(self.sums) < CALM_SUM

    @property
    def open_critical(self) -> bool:
        """Whether the level is known to have gone up for good."""
        return self.open is Severity.CRITICAL

    def judge(
        self, params: Divergence, window: int, point: Point, score: Score, level: Level, *, trace: Trace = None
    ) -> Firing | None:
        """Test one finite loss and learn it. `level` has not learned it yet."""
        if self.window and self.window[-1][0] == point.step:
            self.window.pop()
            self.last = self.last[:-1]
            self.sums = list(self.sums_before)
        self.window.append((point.step, point.value))
        if len(self.window) > max(window, 5):
            del self.window[0]
        self.last = [*self.last[-4:], point.level_value]
        firing = self._plain(params, window, point, level) if params.enabled else None
        moved = self._moved(params, point, score, level)
        if moved is not None and point.guard and params.enabled:
            severity, text, expected, limit = moved
            evidence = {"z": score.z, "ratio": score.ratio_long, "rule": "level"}
            good = None if self.onset is None else max(0, self.onset - max(10, self.onset // 100))
            firing = Firing(
                "divergence", point.metric, point.value, expected, limit, severity, "divergence_detected", text,
                self.onset, good, evidence,
            )  # fmt: skip
        if trace is not None:
            trace.append(_verdict(params, window, self, point, firing))
        return firing

    def _plain(self, params: Divergence, window: int, point: Point, level: Level) -> Firing | None:
        values = [value for _, value in self.window[-window:]]
        if len(values) < window or values[-1] <= values[0]:
            return None
        rises = sum(b > a for a, b in pairwise(values))
        if rises < params.rising_share * (window - 1) - 1e-9:
            return None
        start_step, start = self.window[-window]
        end = stats.median(values[-3:])
        severity, why = Severity.INFO, "pure noise does that at times"
        if not point.guard:
            severity, why = Severity.CRITICAL, "the noise guard is off"
        elif self.open is Severity.CRITICAL:
            severity, why = Severity.CRITICAL, "the level stays up"
        elif not point.held and end - start >= params.min_rise * abs(start) and start != 0:
            z = level.before(start_step, stats.median(self.last[-3:]))
            if z >= 4 or level.seen + 1 < KNOWN:
                severity, why = Severity.WARNING, f"by {100 * (end - start) / abs(start):.1f} %"
            else:
                why = f"within this run's noise ({z:.1f} deviations)"
        text = (
            f"{point.metric} rose in {rises} of the last {window - 1} steps, from {number(start)} at step "
            f"{start_step:,} to {number(point.value)} at step {point.step:,}; {why}."
        )
        evidence = {"rises": rises, "rule": "rising"}
        return Firing(
            "divergence", point.metric, point.value, start, start, severity, "divergence_detected", text,
            start_step, None, evidence,
        )  # fmt: skip

    def _moved(
        self, params: Divergence, point: Point, score: Score, level: Level
    ) -> tuple[Severity, str, float, float] | None:
        """Move the sums; return severity, sentence, expected value and limit when the level's move is news."""
        if len(self.first) < 20:
            self.first.append(point.value)
        self.sums_before = list(self.sums)
        found: tuple[Severity, str, float, float] | None = None
        if score.known and not point.held:
            found = self._sustained(params, point, score, level)
        if level.log and (found is None or found[0] is not Severity.CRITICAL):
            found = self._runaway(point, score) or self._lost_at_once(point) or found
        self._close(score)
        if found is None or (self.open is not None and found[0].rank <= self.open.rank):
            return None
        self.open, self.calm = found[0], 0
        return found

    def _sustained(
        self, params: Divergence, point: Point, score: Score, level: Level
    ) -> tuple[Severity, str, float, float] | None:
        was_quiet = max(self.sums) <= 0
        for i, z in enumerate((score.z_long, score.z_short)):
            # Bounded above, so that a level that came back is forgotten as quickly as it was noticed.
            self.sums[i] = min(2 * params.cusum, max(0.0, self.sums[i] + max(-CLIP, min(CLIP, z)) - SLACK))
        if max(self.sums) <= 0:
            self.onset = None
        elif was_quiet or self.onset is None:
            self.onset = point.step
        lifts = [level.lift(self.last, short=bool(i)) for i in (0, 1) if self.sums[i] >= params.cusum]
        lift = max(lifts, default=0.0)
        self.points_up = self.points_up + 1 if lift >= params.level else 0
        if self.points_up < (1 if point.averaged else _confirmed(lift)):
            return None
        severity = Severity.WARNING
        if lift >= 1.5 or (lift >= 1.2 and self.points_open >= LONG_OPEN) or point.grad_spike:
            severity = Severity.CRITICAL
        much = f"{100 * (lift - 1):.0f} % above its level" if level.log else "far above its level"
        text = (
            f"{point.metric} stays {much} of {number(score.center)} since step {self.onset or point.step:,} "
            f"({number(point.value)} at step {point.step:,})."
        )
        return severity, text, score.center, score.center * params.level

    def _runaway(self, point: Point, score: Score) -> tuple[Severity, str, float, float] | None:
        last = self.last
        if score.known and score.center > 0:
            self.best = score.center if self.best is None else min(self.best, score.center)
        if len(self.first) < 20 or self.best is None:
            return None
        start = stats.median(self.first)
        self.halved = self.halved or self.best < start / 2
        now = stats.median(last)
        # A memorised loss near zero triples on a whim; a runaway one also leaves that floor behind.
        if len(last) == 5 and now >= RUNAWAY * self.best and now - self.best >= 0.1 * start:
            text = f"{point.metric} ran away: {number(now)} is {now / self.best:.1f} times its best level."
            return Severity.CRITICAL, text, self.best, RUNAWAY * self.best
        if self.halved and len(last) >= 3 and min(last[-3:]) >= AGAIN * start:
            text = f"{point.metric} is back above where it began: {number(point.value)}, first {number(start)}."
            return Severity.CRITICAL, text, start, AGAIN * start
        return None

    def _lost_at_once(self, point: Point) -> tuple[Severity, str, float, float] | None:
        """Whether the loss left upwards before there was anything to judge it by but where it began."""
        if not LOST_FROM <= len(self.first) < KNOWN or point.held:
            return None
        start = max(self.first[:2])
        if min(self.last[-3:]) < LOST * start:
            return None
        text = f"{point.metric} is far above where it began: {number(point.value)}, first {number(start)}."
        return Severity.CRITICAL, text, start, LOST * start

    def _close(self, score: Score) -> None:
        if self.open is None:
            return
        self.points_open += 1
        self.calm = self.calm + 1 if score.z < CALM_Z and self.quiet else 0
        if self.calm >= CALM_POINTS:
            self.open, self.points_open, self.calm, self.onset = None, 0, 0, None

    def rest(self) -> None:
        """Forget the sums: a resume, an epoch's turn or another logging interval makes them meaningless."""
        self.sums, self.sums_before, self.onset, self.points_up = [0.0, 0.0], [0.0, 0.0], None, 0

    def cut(self, before: int) -> None:
        """Forget what is at step `before` and later: the run went back there."""
        self.window = [pair for pair in self.window if pair[0] < before]
        self.last = [value for _, value in self.window[-5:]]
        self.open, self.points_open, self.calm = None, 0, 0
        self.rest()

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return vars(self) | {
            "window": [list(pair) for pair in self.window],
            "last": list(self.last),
            "sums": list(self.sums),
            "sums_before": list(self.sums_before),
            "first": list(self.first),
            "open": None if self.open is None else self.open.value,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
        self.window = [(step, value) for step, value in state["window"]]
        self.open = None if state["open"] is None else Severity(state["open"])


def _confirmed(lift: float) -> int:
    """Return for how many points of a per-step log a level must be up: a stretch of hard data rises for a few."""
    return 1 if lift >= 1.5 else 10 if lift >= 1.2 else 20


def _verdict(params: Divergence, window: int, shift: Shift, point: Point, firing: Firing | None) -> Verdict:
    if firing is not None:
        return Verdict(
            "divergence",
            point.metric,
            point.value,
            firing.expected,
            firing.limit,
            True,
            firing.severity,
            firing.message,
        )
    values = [value for _, value in shift.window[-window:]]
    if len(values) < window:
        text = f"the window holds {len(values)} of {window} values"
        return Verdict("divergence", point.metric, point.value, None, None, False, None, text)
    rises = sum(b > a for a, b in pairwise(values))
    text = (
        f"{rises} of {window - 1} steps rose (needs {math.ceil(params.rising_share * (window - 1) - 1e-9)}); "
        f"summed excess {max(shift.sums):.1f} of {params.cusum:g}"
    )
    return Verdict("divergence", point.metric, point.value, values[0], values[0], False, None, text)
