"""`throughput_drop`: steps that take much longer than they did."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.pace import ADOPT, BLOCKS, SHORTEST, Blocks
from smartmon.detectors.signal import Firing
from smartmon.params import Duration, Params
from smartmon.records import Severity
from smartmon.text import number

RATES = ("tokens_per_sec", "samples_per_sec", "steps_per_sec")
"""Logged rates, best first: tokens know that longer sequences take longer."""
ANY_RATE = frozenset(RATES)
EVALS = frozenset({"eval_loss", "eval_accuracy", "eval_perplexity"})
CLOCK = "steps_per_sec"
HIGHER = 1.1
HABIT = (2, 4)
"""After so many slow stretches that passed, of the last so many, the next must be slower than those were."""


class ThroughputDrop(Params):
    """Fires when a step takes at least `slower` times as long as before, for `points` points and `lasts`.

    The last `points` are cut in four blocks; the median of the four is held against that of up to 30 blocks before
    (the first 10 points are left out), each of the four must be slower by half of that, and their median 10 % above
    the second slowest block before and 3 deviations out. Time between rows gives a block its mean without its slowest
    gap (an evaluation, a checkpoint, a pause), a logged rate its median. Where both are known both must be slow: alone,
    either is info, as a change of the sequence length makes. Warning; critical from `much_slower` times. Once two slow
    stretches passed, one that is no slower is info. After 30 slow blocks that is the level. A resume begins anew.
    Gets wrong: data that are slow for long because of their order, and drops within the first 100 points.
    """

    enabled: bool = Field(True, description="Whether to look for runs that became slow.")
    slower: float = Field(1.4, gt=1.05, le=100, description="Times as long as before that a step must take.")
    much_slower: float = Field(3.0, gt=1.05, le=1000, description="Times as long as before that is critical.")
    points: int = Field(40, ge=8, le=4000, description="Logged steps for which it must be slow.")
    lasts: Duration = Field(60.0, ge=0, le=86400, description="Time for which it must be slow, where times are known.")


class ThroughputDrops(Detector):
    """How long steps take, by the times of the rows and by what the trainer logs."""

    kind: ClassVar[str] = "throughput_drop"
    Params = ThroughputDrop

    params: ThroughputDrop

    def __init__(self, params: ThroughputDrop) -> None:
        super().__init__(params)
        self._begin()

    def _begin(self) -> None:
        self.clock, self.rate = Blocks(), Blocks()
        self.rate_name = ""
        self.anchor: list[float] = []
        """Step and time of the last point."""
        self.in_phase = False
        """Whether an evaluation was seen since the last new step."""
        self.open = -1
        """The rank of the severity told of; below 0 for none."""
        self.slowest = 0.0
        """How many times slower than before the open stretch was at worst."""
        self.passed: list[float] = []
        """The same of the last stretches that passed."""

    def observe(self, moment: Moment) -> Iterator[Outcome]:
        """Judge when a block is full: whether it is does not depend on how the rows were read."""
        fresh = moment.fresh
        closed = moment.timed and self._tick(moment, evaluated=not EVALS.isdisjoint(fresh))
        if not ANY_RATE.isdisjoint(fresh):
            closed = self._logged(moment) or closed
        if closed:
            yield from self._judge(moment)
        elif moment.trace is not None and (self.clock.known or self.rate.known):
            moment.said(self.kind, self.rate_name or CLOCK, None, self._seen())

    def _tick(self, moment: Moment, *, evaluated: bool) -> bool:
        """Take the time since the last new step; return whether that closed a block."""
        step, at = moment.step, moment.at
        if self.anchor and at < self.anchor[1]:
            self.anchor = []
        if not self.anchor:
            self.anchor = [step, at]
            return False
        last_step, last_at = self.anchor
        if step <= last_step:
            self.in_phase = self.in_phase or evaluated
            return False
        if at == last_at:
            # A clock of whole seconds, or rows that were read together: the next one tells of them all.
            return False
        self.anchor = [step, at]
        phase, self.in_phase = self.in_phase or evaluated, False
        if phase:
            return False
        points, least = self._block()
        if not self.clock.gap(step, at - last_at, int(step - last_step), points, least):
            return False
        self.clock.look(self.params.slower)
        return True

    def _logged(self, moment: Moment) -> bool:
        """Take the rate that the row carries; return whether that closed a block."""
        if not self.rate_name:
            self.rate_name = next(name for name in RATES if name in moment.fresh)
        value = moment.fresh.get(self.rate_name, math.nan)
        if not SHORTEST < value < 1 / SHORTEST:
            return False
        points, least = self._block()
        if not self.rate.value(moment.step, 1 / value, moment.at if moment.timed else None, points, least):
            return False
        self.rate.look(self.params.slower)
        return True

    def _block(self) -> tuple[int, float]:
        """Return how many points a block takes at least, and how much time."""
        return max(2, self.params.points // BLOCKS), self.params.lasts / BLOCKS

    def _judge(self, moment: Moment) -> Iterator[Outcome]:
        both = [blocks for blocks in (self.clock, self.rate) if blocks.known]
        slow = [blocks for blocks in both if blocks.slow]
        if slow:
            self.slowest = max(self.slowest, *(blocks.now / blocks.level for blocks in slow))
        fine = [blocks for blocks in both if blocks.fine(self.params.slower)]
        firing = None
        if slow and (fine or len(slow) == len(both)):
            # The logged rate comes last and is shown first: the trainer knows best what it did.
            firing = self._firing(slow[-1], alone=bool(fine))
        if firing is not None:
            yield firing
        if moment.trace is not None and both:
            moment.said(self.kind, self.rate_name or CLOCK, firing, self._seen())
        adopted = any(blocks.slow_for >= ADOPT for blocks in slow)
        if adopted:
            for blocks in slow:
                blocks.adopt()
        if self.open >= 0 and (adopted or len(fine) == len(both)):
            self.passed = [] if adopted else [*self.passed[1 - HABIT[1] :], self.slowest]
            self.open, self.slowest = -1, 0.0
            pace = self._text(both[-1], both[-1].newest)
            yield Over(self.kind, f"stays at {pace}, which is its pace now" if adopted else f"back at {pace}")

    def _firing(self, blocks: Blocks, *, alone: bool) -> Firing | None:
        times = blocks.now / blocks.level
        severity = Severity.CRITICAL if times >= self.params.much_slower else Severity.WARNING
        usual = max(self.passed) if len(self.passed) >= HABIT[0] else 0.0
        if alone or times < min(HIGHER * usual, self.params.much_slower):
            severity = Severity.INFO
        if severity.rank <= self.open:
            return None
        self.open = severity.rank
        metric = self.rate_name if blocks is self.rate else CLOCK
        onset = blocks.began[0]
        text = (
            f"each step takes {number(times, 3)} times as long since about step {onset:,}: "
            f"{self._text(blocks, blocks.now)}, before {self._text(blocks, blocks.level)}"
        )
        if alone:
            other = "the time between rows" if blocks is self.rate else self.rate_name
            text += f"; {other} has not changed, as with another sequence length"
        reason = f"throughput_drop_{times:.3g}x"
        value, expected = 1 / blocks.now, 1 / blocks.level
        limit = expected / self.params.slower
        return Firing(
            self.kind, metric, value, expected, limit, severity, reason, f"{text}.", onset, evidence={"ratio": times}
        )

    def _text(self, blocks: Blocks, pace: float) -> str:
        unit = self.rate_name.replace("_per_sec", "/s")
        return f"{number(1 / pace)} {unit}" if blocks is self.rate else f"{number(pace, 3)} s a step"

    def _seen(self) -> str:
        blocks = self.rate if self.rate.known else self.clock
        return f"{self._text(blocks, blocks.now)}, {number(blocks.now / blocks.level, 3)} times as long as before"

    def resume(self, step: int) -> None:  # noqa: ARG002
        """Begin anew: another machine, another batch size, and the first steps are slow again."""
        self._begin()

    def state(self) -> dict[str, Any]:
        """Return everything but the parameters."""
        parts = {
            "clock": self.clock.state(),
            "rate": self.rate.state(),
            "anchor": list(self.anchor),
            "passed": list(self.passed),
        }
        return super().state() | parts

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update({name: value for name, value in state.items() if name not in ("clock", "rate")})
        self.clock, self.rate = Blocks(), Blocks()
        self.clock.restore(state["clock"])
        self.rate.restore(state["rate"])
