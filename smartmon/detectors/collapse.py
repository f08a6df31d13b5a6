"""`collapse`: a loss that drops to about 0 at once, or reinforcement learning that has nothing left to learn from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import Field

from smartmon import stats
from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.nonfinite import ZERO
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

RECENT = 20
"""Observations in a row that say it."""
FIRST = 5
EARLY = 10
"""First observations whose median is the early level of an entropy or a reward's spread."""
BACK = 5.0
"""Times the limit from which it is over."""
_SAME = "all answers to a prompt earn the same, so there is nothing to learn from"
_NARROW = "the policy is sure of every token and tries nothing else"
_CLIPPED = "answers no longer end by themselves"
SIGNS = {
    "entropy": ("entropy", _NARROW),
    "actor/entropy": ("entropy", _NARROW),
    "reward_std": ("spread", _SAME),
    "frac_reward_zero_std": ("share", _SAME),
    "completions/clipped_ratio": ("share", _CLIPPED),
    "response_length/clip_ratio": ("share", _CLIPPED),
}
"""What reinforcement learning logs besides its loss: how it is judged, and what its collapse means."""


class Collapse(Params):
    """Fires when the median of the last 20 losses is below `share` of the first five's and below `zero`, and was 10
    times as high 20 losses before: a cliff, as a label that leaks or an emptied batch makes. Memorising, which takes
    its time, is none. Losses of exactly 0 are `nonfinite`'s, but for a run that never had another one. A loss means
    nothing where rewards are logged.

    There it fires when for 20 logs `entropy` is below `spread` of its early level, `reward_std` below a fifth of that
    share, `frac_reward_zero_std` or `completions/clipped_ratio` at least `stuck` (info where answers were clipped from
    the start). Warning, never critical. Gets wrong: a task that really is solved in a few steps; rewards that are all
    right because the task is learnt.
    """

    enabled: bool = Field(True, description="Whether to look for a loss, an entropy or a reward spread that collapses.")
    share: float = Field(0.01, gt=0, lt=1, description="Share of the first losses below which a loss has collapsed.")
    zero: float = Field(0.02, gt=0, description="Loss below which it may count as about 0, whatever it was at first.")
    spread: float = Field(
        0.05, gt=0, lt=1, description="Share of its early level below which an entropy has collapsed."
    )
    stuck: float = Field(
        0.99, gt=0.5, le=1, description="Share of prompts without reward spread, or of clipped answers, that is all."
    )


