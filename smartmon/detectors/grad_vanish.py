"""`grad_vanish`: a gradient norm of almost nothing, or of exactly nothing: the run learns no more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pydantic import Field

from smartmon import stats
from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

BACK = 3
"""Norms in a row that say that the gradients are back."""
FROM_START = 100
"""Zeros in a row that count where the norm was never anything else: some trainers log it as 0 for good."""
LOSSES = 100
TINY_LOSS = 1e-3
"""A loss this small has nothing left to teach: that its gradients are 0 is no fault."""


class GradVanish(Params):
    """Fires when the gradient norm is at most `share` of its level before, for `points` points: info.

    A warning when it is exactly 0 for `zeros` points in a row while the learning rate is above 0 and the loss does not
    fall (the median of its later half is not below that of its earlier half by two standard errors, each 1.25 x
    deviation x sqrt(2 / n)): nothing is being learned. From the start of a run 100 zeros are asked for, and less than
    one standard error, since some trainers log no norm but 0. In reinforcement learning, and where the loss is below
    0.001, it stays info: with equal rewards, or all learned, no gradient is due.
    Gets wrong: a slow fading, which becomes the level; a norm rounded to 0 by its log.
    """

    enabled: bool = Field(True, description="Whether to look for vanishing gradients.")
    share: float = Field(0.01, gt=0, lt=1, description="Share of the level before that is almost nothing.")
    points: int = Field(50, ge=5, le=10_000, description="Norms in a row that must be so small to be recorded.")
    zeros: int = Field(20, ge=5, le=10_000, description="Norms of exactly 0 in a row that are sent.")


class GradVanishes(Detector):
    """The gradient norm against what it was before it became so small."""

    kind: ClassVar[str] = "grad_vanish"
    Params = GradVanish
    metrics = frozenset({"grad_norm", "loss"})

    params: GradVanish

    def __init__(self, params: GradVanish) -> None:
        super().__init__(params)
        self.usual = 0.0
        """The level while the norm is not small."""
        self.onset: int | None = None
        self.small = 0
        """Norms in a row that were almost nothing."""
        self.zeros = 0
        self.losses: list[float] = []
        """The losses since the zeros began, the first and the last fifty."""
        self.open = -1
        """The rank of the severity told of; below 0 for none."""
        self.back = 0

    def observe(self, moment: Moment) -> Iterator[Outcome]:
        """Judge one norm; of the loss it takes but its fall."""
        fresh = moment.fresh
        value = fresh.get("grad_norm")
        if self.zeros and math.isfinite(loss := fresh.get("loss", math.nan)):
            self.losses.append(loss)
            if len(self.losses) > LOSSES:
                del self.losses[LOSSES // 2]
        # Below 0 is a trainer's word for a norm that it did not compute.
        if value is None or not math.isfinite(value) or value < 0:
            return
        if value > self.usual * self.params.share:
            if self.small:
                yield from self._larger()
            elif moment.grad is not None and moment.grad.known and moment.grad.center > 0:
                self.usual = moment.grad.center
            if moment.trace is not None:
                text = f"{number(value)} of {number(self.usual)} before"
                moment.said(self.kind, "grad_norm", None, text, expected=self.usual)
            return
        firing = self._smaller(moment, value)
        if firing is not None:
            yield firing
        if moment.trace is not None:
            text = f"almost nothing for {self.small} points, exactly 0 for {self.zeros}"
            moment.said(self.kind, "grad_norm", firing, text, expected=self.usual)

    def _larger(self) -> Iterator[Outcome]:
        """The norm is of its usual size again, for once or for good."""
        self.back += 1
        self.zeros, self.losses = 0, []
        if self.open >= 0 and self.back < BACK:
            return
        if self.open >= 0:
            yield Over(self.kind, "the gradients are back")
        self.small, self.onset, self.open, self.back = 0, None, -1, 0

    def _smaller(self, moment: Moment, value: float) -> Firing | None:
        params = self.params
        self.back = 0
        self.small += 1
        if self.onset is None:
            self.onset = moment.step
        self.zeros = self.zeros + 1 if value == 0 else 0
        if not self.zeros:
            self.losses = []
        elif self.zeros == 1 and math.isfinite(loss := moment.fresh.get("loss", math.nan)):
            self.losses = [loss]
        if self.open < Severity.WARNING.rank and self._nothing_learned(moment):
            text = (
                f"grad_norm is exactly 0 for {self.zeros} points up to step {moment.step:,} and the loss does not fall "
                f"({number(self.losses[-1])}): nothing is being learned."
            )
            return self._firing(value, Severity.WARNING, "grad_zero", text)
        if self.usual > 0 and self.open < 0 and self.small >= params.points:
            text = (
                f"grad_norm {number(value)} at step {moment.step:,} is at most {100 * params.share:g} % of its level "
                f"before ({number(self.usual)}), for {self.small} points."
            )
            return self._firing(value, Severity.INFO, "grad_vanish", text)
        return None

    def _nothing_learned(self, moment: Moment) -> bool:
        needed = self.params.zeros if self.usual > 0 else max(FROM_START, self.params.zeros)
        # Every tenth point is enough: what does not fall now does not fall ten points later.
        if self.zeros < needed or (self.zeros - needed) % 10 or moment.rewards:
            return False
        if moment.latest.get("learning_rate", 1.0) == 0 or len(self.losses) < self.params.zeros:
            return False
        return abs(self.losses[-1]) >= TINY_LOSS and not _falls(self.losses, 2.0 if self.usual > 0 else 1.0)

    def _firing(self, value: float, severity: Severity, reason: str, text: str) -> Firing:
        self.open = severity.rank
        onset = self.onset or 0
        limit = self.usual * self.params.share
        good = max(0, onset - max(10, onset // 100))
        return Firing(
            self.kind, "grad_norm", value, self.usual or None, limit, severity, reason, text, self.onset, good,
            {"points": self.small, "zeros": self.zeros},
        )  # fmt: skip

    def resume(self, step: int) -> None:  # noqa: ARG002
        """What was open is over; the level before is still known."""
        self.small, self.onset, self.zeros, self.losses, self.open, self.back = 0, None, 0, [], -1, 0

    def state(self) -> dict[str, Any]:
        """Return everything but the parameters."""
        return super().state() | {"losses": list(self.losses)}


def _falls(losses: Sequence[float], errors: float) -> bool:
    """Whether the later half lies below the earlier half by more than so many standard errors of the two medians."""
    half = len(losses) // 2
    early, late = sorted(losses[:half]), sorted(losses[-half:])
    before, after = stats.middle(early), stats.middle(late)
    sigma = stats.MAD_TO_SIGMA * max(stats.deviation(early, before), stats.deviation(late, after))
    return before - after > errors * 1.2533 * sigma * math.sqrt(2 / half)
