"""`plateau`: a loss that falls no more. Never more than info."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, ClassVar

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.stats import median, middle
from smartmon.text import number

PIECE = 25
"""Losses whose median is one piece; a block is the mean of 1, 2, 4, ... pieces as the run grows."""
BLOCKS = 20
"""Blocks that the slope is taken of."""
NORMAL_90 = 1.645
AGAIN = 1.5
"""Times the losses of the last one that a run must have had for the next: long runs go down in steps."""
DECAYED = 0.1
"""Share of the peak learning rate below which standing still is meant."""


class Plateau(Params):
    """Fires when the loss gained less than `gain` over the last `points` losses, or 10 to 20 % of the run: info, once.

    The Theil-Sen slope of 20 block medians times their length, as a share of their median, must lie within `gain`, and
    the bounds that hold it with 90 % (Kendall's: ranks (N -+ 1.645 sqrt(n (n - 1)(2 n + 5) / 18)) / 2 of the N pairwise
    slopes) within twice `gain`. Not told: a learning rate below 10 % of its peak, a loss at or below 0, reinforcement
    learning. It is told again after the loss fell by twice `gain` and the run became half as long again.
    Gets wrong: long pretraining, where 0.5 % in a tenth of the run is what there is to gain.
    """

    enabled: bool = Field(True, description="Whether to look for plateaus.")
    points: int = Field(500, ge=500, le=1_000_000, description="Losses that it must last for, at least.")
    gain: float = Field(0.005, gt=0, lt=1, description="Share of the loss within these that counts as no gain.")


class Plateaus(Detector):
    """The loss in blocks that grow with the run."""

    kind: ClassVar[str] = "plateau"
    Params = Plateau
    metrics = frozenset({"loss", "learning_rate"})

    params: Plateau

    def __init__(self, params: Plateau) -> None:
        super().__init__(params)
        self.seen = 0
        self.piece: list[float] = []
        self.pieces = [0, 0.0]
        """Number and sum of the medians of the pieces of the block under way."""
        self.per_block = max(1, round(params.points / BLOCKS / PIECE))
        self.blocks: list[list[float]] = []
        """Last step and level of each block."""
        self.peak_rate = 0.0
        self.told_at: float | None = None
        """The level at which it was told of; None where it has fallen since."""
        self.told_after = 0
        """How many losses had been seen then."""
        self.gained: float | None = None
        """What the loss gained over the last twenty blocks, as a share."""

    def observe(self, moment: Moment) -> Iterator[Outcome]:
        """Collect one loss; judge when a block is full."""
        rate = moment.fresh.get("learning_rate", 0.0)
        if rate > self.peak_rate and rate < math.inf:
            self.peak_rate = rate
        value = moment.fresh.get("loss", math.nan)
        if not math.isfinite(value):
            return
        self.seen += 1
        self.piece.append(value)
        firing = self._full(moment) if len(self.piece) >= PIECE else None
        if firing is not None:
            yield firing
        if moment.trace is not None and self.gained is not None:
            text = f"fell by {100 * self.gained:z.2f} % over the last {self._span:,} losses"
            moment.said(self.kind, "loss", firing, text)

    @property
    def _span(self) -> int:
        return BLOCKS * self.per_block * PIECE

    def _full(self, moment: Moment) -> Firing | None:
        count, total = self.pieces
        self.pieces, self.piece = [count + 1, total + median(self.piece)], []
        if self.pieces[0] < self.per_block:
            return None
        self.blocks = [*self.blocks[1 - 2 * BLOCKS :], [moment.step, self.pieces[1] / self.pieces[0]]]
        self.pieces = [0, 0.0]
        found = self._judge(moment)
        if 0.1 * self.seen >= self._span and len(self.blocks) % 2 == 0:
            self._grow()
        return found

    def _grow(self) -> None:
        """Double the blocks: the run is long enough for a longer look."""
        pairs = zip(self.blocks[::2], self.blocks[1::2])
        self.blocks = [[b[0], (a[1] + b[1]) / 2] for a, b in pairs]
        self.per_block *= 2

    def _judge(self, moment: Moment) -> Firing | None:
        if len(self.blocks) < BLOCKS:
            return None
        levels = [level for _, level in self.blocks[-BLOCKS:]]
        level = median(levels)
        if level <= 0:
            self.gained = None
            return None
        low, slope, high = theil_sen(levels)
        self.gained = -slope * (BLOCKS - 1) / level
        most, least = -low * (BLOCKS - 1) / level, -high * (BLOCKS - 1) / level
        gain = self.params.gain
        if self.told_at is not None and median(levels[-3:]) <= self.told_at * (1 - 2 * gain):
            self.told_at = None
        still = abs(self.gained) < gain and most < 2 * gain and least > -2 * gain
        early = self.seen < AGAIN * self.told_after
        if not still or early or self.told_at is not None or moment.rewards or self._decayed(moment):
            return None
        self.told_at, self.told_after = level, self.seen
        onset = int(self.blocks[-BLOCKS][0])
        text = (
            f"loss stands at {number(level)}: over the {self._span:,} values up to step {moment.step:,} it moved by "
            f"{-100 * self.gained:+z.2f} % (between {-100 * most:+z.2f} and {-100 * least:+z.2f} %)."
        )
        evidence = {"gain": self.gained, "gain_low": least, "gain_high": most}
        return Firing(
            self.kind, "loss", moment.fresh["loss"], None, gain, Severity.INFO, "plateau", text, onset,
            evidence=evidence,
        )  # fmt: skip

    def _decayed(self, moment: Moment) -> bool:
        return self.peak_rate > 0 and moment.latest.get("learning_rate", math.inf) < DECAYED * self.peak_rate

    def resume(self, step: int) -> None:
        """Forget what lies after the step that the run went back to."""
        self.piece, self.pieces = [], [0, 0.0]
        self.blocks = [block for block in self.blocks if block[0] < step]

    def state(self) -> dict[str, Any]:
        """Return everything but the parameters."""
        lists = {"piece": list(self.piece), "pieces": list(self.pieces), "blocks": [list(b) for b in self.blocks]}
        return super().state() | lists


def theil_sen(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of all pairwise slopes, and before and after it the bounds that hold it with 90 %."""
    n = len(values)
    slopes = sorted((values[j] - values[i]) / (j - i) for i, j in combinations(range(n), 2))
    spread = NORMAL_90 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((len(slopes) - spread) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + spread) / 2))
    return slopes[low], middle(slopes), slopes[high]