class Collapsed(Detector):
    """The state of `collapse`: the first and the last values of the loss and of each sign."""

    kind: ClassVar[str] = "collapse"
    Params = Collapse
    metrics = frozenset({"loss", *SIGNS})

    def __init__(self, params: Collapse) -> None:
        super().__init__(params)
        self.first: list[float] = []
        self.start = 0.0
        """Their median."""
        self.losses: list[float] = []
        """The last 40."""
        self.floor = math.inf
        """The lowest loss before those: a run that was there already comes back from trouble."""
        self.since = 0
        """Losses below the limit in a row."""
        self.early: dict[str, list[float]] = {}
        """Of each sign, the first values."""
        self.held: dict[str, int] = {}
        """Of each sign, the logs in a row for which it has been so."""
        self.open: list[str] = []
        """The metrics that were told."""

    def observe(self, moment: Moment) -> Iterable[Outcome]:
        """Judge and learn a loss, or the signs of reinforcement learning."""
        fresh = moment.fresh
        if not moment.rewards:
            loss = fresh.get("loss")
            return self._loss(moment, loss) if loss is not None else ()
        found: list[Outcome] = []
        for metric in SIGNS:
            value = fresh.get(metric)
            if value is not None and math.isfinite(value):
                found += self._sign(moment, metric, value)
        return found

    def _loss(self, moment: Moment, loss: float) -> Iterable[Outcome]:
        if not math.isfinite(loss):
            return ()
        if abs(loss) < ZERO:
            return self._nothing(moment) if not self.first else ()
        if len(self.first) < FIRST:
            self.first.append(loss)
            self.start = stats.median(self.first)
        self.losses.append(loss)
        if len(self.losses) > 2 * RECENT:
            self.floor = min(self.floor, self.losses.pop(0))
        limit = min(self.params.share * self.start, self.params.zero)
        low = 0 < loss < limit
        self.since = self.since + 1 if low else 0
        if "loss" in self.open:
            back = not low and stats.median(self.losses[-RECENT:]) >= BACK * limit
            return self._over("loss", f"the loss is back at {number(loss)}") if back else ()
        if self.since < RECENT // 2 or len(self.losses) < RECENT + 3:
            return ()
        now, before = stats.median(self.losses[-RECENT:]), stats.median(self.losses[:-RECENT])
        if now >= limit or before < 10 * now or self.floor < BACK * limit:
            text = "low, but it came there by and by, or was there before"
            moment.said(self.kind, "loss", None, text, expected=self.start, limit=limit)
            return ()
        text = (
            f"loss fell from {number(before)} to {number(now)} within {RECENT} values and stays there (first "
            f"{number(self.start)}), at step {moment.step:,}: labels that leak into the input, or data that says "
            "nothing."
        )
        return self._told(moment, "loss", loss, text, start=self.start, limit=limit)

    def _nothing(self, moment: Moment) -> Iterable[Outcome]:
        """Judge a loss of exactly 0 in a run that never had another one."""
        self.since += 1
        if self.since < RECENT // 2 or "loss" in self.open or moment.latest.get("grad_norm", 0.0) != 0:
            return ()
        text = f"loss has been exactly 0 from the first step to step {moment.step:,}: no label reaches it."
        return self._told(moment, "loss", 0.0, text, start=None, limit=ZERO)

    def _sign(self, moment: Moment, metric: str, value: float) -> Iterable[Outcome]:
        how, meaning = SIGNS[metric]
        early = self.early.setdefault(metric, [])
        if len(early) < EARLY:
            early.append(value)
        level = stats.median(early)
        if how == "share":
            limit, bad = self.params.stuck, value >= self.params.stuck
        else:
            limit = level * self.params.spread / (5 if how == "spread" else 1)
            bad = level > 0 and value < limit
        self.held[metric] = min(self.held.get(metric, 0) + 1, RECENT) if bad else 0
        if not bad:
            return self._over(metric, f"{metric} is back at {number(value)}")
        if self.held[metric] < RECENT or metric in self.open:
            return ()
        text = (
            f"{metric} has been {'at' if how == 'share' else 'down to'} {number(value)} for {RECENT} logs at step "
            f"{moment.step:,} (early on {number(level)}): {meaning}."
        )
        # Answers are often cut short by choice; then that is how the run began.
        usual = "clip" in metric and level >= self.params.stuck
        severity = Severity.INFO if usual else Severity.WARNING
        return self._told(moment, metric, value, text, start=level, limit=limit, severity=severity)

    def _told(
        self,
        moment: Moment,
        metric: str,
        value: float,
        text: str,
        *,
        start: float | None,
        limit: float,
        severity: Severity = Severity.WARNING,
    ) -> Iterable[Outcome]:
        self.open = [*self.open, metric]
        reason = f"collapse_{metric.replace('/', '_')}"
        firing = Firing(self.kind, metric, value, start, limit, severity, reason, text)
        moment.said(self.kind, metric, firing, "")
        return (firing,)

    def _over(self, metric: str, text: str) -> Iterable[Outcome]:
        """Strike a metric from those that were told; the incident is over with the last of them."""
        if metric not in self.open:
            return ()
        self.open = [name for name in self.open if name != metric]
        return () if self.open else (Over(self.kind, text),)

    def resume(self, step: int) -> None:  # noqa: ARG002
        """The run went back: what stood out is judged anew, against the same first values."""
        self.losses, self.since, self.held, self.open = [], 0, {}, []
        self.floor = math.inf

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
        self.first, self.losses, self.held = list(self.first), list(self.losses), dict(self.held)
        self.early = {metric: list(values) for metric, values in self.early.items()}
