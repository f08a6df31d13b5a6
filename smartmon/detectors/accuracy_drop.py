"""`accuracy_drop`: an accuracy far below the mean of the few before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from smartmon import stats
from smartmon.detectors.earlier import Earlier, beyond, deviations, percent_text
from smartmon.detectors.noise import UNKNOWN_Z, Score
from smartmon.detectors.signal import Firing, Point, Trace, Verdict
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

LASTING = 5
"""Refusals in a row after which a loss of 20 points or of half the accuracy is critical."""


class AccuracyDrop(Params):
    """Fires when `accuracy < mean(last 5 accepted) - threshold` (percentage points) and at least 3 are known.

    Severity comes from the run's own noise, in points and never less than 1: warning when the drop is `sigmas`
    deviations for two observations (one, where an observation averages ten steps), critical when 20 points or half of
    the accuracy stay lost for five; else info. Gets wrong: an accuracy over a few samples, whose noise is coarse.
    """

    enabled: bool = Field(True, description="Whether to look for drops of accuracy.")
    threshold: float = Field(
        10.0,
        gt=0,
        le=100,
        description="Drop below the mean of the last 5 that counts, in percentage points.",
    )
    sigmas: float = Field(
        5.0, ge=2, le=100, description="A drop is sent from this many deviations of the run's noise; else recorded."
    )


class Drops:
    """The state of `accuracy_drop` for one metric of one attempt."""

    def __init__(self) -> None:
        self.earlier = Earlier()
        self.before: tuple[int, bool] = (-1, False)
        self.stood_out = False

    def judge(
        self, params: AccuracyDrop, threshold: float, window: int, point: Point, score: Score, *, trace: Trace
    ) -> Firing | None:
        """Test one finite accuracy and learn it."""
        if point.step != self.before[0]:
            self.before = (point.step, self.stood_out)
        mean = self.earlier.mean(point.step, window)
        limit = None if mean is None else mean - threshold
        if mean is None or limit is None or not beyond(mean - point.value, threshold):
            self.stood_out = False
            self.earlier.accept(point.step, point.value, window)
            if trace is not None:
                text = "fewer than 3 earlier values: no verdict"
                if limit is not None:
                    text = f"{number(point.value)} is not below {number(limit)}"
                trace.append(Verdict("accuracy_drop", point.metric, point.value, mean, limit, False, None, text))
            return None
        bar = params.sigmas + score.allowance if score.known else max(UNKNOWN_Z, params.sigmas)
        self.stood_out = score.z >= bar
        count = self.earlier.used(window)
        severity, why = self._severity(point, score, mean)
        self.earlier.refuse(point.step, point.value, window)
        drop = percent_text(mean - point.value)
        message = (
            f"{point.metric} {point.value:.1f} % at step {point.step:,} is {drop} points below "
            f"the mean of the last {count} values ({mean:.1f} %); {why}."
        )
        if trace is not None:
            trace.append(Verdict("accuracy_drop", point.metric, point.value, mean, limit, True, severity, message))
        reason = f"accuracy_drop_{drop}pct"
        evidence = {"z": score.z, "points": mean - point.value}
        return Firing(
            "accuracy_drop", point.metric, point.value, mean, limit, severity, reason, message, evidence=evidence
        )

    def _severity(self, point: Point, score: Score, mean: float) -> tuple[Severity, str]:
        if not point.guard:
            return Severity.WARNING, "the noise guard is off"
        if point.held:
            return Severity.INFO, "judgement rests for a few points after a resume"
        lost = [value for _, value in self.earlier.refused] + [point.value]
        if len(lost) >= LASTING and self.stood_out:
            level = stats.median(lost[-LASTING:])
            if level <= mean - 20 or level <= mean / 2:
                return Severity.CRITICAL, f"it has stayed down for {len(lost)} observations"
        out = f"{deviations(score.z)} of the run's own noise"
        if self.stood_out and point.averaged:
            return Severity.WARNING, f"{out}, and each logged value stands for many steps"
        if self.stood_out and self.before[1]:
            return Severity.WARNING, f"{out}, and it lasts"
        return Severity.INFO, f"{out}: " + ("one point so far" if self.stood_out else "within this run's noise")

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "earlier": self.earlier.state(),
            "before": list(self.before),
            "stood_out": self.stood_out,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.earlier.restore(state["earlier"])
        self.before = (state["before"][0], state["before"][1])
        self.stood_out = state["stood_out"]
