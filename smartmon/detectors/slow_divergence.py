"""`slow_divergence`: a loss that drifts away from the best level it had, too slowly for any single point to say so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.stats import MAD_TO_SIGMA, median
from smartmon.text import number

BLOCK, BLOCK_AVERAGED = 100, 50
"""Values to a block; half of that where one observation averages ten steps or more."""
EVERY = 10
"""Values between two looks."""
HOLD = 5
"""Looks in a row that must say the same: 50 values."""
KNOWN_BLOCKS = 10
"""How many of the last blocks say how far blocks differ."""
SETTLED = 1000
"""Values after which a level that rises no further is the normal one."""


class SlowDivergence(Params):
    """Fires when the mean of the last 100 losses stays above the best block's by more than `min_rise`, for 50 values.

    A warning. Means are of logarithms, of values within 4 deviations of the level; blocks are of 100 such values (50
    where each averages ten steps) and do not overlap, or the best would be best by chance. The margin is
    `max(log(1 + min_rise), sigmas x deviation / sqrt(100))`, and never less than four deviations of what the run's own
    blocks differ by. It is over when the mean is back within half the margin, or has risen no further for 1,000 values.
    Judges neither reinforcement learning nor losses at or below 0. Gets wrong: a new stage of harder data, which looks
    like damage; and the first blocks of a steep descent, where it waits.
    """

    enabled: bool = Field(True, description="Whether to look for a loss that drifts away slowly.")
    min_rise: float = Field(
        0.08, gt=0, le=10, description="Smallest rise above the best level that counts, as a share: 0.08 is 8 %."
    )
    sigmas: float = Field(6.0, ge=2, le=100, description="Standard errors of a block's mean that the rise must exceed.")


class Drift(Detector):
    """The state of `slow_divergence` for one attempt."""

    kind = "slow_divergence"
    Params = SlowDivergence
    metrics = frozenset({"loss"})

    def __init__(self, params: SlowDivergence) -> None:
        super().__init__(params)
        self.window: list[tuple[int, float]] = []
        """Step and logarithm of the last values."""
        self.count = 0
        """Values taken in."""
        self.blocks: list[float] = []
        """Means of the last whole blocks."""
        self.best: float | None = None
        self.best_step = 0
        self.up = 0
        """Looks in a row that found the level up."""
        self.onset = 0
        self.open_at: int | None = None
        """How many values had been taken in when it fired, or when the level last rose further."""
        self.highest = 0.0
        """The mean then."""
        self.was_diverging = False

    def observe(self, moment: Moment) -> Iterable[Outcome]:
        """Take one loss in, and look every ten."""
        value = moment.fresh["loss"]
        if self._left_to_divergence(moment) or not math.isfinite(value) or value <= 0:
            return
        if moment.held or moment.rewards or not moment.loss_level.last_accepted or not moment.loss_level.log:
            return
        # As the level knows it: without what is usual at this place of an epoch.
        u = math.log(moment.loss_level.raw[-1])
        if self.window and self.window[-1][0] == moment.step:
            self.window[-1] = (moment.step, u)
            return
        size = BLOCK_AVERAGED if moment.averaged else BLOCK
        self.window.append((moment.step, u))
        del self.window[:-BLOCK]
        self.count += 1
        if self.count % EVERY == 0 and len(self.window) >= size:
            yield from self._look(moment, value, size)

    def _left_to_divergence(self, moment: Moment) -> bool:
        """Whether `divergence` has the word. What it told of is told: the level after it is the new one."""
        if moment.loss_open is not None:
            self.was_diverging = True
            return True
        if self.was_diverging:
            self.was_diverging = False
            self._begin()
        return False

    def _begin(self) -> None:
        self.window, self.blocks, self.best, self.up, self.count = [], [], None, 0, 0

    def _look(self, moment: Moment, value: float, size: int) -> Iterable[Outcome]:
        now = sum(u for _, u in self.window[-size:]) / size
        limit = math.inf if self.best is None else self.best + self._margin(moment, size)
        outcomes = list(self._verdict(moment, value, now, limit))
        if self.count % size == 0:
            self.blocks = [*self.blocks[1 - KNOWN_BLOCKS :], now]
            if self.best is None or now < self.best:
                self.best, self.best_step = now, moment.step
        return outcomes

    def _margin(self, moment: Moment, size: int) -> float:
        """Return how far above the best block is too far: in the logarithm."""
        error = moment.loss_level.sigma / math.sqrt(size)
        steps = [after - before for before, after in pairwise(self.blocks)]
        wander = 0.0
        if len(steps) >= 4:
            usual = median(steps)
            wander = MAD_TO_SIGMA * median(abs(step - usual) for step in steps) / math.sqrt(2)
        least: float = math.log1p(self.params.min_rise)
        return max(least, float(self.params.sigmas) * error, 4 * wander)

    def _verdict(self, moment: Moment, value: float, now: float, limit: float) -> Iterable[Outcome]:
        best = self.best if self.best is not None else now
        if self.open_at is not None:
            yield from self._over(now, best, limit)
            return
        self.up = self.up + 1 if now > limit else 0
        if self.up == 1:
            self.onset = moment.step
        firing = None
        if self.up >= HOLD:
            firing = self._firing(value, moment.step, now, best, limit)
            self.open_at, self.highest, self.up = self.count, now, 0
            yield firing
        rise = 100 * math.expm1(now - best)
        text = f"the mean of the last {len(self.window)} values is {rise:.1f} % above the best block's"
        moment.said(self.kind, "loss", firing, text, expected=math.exp(best), limit=_exp(limit))

    def _firing(self, value: float, step: int, now: float, best: float, limit: float) -> Firing:
        text = (
            f"loss drifts away: the mean of the last {len(self.window)} values is {number(math.exp(now))} at step "
            f"{step:,}, {100 * math.expm1(now - best):.0f} % above the best level of {number(math.exp(best))} "
            f"at step {self.best_step:,}."
        )
        evidence = {"best_step": self.best_step, "rise": math.expm1(now - best)}
        return Firing(
            self.kind, "loss", value, math.exp(best), _exp(limit), Severity.WARNING, "slow_divergence", text,
            self.onset, self.best_step, evidence,
        )  # fmt: skip

    def _over(self, now: float, best: float, limit: float) -> Iterable[Outcome]:
        if now > self.highest + math.log1p(self.params.min_rise) / 4:
            self.highest, self.open_at = now, self.count
        if now <= (best + limit) / 2:
            yield Over(self.kind, f"back near its best level of {number(math.exp(best))}")
        elif self.count - (self.open_at or 0) >= SETTLED:
            yield Over(self.kind, f"settled {100 * math.expm1(now - best):.0f} % higher")
            self.best = now
        else:
            return
        self.open_at, self.up = None, 0

    def resume(self, step: int) -> None:
        """Forget the values that are going to be told again; an incident ends with its attempt."""
        self.window = [pair for pair in self.window if pair[0] < step]
        self.open_at, self.up = None, 0

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
        self.window = [(step, u) for step, u in state["window"]]
        self.blocks = list(state["blocks"])


def _exp(u: float) -> float:
    return math.exp(min(u, 700.0))
