"""`nonfinite`: NaN, infinity, and the NaN that a trainer's log hides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from smartmon import stats
from smartmon.detectors.base import Detector, Moment, Outcome
from smartmon.detectors.signal import Firing, Point, Trace, Verdict
from smartmon.params import Params
from smartmon.records import Severity

ZERO = 1e-8
RECENT = 20
SEVERAL = 3
"""So many of the recent losses, not in a row, are as bad as `persist` in a row."""
GRADS = 100
OWN = ("loss", "eval_loss")
"""Losses with rules of their own."""
MOST_OTHERS = 32
"""Other losses that are followed at once."""


class NonFinite(Params):
    """Fires on every loss, evaluation loss or gradient norm that is no finite number.

    Loss: one is a warning (CTC-like losses do this), `persist` in a row or 3 of the last 20 critical, a non-finite
    evaluation loss critical at once. Masked: a loss of exactly 0 after a median above 0.01, with a gradient norm of 0
    or NaN or for the second time in a row, is what Hugging Face's `logging_nan_inf_filter` makes of NaN: critical.
    Gradient norm with a finite loss: info (a scaler skipping), a warning for 5 in a row or over 10 % of the last 100.
    Any other metric with "loss" in its name: a warning, critical for `persist` in a row; not in reinforcement learning,
    where a part of the loss may have had no samples. Gets wrong: a loss that really reaches 0 twice, by memorising.
    """

    enabled: bool = Field(True, description="Whether to look for NaN and infinity.")
    persist: int = Field(2, ge=1, le=1000, description="Non-finite losses in a row that make it critical.")
    masked: bool = Field(
        True, description="Whether a loss of exactly 0 counts as a NaN hidden by Hugging Face's logging_nan_inf_filter."
    )


class NotNumbers:
    """The state of `nonfinite` for one attempt."""

    def __init__(self) -> None:
        self.finite: list[float] = []
        self.flags: list[bool] = []
        """For the last losses, whether each was non-finite."""
        self.zeros = 0
        self.grads: list[bool] = []
        self.grads_in_row = 0

    def loss(
        self, params: NonFinite, point: Point, grad: float | None, *, may_hide: bool, trace: Trace = None
    ) -> tuple[Firing | None, bool]:
        """Test one loss; return what fired, and whether the value is a number that others may learn from.

        `may_hide` says that a zero can be a hidden NaN here: the run is moving and is no reinforcement learning.
        """
        value = point.value
        hidden = False
        if math.isfinite(value):
            hidden = may_hide and params.masked and abs(value) < ZERO and self._was_positive()
            self.zeros = self.zeros + 1 if hidden else 0
            if not hidden:
                self.finite = [*self.finite[1 - RECENT :], value]
        bad = not math.isfinite(value)
        proven = hidden and (self.zeros >= 2 or (grad is not None and (grad == 0 or not math.isfinite(grad))))
        self.flags = [*self.flags[1 - RECENT :], bad]
        firing = None
        if bad:
            firing = self._bad_loss(params, point)
        elif proven:
            firing = _firing(
                point,
                Severity.CRITICAL,
                "masked",
                f"loss is exactly 0 at step {point.step:,} after {stats.median(self.finite):.4g}: a NaN hidden by "
                "Hugging Face's logging_nan_inf_filter. Set logging_nan_inf_filter=False to see it; "
                "the weights are likely lost.",
            )
        _trace(trace, point, firing, params)
        return (firing if params.enabled else None), not bad and not hidden

    def _was_positive(self) -> bool:
        return bool(self.finite) and stats.median(self.finite) > 0.01

    def _bad_loss(self, params: NonFinite, point: Point) -> Firing:
        in_row = 0
        for flag in reversed(self.flags):
            if not flag:
                break
            in_row += 1
        persists = in_row >= min(params.persist, RECENT) or (params.persist <= SEVERAL <= sum(self.flags))
        name = _name(point.value)
        text = f"loss is {_shown(name)} at step {point.step:,}"
        if persists:
            text += f", {in_row} in a row" if in_row > 1 else f", {sum(self.flags)} of the last {len(self.flags)}"
        return _firing(point, Severity.CRITICAL if persists else Severity.WARNING, name, text + ".")

    def eval_loss(self, params: NonFinite, point: Point, *, trace: Trace = None) -> Firing | None:
        """Test one evaluation loss: a non-finite one says that the weights are gone."""
        firing = None
        if not math.isfinite(point.value):
            name = _name(point.value)
            firing = _firing(
                point, Severity.CRITICAL, name, f"{point.metric} is {_shown(name)} at step {point.step:,}."
            )
        _trace(trace, point, firing, params)
        return firing if params.enabled else None

    def grad(self, params: NonFinite, point: Point, *, loss_finite: bool, trace: Trace = None) -> Firing | None:
        """Test one gradient norm; beside a non-finite loss it says nothing new."""
        bad = not math.isfinite(point.value)
        if bad or any(self.grads):
            self.grads = [*self.grads[1 - GRADS :], bad]
        elif len(self.grads) < GRADS:
            self.grads.append(bad)
        self.grads_in_row = self.grads_in_row + 1 if bad else 0
        firing = None
        if bad and loss_finite:
            many = self.grads_in_row >= 5 or (len(self.grads) >= 20 and sum(self.grads) > 0.1 * GRADS)
            name = _name(point.value)
            text = f"grad_norm is {_shown(name)} at step {point.step:,} while the loss is finite"
            text += (
                f": {sum(self.grads)} of the last {len(self.grads)}." if many else ": a loss scaler skips such steps."
            )
            firing = _firing(point, Severity.WARNING if many else Severity.INFO, name, text)
        _trace(trace, point, firing, params)
        return firing if params.enabled else None

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return vars(self) | {"finite": list(self.finite), "flags": list(self.flags), "grads": list(self.grads)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)


class OtherLosses(Detector):
    """The parts of a loss, and losses of other data: one that is no finite number is as telling as the loss itself."""

    kind = "nonfinite"
    Params = NonFinite

    def __init__(self, params: NonFinite) -> None:
        super().__init__(params)
        self.in_row: dict[str, int] = {}

    def observe(self, moment: Moment) -> Iterable[Outcome]:
        """Look at every metric of a row whose name says that it is a loss."""
        if not self.in_row and all(map(math.isfinite, moment.fresh.values())):
            return
        for metric, value in moment.fresh.items():
            if "loss" not in metric.lower() or metric in OWN or moment.rewards:
                continue
            if math.isfinite(value):
                self.in_row.pop(metric, None)
            elif metric in self.in_row or len(self.in_row) < MOST_OTHERS:
                count = self.in_row[metric] = min(self.in_row.get(metric, 0) + 1, self.params.persist)
                severity = Severity.CRITICAL if count >= self.params.persist else Severity.WARNING
                name = _name(value)
                text = f"{metric} is {_shown(name)} at step {moment.step:,}."
                yield _firing(Point(metric, moment.step, value), severity, name, text)

    def resume(self, step: int) -> None:  # noqa: ARG002
        """Begin anew."""
        self.in_row = {}

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {"in_row": dict(self.in_row)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.in_row = dict(state["in_row"])


def _name(value: float) -> str:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _shown(name: str) -> str:
    return {"nan": "NaN", "inf": "infinite", "-inf": "minus infinity"}[name]


def _firing(point: Point, severity: Severity, word: str, text: str) -> Firing:
    reason = f"nonfinite_{point.metric}_{word.replace('-', 'minus_')}"
    return Firing("nonfinite", point.metric, point.value, None, None, severity, reason, text)


def _trace(trace: Trace, point: Point, firing: Firing | None, params: NonFinite) -> None:
    if trace is not None and params.enabled:
        severity = None if firing is None else firing.severity
        text = "finite" if firing is None else firing.message
        trace.append(Verdict("nonfinite", point.metric, point.value, None, None, firing is not None, severity, text))
