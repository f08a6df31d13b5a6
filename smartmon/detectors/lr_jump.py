"""`lr_jump`: a learning rate that jumps, or that is 0 although the schedule is not over. Never more than info."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

WARM_UP = 20
"""Records in which a rate may rise by any factor: warm-up begins next to nothing."""
TAIL = 0.05
"""Share of the peak below which a fall is the end of a decay."""
RESTART = 1.05
"""Times the peak up to which a rise is a restart of the schedule."""
LAST = 0.02
"""Share of the schedule at its end in which a rate of 0 is meant."""
HABIT = 3
"""Jumps after which the rest of them are this run's schedule."""


class LrJump(Params):
    """Fires when the learning rate changes more than `ratio` times from one record to the next, or is 0 for long.

    0 for `zeros` records counts while the step is not in the last 2 % of the known total. Info: a changed schedule is
    context for other trouble, and nobody's sleep is worth it. Not told: a rise within the first 20 records (warm-up),
    a rise to at most 1.05 times the highest rate so far (a restart of the schedule), a fall from below 5 % of the peak
    or within the last 2 % (the end of a decay), the first record after a resume, and jumps after the third.
    Gets wrong: a step decay by ten or more, which is meant.
    """

    enabled: bool = Field(True, description="Whether to look for jumps of the learning rate.")
    ratio: float = Field(10.0, gt=1, le=1e6, description="Times up or down within one record that count as a jump.")
    zeros: int = Field(20, ge=2, le=100_000, description="Records in a row with a rate of 0 that count.")


class LrJumps(Detector):
    """The learning rate against the record before."""

    kind: ClassVar[str] = "lr_jump"
    Params = LrJump
    metrics = frozenset({"learning_rate"})

    params: LrJump

    def __init__(self, params: LrJump) -> None:
        super().__init__(params)
        self.records = 0
        """Records of this attempt."""
        self.before: float | None = None
        """The last rate above 0 of this attempt."""
        self.before_step = 0
        self.peak = 0.0
        self.zeros = 0
        self.zero_since = 0
        self.jumps = 0

    def observe(self, moment: Moment) -> Iterator[Outcome]:
        """Judge one rate."""
        value = moment.fresh["learning_rate"]
        if not math.isfinite(value) or value < 0:
            return
        self.records += 1
        firing = self._zero(moment) if value == 0 else self._jump(moment, value)
        if value > 0:
            self.before, self.before_step, self.zeros = value, moment.step, 0
            self.peak = max(self.peak, value)
        if firing is not None:
            yield firing
        if moment.trace is not None:
            moment.said(self.kind, "learning_rate", firing, f"{number(value)}; highest {number(self.peak)}")

    def _zero(self, moment: Moment) -> Firing | None:
        if not self.zeros:
            self.zero_since = moment.step
        self.zeros += 1
        if self.zeros != self.params.zeros or _at_end(moment):
            return None
        text = f"learning_rate is 0 since step {self.zero_since:,}, for {self.zeros} records: nothing is being learned."
        return Firing(
            self.kind, "learning_rate", 0.0, self.before, None, Severity.INFO, "lr_zero", text, self.zero_since
        )

    def _jump(self, moment: Moment, value: float) -> Firing | None:
        before, ratio = self.before, self.params.ratio
        if before is None:
            return None
        # A rate logged in few digits may miss its own factor by a hair.
        if value * (ratio * 0.999) > before and value < before * (ratio * 0.999):
            return None
        up = value > before
        if up and (self.records <= WARM_UP or value <= RESTART * self.peak):
            return None
        if not up and (before < TAIL * self.peak or _at_end(moment)):
            return None
        self.jumps += 1
        if self.jumps > HABIT:
            return None
        times = value / before if up else before / value
        reason = f"lr_jump_{'up' if up else 'down'}_{times:.3g}x"
        text = (
            f"learning_rate went from {number(before)} at step {self.before_step:,} to {number(value)} at step "
            f"{moment.step:,}, {number(times, 3)} times {'up' if up else 'down'}."
        )
        limit = before * ratio if up else before / ratio
        return Firing(self.kind, "learning_rate", value, before, limit, Severity.INFO, reason, text, moment.step)

    def resume(self, step: int) -> None:  # noqa: ARG002
        """Begin as with the first record: the schedule may begin anew, too."""
        self.records, self.before, self.zeros, self.jumps = 0, None, 0, 0


def _at_end(moment: Moment) -> bool:
    """Whether the step lies in the last part of the schedule."""
    return moment.total_steps is not None and moment.step >= (1 - LAST) * moment.total_steps
