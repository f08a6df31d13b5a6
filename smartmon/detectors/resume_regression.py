"""`resume_regression`: after a resume the loss is worse than it was at the same steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from smartmon import stats
from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.earlier import percent_text
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

_T = TypeVar("_T")

KEPT = 120
DENSE = 50
"""The newest losses that are all kept; of older ones every other is dropped again and again."""
SURE = 15
"""Pairs from which it lasts; before, it may be the bump of an optimizer that warms up again."""
LAST = 5
"""The newest of them, which must still stand out."""
LARGE = math.log(1.5)
"""A rise that is no warm-up."""
PAIRS = 60
"""Pairs after which a resume that was not worse has proved itself."""
BESIDE = 20
"""Losses before and after that are compared where no step was done twice."""


class ResumeRegression(Params):
    """Fires when, after a resume, the loss of redone steps is worse: `d = log new - log old` for each step done twice,
    and `median(d) > max(min_rise, 4 x 1.2533 x 1.4826 x MAD(d) / sqrt(n))` over at least `pairs` of them.

    Where the log's interval changed, the mean of the old losses since the last new one stands for the old loss. Where
    fewer steps are done twice, the first 20 losses are compared with the last 20 before, at twice those margins. Info
    until the 15th pair, and for a bump that has passed by then; then, or once half again as high, a warning: the
    optimizer's state, the data's order or the weights did not come back. Gets wrong: a resume with other settings on
    purpose (more or harder data, another loss). Losses of 0 and below, and those of reinforcement learning, say nothing
    here.
    """

    enabled: bool = Field(True, description="Whether to compare a resumed run with what it was before.")
    min_rise: float = Field(
        0.05, gt=0, le=10, description="Smallest lasting rise of the loss over a resume that counts, as a logarithm."
    )
    pairs: int = Field(10, ge=5, le=50, description="Steps done twice that a verdict needs.")


class Regression(Detector):
    """The state of `resume_regression`: the last losses of this attempt and of the one that it goes on from."""

    kind: ClassVar[str] = "resume_regression"
    Params = ResumeRegression
    metrics = frozenset({"loss"})

    def __init__(self, params: ResumeRegression) -> None:
        super().__init__(params)
        self.steps: list[int] = []
        self.logs: list[float] = []
        """The logarithms of this attempt's losses, by step, and of those before it that it has not redone yet."""
        self.old_steps: list[int] = []
        self.old: list[float] = []
        """The earlier attempt's, from the step of the resume on: taken away as they are redone."""
        self.before: list[float] = []
        """Its last ones before that step."""
        self.began: int | None = None
        """The step of the resume that is on trial; None when none is."""
        self.first: list[float] = []
        self.pairs: list[float] = []
        self.told = 0
        """0 nothing, 1 info, 2 a warning."""
        self.level = 0.0
        """Where the loss of the earlier attempt was at its end: what a regression has to come back to."""
        self.origin: int | None = None
        """The run's first step: one that goes back there begins anew, or counts its steps by epoch."""

    def observe(self, moment: Moment) -> Iterable[Outcome]:
        """Learn a loss, and compare it while a resume is on trial."""
        loss = moment.fresh["loss"]
        if not 0 < loss < math.inf or moment.rewards:
            return ()
        step, u = moment.step, math.log(loss)
        if self.origin is None:
            self.origin = step
        if self.steps and step <= self.steps[-1]:
            self.steps.pop()
            self.logs.pop()
        self.steps.append(step)
        self.logs.append(u)
        if len(self.steps) > KEPT:
            self.steps, self.logs = _thinned(self.steps), _thinned(self.logs)
        if self.began is None:
            moment.said(self.kind, "loss", None, "no resume on trial")
            return ()
        return self._compare(moment, u)

    def _compare(self, moment: Moment, u: float) -> list[Outcome]:
        passed = 0
        while passed < len(self.old_steps) and self.old_steps[passed] <= moment.step:
            passed += 1
        if passed:
            self.pairs = [*self.pairs[1 - PAIRS :], u - sum(self.old[:passed]) / passed]
            self.old_steps, self.old = self.old_steps[passed:], self.old[passed:]
        if len(self.first) < BESIDE:
            self.first.append(u)
        if self.told == 2:
            return self._recovered()
        firing = self._of_pairs(moment) if passed else None
        if firing is None and len(self.first) == BESIDE and len(self.pairs) < SURE:
            firing = self._beside(moment)
            self.first.append(u)
        if firing is None and (len(self.pairs) >= PAIRS or (not self.old and len(self.first) > BESIDE)):
            self._acquit()
        moment.said(self.kind, "loss", firing, f"{len(self.pairs)} steps compared with the attempt before")
        return [] if firing is None else [firing]

    def _of_pairs(self, moment: Moment) -> Firing | None:
        n = len(self.pairs)
        if n < self.params.pairs:
            return None
        rise, limit = self._verdict(self.pairs)
        if rise <= limit:
            return None
        now = stats.median(self.pairs[-LAST:])
        lasts = now > LARGE if n < SURE else now > limit
        if not lasts and (self.told or n >= SURE):
            return None
        severity = Severity.WARNING if lasts else Severity.INFO
        if severity is Severity.INFO and self.told:
            return None
        return self._firing(moment, rise, limit, f"over {n} steps done twice", severity)

    def _verdict(self, pairs: list[float]) -> tuple[float, float]:
        """Return the median of the differences and how high it may be by chance."""
        ordered = sorted(pairs)
        rise = stats.middle(ordered)
        noise = stats.MAD_TO_SIGMA * stats.deviation(ordered, rise)
        return rise, max(self.params.min_rise, 4 * 1.2533 * noise / math.sqrt(len(pairs)))

    def _beside(self, moment: Moment) -> Firing | None:
        """Compare the first losses with the last ones before, where there are no pairs to compare."""
        if len(self.before) < BESIDE // 2:
            return None
        ordered = sorted(self.before)
        then, now = stats.middle(ordered), stats.median(self.first)
        noise = stats.MAD_TO_SIGMA * stats.deviation(ordered, then)
        limit = 2 * max(self.params.min_rise, 4 * 1.2533 * noise / math.sqrt(len(ordered)))
        if now - then <= limit or stats.median(self.first[-LAST:]) - then <= limit:
            return None
        return self._firing(moment, now - then, limit, f"in its first {BESIDE} values", Severity.WARNING)

    def _firing(self, moment: Moment, rise: float, limit: float, where: str, severity: Severity) -> Firing:
        began, loss = self.began, moment.fresh["loss"]
        assert began is not None
        self.told = 2 if severity is Severity.WARNING else 1
        percent = percent_text(100 * math.expm1(min(rise, 100.0)))
        so_far = "" if severity is Severity.WARNING else " so far: that may pass"
        text = (
            f"loss is {percent} % higher than before the resume at step {began:,}, {where}{so_far} "
            f"({number(loss)} at step {moment.step:,})."
        )
        expected = loss / math.exp(min(rise, 100.0))
        return Firing(
            self.kind, "loss", loss, expected, expected * math.exp(min(limit, 100.0)), severity,
            f"resume_regression_{percent}pct", text, began, max(0, began - 1), {"pairs": len(self.pairs)},
        )  # fmt: skip

    def _recovered(self) -> list[Outcome]:
        """Say that it is over once the loss is back: where the earlier attempt was at that step, or at its end."""
        redone = bool(self.old) and len(self.pairs) >= LAST
        last = self.pairs[-2 * LAST :] if redone else [u - self.level for u in self.logs[-2 * LAST :]]
        if len(last) < LAST or stats.median(last) > self.params.min_rise / 2:
            return []
        self._acquit()
        return [Over(self.kind, "the loss is back where it was before the resume")]

    def _acquit(self) -> None:
        """End the trial."""
        self.began, self.told = None, 0
        self.first, self.pairs, self.old_steps, self.old, self.before = [], [], [], [], []

    def resume(self, step: int) -> None:
        """Put what comes now on trial against what was known before."""
        # What was found to be worse is no measure, and what was not redone yet still is.
        worse_from = self.began if self.told == 2 and self.began is not None else math.inf
        known = [(s, u) for s, u in zip(self.steps, self.logs) if s < worse_from]
        steps = [s for s, _ in known] + self.old_steps
        logs = [u for _, u in known] + self.old
        while len(steps) > KEPT:
            steps, logs = _thinned(steps), _thinned(logs)
        self._acquit()
        at = next((i for i, s in enumerate(steps) if s >= step), len(steps))
        self.old_steps, self.old = steps[at:], logs[at:]
        self.before = logs[max(0, at - BESIDE) : at]
        self.steps, self.logs = steps[:at], logs[:at]
        self.level = stats.median(logs[-BESIDE:]) if logs else 0.0
        anew = self.origin is None or step <= self.origin
        self.began = None if anew or len(logs) < BESIDE // 2 else step

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
        for name in ("steps", "logs", "old_steps", "old", "before", "first", "pairs"):
            setattr(self, name, list(getattr(self, name)))


def _thinned(values: list[_T]) -> list[_T]:
    return values[:-DENSE:2] + values[-DENSE:]
