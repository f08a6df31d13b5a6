"""`nonfinite`: NaN, infinity, and the NaN that a trainer's log hides."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import Field

from smartmon import stats
from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.signal import Firing, Point, Trace, Verdict
from smartmon.params import Params
from smartmon.records import Severity

ZERO = 1e-8
RECENT = 20
SEVERAL = 3
"""So many of the recent losses, not in a row, are as bad as `persist` in a row."""
GRADS = 100
HABIT = 3
"""Gradient norms of the last hundred that are a habit, once a hundred are known: a loss scaler that seeks its scale
fails some times at the start, and then once in a thousand steps."""
OWN = frozenset({"loss", "eval_loss"})
"""Losses with rules of their own."""
MOST_OTHERS = 32
"""Other losses that are followed at once."""
SELDOM = 5
"""Values in a row that are asked where one that is no number now and then is usual."""
AGAIN = 100
"""Values in a row after which one that stays no number is told again."""
CALM = 20
"""Rows without any after which it is over."""
_NO_LOSS = frozenset(
    {"scale", "scaler", "weight", "coef", "coeff", "best", "min", "max", "lowest"}
    | {"mask", "ratio", "count", "num", "nan", "steps", "lr"}
)
"""Words that make of a name with `loss` in it something else: `loss scale`, `best_loss`."""
_NO_MEASURE = frozenset(
    {"epoch", "total_steps", "learning_rate", "grad_norm", "time", "eta_seconds", "gpu_memory_mb"}
    | {"tokens_per_sec", "samples_per_sec", "steps_per_sec"}
)
"""What a run tells beside the metric that it trains for."""


class NonFinite(Params):
    """Fires on every loss, evaluation loss or gradient norm that is no finite number.

    Loss: one is a warning (CTC-like losses do this), `persist` in a row or 3 of the last 20 critical, a non-finite
    evaluation loss critical at once. Masked: a loss of exactly 0 after a median above 0.01, with a gradient norm of 0
    or NaN or for the second time in a row, is what Hugging Face's `logging_nan_inf_filter` makes of NaN: critical.
    Gradient norm with a finite loss: info (a scaler skipping), a warning for 5 in a row, over 10 % of the last 100, or
    3 of them later than the first 100. Any other metric with the word loss in its name, or the only one of a run: a
    warning for `persist` in a row while the loss is finite, critical for 20 where the run has no other loss; in
    reinforcement learning, where a part may have had no samples, and for a perplexity, which overflows, 5 in a row are
    asked. Gets wrong: a loss that really reaches 0 twice, by memorising; a part that is NaN by design for a while.
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
            many = many or (len(self.grads) == GRADS and sum(self.grads) >= HABIT)
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
        self.told: list[str] = []
        """Those that were told of, until it is over."""
        self.calm = 0

    def observe(self, moment: Moment) -> Iterable[Outcome]:
        """Count the metrics of a row that are no numbers; one firing speaks for all that are news."""
        # What is no number is not equal to its difference with itself: the cheapest question for a row of many.
        bad = [name for name, value in moment.fresh.items() if value - value != 0]
        if not bad and not self.in_row and not self.told:
            return ()
        for name in [name for name in self.in_row if name in moment.fresh and name not in bad]:
            del self.in_row[name]
        alone = OWN.isdisjoint(moment.latest)
        for name in bad:
            judged = name not in OWN and (_patience(name) or (alone and _only(name, moment.latest)))
            if judged and (name in self.in_row or len(self.in_row) < MOST_OTHERS):
                self.in_row[name] = self.in_row.get(name, 0) + 1
        if not math.isfinite(moment.latest.get("loss", 0.0)):
            self.calm = 0
            return ()
        news = [name for name in self.in_row if name in bad and self._is_news(name, moment.rewards, alone)]
        if news:
            return (self._fire(moment, news, alone),)
        return self._over(moment)

    def _is_news(self, name: str, rewards: bool, alone: bool) -> bool:
        count = self.in_row[name]
        needed = max(self.params.persist, SELDOM if rewards or _patience(name) > 1 else 1)
        return bool(count == needed or (alone and count == max(RECENT, needed)) or count % AGAIN == 0)

    def _fire(self, moment: Moment, names: list[str], alone: bool) -> Firing:
        metric, step = names[0], moment.step
        self.told = [*self.told, *(name for name in names if name not in self.told)][-MOST_OTHERS:]
        self.calm = 0
        value, count = moment.fresh[metric], self.in_row[metric]
        word, also = _name(value), f", as {', '.join(names[1:4])}," if names[1:] else ""
        times = f", {count} in a row" if count > 1 else ""
        beside = " while the loss is finite" if "loss" in moment.latest else ""
        text = f"{metric}{also} is {_shown(word)} at step {step:,}{times}{beside}."
        severity = Severity.CRITICAL if alone and count >= RECENT else Severity.WARNING
        return _firing(Point(metric, step, value), severity, word, text)

    def _over(self, moment: Moment) -> Iterable[Outcome]:
        if any(name in self.in_row for name in self.told):
            self.calm = 0
        elif any(name in moment.fresh for name in self.told):
            self.calm += 1
        if not self.told or self.calm < CALM:
            return ()
        names, self.told, self.calm = self.told, [], 0
        return (Over(self.kind, f"{', '.join(names[:3])} finite again"),)

    def resume(self, step: int) -> None:  # noqa: ARG002
        """Begin anew."""
        self.in_row, self.told, self.calm = {}, [], 0

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {"in_row": dict(self.in_row), "told": list(self.told), "calm": self.calm}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.in_row, self.told, self.calm = dict(state["in_row"]), list(state["told"]), state["calm"]


def _only(name: str, known: Mapping[str, float]) -> bool:
    """Whether a metric is the only one that a run tells of its training."""
    return name not in _NO_MEASURE and known.keys() - _NO_MEASURE == {name}


def _name(value: float) -> str:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


@lru_cache(maxsize=4096)
def _patience(name: str) -> int:
    """Return whether a metric is a loss, by its name: 0 no, 1 yes, 2 one that overflows at times."""
    words = set(re.findall(r"[a-z]+", name.lower()))
    if words & {"perplexity", "ppl"}:
        return 2
    return 1 if words & {"loss", "losses"} and not words & _NO_LOSS else 0


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
