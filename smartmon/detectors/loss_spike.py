"""`loss_spike`: a loss far above the mean of the few before it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import Field

from smartmon.detectors.earlier import Earlier, beyond, deviations, percent_text
from smartmon.detectors.noise import UNKNOWN_Z, Score
from smartmon.detectors.signal import Firing, Point, Trace, Verdict
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

CANDIDATE_Z = 6.0
LEAST_HUGE_Z = 5.0
TRAIN = (5, 100)
"""So many candidates within so many points are a train of spikes."""
ALONE = 5
"""Points within which a spike that recovers alone is back at its level."""
RECOVERIES = 64
HABIT = (5, 200)
"""So many spikes that recovered alone within so many points raise the bar for the next: this run does that."""
HIGHEST_BAR = 15.0
TAIL_Z, TAIL_POINTS, TAIL_KNOWN = 3.0, 4000, 80
"""The tail of a run's noise: single values so many deviations out, of so many points, at most so many of them."""
GAUSS_SHARE, GAUSS_TAIL = 0.00135, 0.09
"""A Gaussian's share of values beyond 3 deviations, and their mean log(z / 3): what is believed to begin with."""
ONCE = 5e-5
"""Share of single values that may be told of: one in 20,000."""


class LossSpike(Params):
    """Fires when `loss > mean(last 5 accepted) x (1 + threshold)` and at least 3 earlier values are known.

    The rule is the plain one that people know. Severity comes from the run's own noise: warning when the excess is
    `sigmas` deviations out for two observations (one, where an observation averages ten steps), or twice the level at 6
    deviations, or three times, or with a spike of the gradient norm within 3 points of it, or five times within 100
    points; else info.
    Gets wrong: heavy-tailed noise on per-step logs (some single spikes are sent), and the first values of a run.
    """

    enabled: bool = Field(True, description="Whether to look for loss spikes.")
    threshold: float = Field(
        0.3, gt=0, le=1000, description="Rise over the mean of the last 5 losses that counts, as a share: 0.3 is 30 %."
    )
    sigmas: float = Field(
        5.0,
        ge=2,
        le=100,
        description="A spike is sent from this many deviations of the run's noise; else recorded.",
    )


