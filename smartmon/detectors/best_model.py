"""`best_model`: a new lowest loss worth keeping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from smartmon.detectors.earlier import beyond
from smartmon.detectors.signal import Firing, Point, Trace, Verdict
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number


class BestModel(Params):
    """Fires when `value < last announced best x (1 - min_improvement)`; the first value sets the baseline.

    Always info: good news wakes nobody. With `metric = "auto"` the evaluation loss counts once the run has one, and
    starts a new baseline. Gets wrong: one lucky batch of a noisy per-step loss is announced as best.
    """

    enabled: bool = Field(True, description="Whether to announce and keep new best models.")
    metric: str = Field(
        "auto",
        min_length=1,
        description='Metric whose lowest value is best; "auto": eval_loss once there is one, else loss.',
    )
    min_improvement: float = Field(
        0.02, ge=0, lt=1, description="How far below the last announced best, as a share: 0.02 is 2 %."
    )


class Best:
    """The state of `best_model` for one run; it outlives a resume."""

    def __init__(self) -> None:
        self.metric = ""
        self.announced: float | None = None
        self.lowest: float | None = None
        self.lowest_step: int | None = None
        self.step: int | None = None
        """The step last judged, and in `before` what was known before it: its value may be told again."""
        self.before: tuple[float | None, float | None, int | None] = (None, None, None)

    def judge(self, params: BestModel, point: Point, *, trace: Trace) -> Firing | None:
        """Test one finite value of any metric; values of another metric than the one in use are passed over."""
        if not self._counts(params, point.metric):
            return None
        if point.metric != self.metric:
            self.metric, self.announced, self.lowest, self.lowest_step = point.metric, None, None, None
            self.step = None
        if point.step == self.step:
            self.announced, self.lowest, self.lowest_step = self.before
        self.step, self.before = point.step, (self.announced, self.lowest, self.lowest_step)
        before = self.announced
        limit = None if before is None else before - params.min_improvement * abs(before)
        if self.lowest is None or point.value < self.lowest:
            self.lowest, self.lowest_step = point.value, point.step
        fired = limit is not None and beyond(-point.value, -limit)
        if before is None or fired:
            self.announced = point.value
        if not fired or before is None:
            if trace is not None:
                text = "the first value sets the baseline"
                if limit is not None:
                    text = f"{number(point.value)} is not below {number(limit)}"
                trace.append(Verdict("best_model", point.metric, point.value, before, limit, False, None, text))
            return None
        shown = f"{point.value:.4f}" if abs(point.value) >= 0.001 else f"{point.value:.3e}"
        message = f"{point.metric} {shown} at step {point.step:,} is the lowest so far (before: {number(before)})."
        if trace is not None:
            trace.append(Verdict("best_model", point.metric, point.value, before, limit, True, Severity.INFO, message))
        reason = f"best_model_{point.metric}_{shown}"
        return Firing("best_model", point.metric, point.value, before, limit, Severity.INFO, reason, message)

    def _counts(self, params: BestModel, metric: str) -> bool:
        if params.metric != "auto":
            return metric == params.metric
        return metric == "eval_loss" or (metric == "loss" and self.metric != "eval_loss")

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return vars(self) | {"before": list(self.before)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
        announced, lowest, lowest_step = state["before"]
        self.before = (announced, lowest, lowest_step)