class Spikes:
    """The state of `loss_spike` for one attempt."""

    def __init__(self) -> None:
        self.earlier = Earlier()
        self.points = 0
        self.before: tuple[int, bool] = (-1, False)
        """The step under test, and whether the observation before it stood out of the noise."""
        self.stood_out = False
        self.candidates: list[int] = []
        self.peak: tuple[int, float] | None = None
        """First point and deviations of an excursion that may still recover alone."""
        self.recoveries: list[tuple[int, float]] = []
        self.tail: list[tuple[int, float]] = []
        """Point and deviations of single values far out, and in `outlier` of one that may still turn out to last."""
        self.outlier: tuple[int, float] | None = None
        self.single_bar = 0.0
        self.waiting: tuple[int, int, Firing] | None = None
        """The last point, step and firing that stood out alone: a gradient spike soon after makes it a warning."""

    def judge(
        self,
        params: LossSpike,
        threshold: float,
        window: int,
        point: Point,
        score: Score,
        *,
        linear: bool = False,
        trace: Trace = None,
    ) -> Firing | None:
        """Test one finite loss and learn it. In linear mode (losses at or below 0) a rise must leave the noise too."""
        if point.step != self.before[0]:
            self.before = (point.step, self.stood_out)
            self.points += 1
        if self.waiting is not None and self.waiting[1] == point.step:
            self.waiting = None
        mean = self.earlier.mean(point.step, window)
        limit = None if mean is None else mean + threshold * abs(mean)
        fired = limit is not None and beyond(point.value, limit) and (mean or 0) > 0
        if linear and point.guard:
            fired = limit is not None and point.value > limit and score.exceeds(params.sigmas, 1.1)
        self.stood_out = fired and self._stands_out(params, score)
        self._watch_recovery(score, fired)
        self._watch_tail(score)
        if not fired or mean is None or limit is None:
            self.earlier.accept(point.step, point.value, window)
            if trace is not None:
                trace.append(_verdict(point, score, mean, limit, None))
            return None
        count = self.earlier.used(window)
        self.earlier.refuse(point.step, point.value, window)
        severity, why = self._severity(point, score, linear)
        percent = 100 * (point.value - mean) / (abs(mean) or 1.0)
        reason = f"loss_spike_{percent_text(percent)}pct"
        # Of a level at or below zero there are no percentages that mean anything.
        much = f"{percent_text(percent)} %" if mean > 0 and not linear else number(point.value - mean)
        message = (
            f"{point.metric} {number(point.value)} at step {point.step:,} is {much} above "
            f"the mean of the last {count} values ({number(mean)}); {why}."
        )
        if trace is not None:
            trace.append(_verdict(point, score, mean, limit, severity, text=message))
        evidence = {"z": score.z, "ratio": score.ratio_long, "percent": percent}
        firing = Firing(
            "loss_spike", point.metric, point.value, mean, limit, severity, reason, message, evidence=evidence
        )
        if severity is not Severity.INFO:
            self.waiting = None
        elif self.stood_out and not point.held:
            self.waiting = (self.points, point.step, firing)
        return firing

    def confirmed(self, step: int, points: int) -> tuple[int, int, Firing] | None:
        """The gradient norm stands far out at `step`: return the lone spike of the last `points` that this confirms.

        With it come its step and how many losses were seen since. It is a warning now, and no longer waits.
        """
        if self.waiting is None:
            return None
        (at, spike_step, firing), self.waiting = self.waiting, None
        since = self.points - at
        if since > points:
            return None
        when = "with it" if step <= spike_step else f"soon after it, at step {step:,}"
        told = firing.message.rsplit(": one point so far", 1)[0]
        message = f"{told}, and the gradient norm spiked {when}."
        return spike_step, since, replace(firing, severity=Severity.WARNING, message=message)

    def _stands_out(self, params: LossSpike, score: Score) -> bool:
        if not score.known:
            return score.z >= max(UNKNOWN_Z, params.sigmas)
        return score.z >= self._bar(params.sigmas) + score.allowance

    def _bar(self, z: float) -> float:
        """Return the deviations asked for: more where excursions of this size keep recovering alone."""
        count, points = HABIT
        usual = [peak for at, peak in self.recoveries if at > self.points - points and peak >= 0.6 * z]
        return z if len(usual) < count else max(z, min(HIGHEST_BAR, 1.25 * max(usual)))

    def _severity(self, point: Point, score: Score, linear: bool) -> tuple[Severity, str]:
        if not point.guard:
            return Severity.WARNING, "the noise guard is off"
        if score.z >= CANDIDATE_Z + score.allowance and not point.held:
            self.candidates = [i for i in self.candidates if i > self.points - TRAIN[1]] + [self.points]
        out = f"{deviations(score.z)} of the run's own noise"
        if point.up:
            return Severity.CRITICAL, "the level stays up"
        if point.held:
            if score.ratio_long >= 3 and self.points > 5:
                return Severity.WARNING, "three times the level"
            return Severity.INFO, "judgement rests for a few points after a resume or an epoch's turn"
        evidence = self._evidence(point, score, linear)
        if evidence:
            return Severity.WARNING, f"{out}, {evidence}"
        return Severity.INFO, f"{out}: " + ("one point so far" if self.stood_out else "within this run's noise")

    def _evidence(self, point: Point, score: Score, linear: bool) -> str:
        """Say what makes this more than one bad batch; nothing if nothing does."""
        times = max(score.ratio_long, score.ratio_short)
        tests = (
            (self._huge(score), "and far outside its range" if linear else f"and {times:.1f} times the level"),
            (not score.known and score.ratio_long >= 3 and self.points > 5, "and three times the level"),
            (
                self.stood_out and point.averaged and score.z >= self.single_bar,
                "and each logged value stands for many steps",
            ),
            (self.stood_out and self.before[1], "and it lasts"),
            (self.stood_out and point.grad_spike, "and the gradient norm spiked with it"),
            (
                len(self.candidates) >= TRAIN[0] and self.candidates[-1] == self.points,
                f"one of {len(self.candidates)} within {TRAIN[1]} points",
            ),
        )
        return next((text for true, text in tests if true), "")

    def _huge(self, score: Score) -> bool:
        if not score.known or score.z < LEAST_HUGE_Z:
            return False
        least = self.single_bar
        return score.exceeds(max(CANDIDATE_Z, least), 2.0) or score.exceeds(max(LEAST_HUGE_Z, least), 3.0)

    def _watch_tail(self, score: Score) -> None:
        """Note single values far out; after each, set the bar that one in 20,000 of this run's values passes.

        A Pareto tail by Hill's estimator, drawn towards a Gaussian's while few are known: heavy tails raise the bar.
        """
        if score.known and score.z >= TAIL_Z + score.allowance:
            began, peak = self.outlier or (self.points, score.z)
            self.outlier = (began, max(peak, score.z))
            return
        if self.outlier is None:
            return
        (began, peak), self.outlier = self.outlier, None
        if self.points - began > ALONE:
            return
        recent = [pair for pair in self.tail[1 - TAIL_KNOWN :] if pair[0] > self.points - TAIL_POINTS]
        self.tail = [*recent, (began, peak)]
        count, first = len(self.tail), self.tail[0][0]
        points = self.points - first if count >= TAIL_KNOWN else min(self.points, TAIL_POINTS)
        share = (count + 500 * GAUSS_SHARE) / (points + 500)
        decay = (sum(math.log(z / TAIL_Z) for _, z in self.tail) + 4 * GAUSS_TAIL) / (count + 4)
        self.single_bar = min(HIGHEST_BAR, TAIL_Z * max(1.0, share / ONCE) ** decay)

    def _watch_recovery(self, score: Score, fired: bool) -> None:
        """Note excursions that went away alone: sawteeth and heavy tails must stand out further to be sent."""
        if fired:
            self.peak = (self.points, score.z) if self.peak is None else (self.peak[0], max(self.peak[1], score.z))
        elif self.peak is not None and score.z < 2:
            self.recoveries = [*self.recoveries[1 - RECOVERIES :], self.peak]
            self.peak = None
        if self.peak is not None and self.points - self.peak[0] > ALONE:
            self.peak = None

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "points": self.points,
            "stood_out": self.stood_out,
            "candidates": list(self.candidates),
            "recoveries": [list(pair) for pair in self.recoveries],
            "tail": [list(pair) for pair in self.tail],
            "outlier": None if self.outlier is None else list(self.outlier),
            "single_bar": self.single_bar,
            "earlier": self.earlier.state(),
            "before": list(self.before),
            "peak": None if self.peak is None else list(self.peak),
            "waiting": None if self.waiting is None else [*self.waiting[:2], asdict(self.waiting[2])],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.points, self.stood_out = state["points"], state["stood_out"]
        self.recoveries = [(point, z) for point, z in state["recoveries"]]
        self.tail = [(point, z) for point, z in state["tail"]]
        self.outlier = None if state["outlier"] is None else (state["outlier"][0], state["outlier"][1])
        self.single_bar = state["single_bar"]
        self.candidates = list(state["candidates"])
        self.earlier.restore(state["earlier"])
        self.before = (state["before"][0], state["before"][1])
        self.peak = None if state["peak"] is None else (state["peak"][0], state["peak"][1])
        self.waiting = None
        if state["waiting"] is not None:
            points, step, firing = state["waiting"]
            self.waiting = (points, step, Firing(**{**firing, "severity": Severity(firing["severity"])}))


def _verdict(
    point: Point, score: Score, mean: float | None, limit: float | None, severity: Severity | None, *, text: str = ""
) -> Verdict:
    if mean is None:
        text = "fewer than 3 earlier values: no verdict"
    elif severity is None:
        text = f"{number(point.value)} is not above {number(limit)}; {deviations(score.z)} from the run's level"
    return Verdict("loss_spike", point.metric, point.value, mean, limit, severity is not None, severity, text)
