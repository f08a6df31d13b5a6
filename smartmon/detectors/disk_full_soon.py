"""`disk_full_soon`: the disk that the trainer writes to is full, or will be before anyone looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.signal import Firing
from smartmon.params import Bytes, Duration, Params
from smartmon.records import HostSample, Severity
from smartmon.stats import median
from smartmon.text import duration, size

BLOCK = 300.0
"""Seconds of which only the lowest free space counts: rotation frees what the next checkpoint takes."""
BLOCKS = 12
LEAST_BLOCKS = 6
SMALL = 0.05
"""Share of a small disk in place of `least`."""
WELL = 1.5
"""Times the limit from which it is over."""


class DiskFullSoon(Params):
    """Fires when less than `least` or `least_percent` of the disk is free, or it will be within `within` at this rate.

    Rate: the median of all slopes between the lowest free spaces of 5-minute blocks of the last hour (Theil-Sen), so
    that checkpoints which come and go do not count. A warning when it will be full; critical when it is, or within a
    sixth of that time. Gets wrong: a run that has not reached its number of kept checkpoints seems to fill the disk.
    """

    enabled: bool = Field(True, description="Whether to watch the room on the trainer's disk.")
    within: Duration = Field(
        7200.0, gt=0, le=7 * 86400, description="Warn when the disk will be full within this time at the present rate."
    )
    least: Bytes = Field(
        2**30, ge=0, description="Free room below which the disk counts as full (5 % of a disk under 20 GiB)."
    )
    least_percent: float = Field(1.0, ge=0, le=50, description="The same as a share of the disk, in percent.")


class Room(Detector):
    """The state of `disk_full_soon`: the lowest free space of each block."""

    kind: ClassVar[str] = "disk_full_soon"
    Params = DiskFullSoon
    sees_rows: ClassVar[bool] = False
    outlives: ClassVar[bool] = True

    def __init__(self, params: DiskFullSoon) -> None:
        super().__init__(params)
        self.blocks: list[list[float]] = []
        """Begin, moment of the lowest, and the lowest free bytes of each block."""
        self.told = 0
        """What was said: 0 nothing, 1 a warning, 2 critical."""

    def host(self, sample: HostSample, moment: Moment) -> Iterable[Outcome]:  # noqa: ARG002
        """Judge the free space and learn it."""
        if sample.disk_free is None or not sample.disk_total:
            return
        free = float(sample.disk_free)
        self._learn(sample.at, free)
        least = min(float(self.params.least), SMALL * sample.disk_total)
        full = max(least, self.params.least_percent / 100 * sample.disk_total)
        rate = self._rate()
        left = (free - full) / rate if rate > 0 else None
        grade = 2 if free < full or (left is not None and left < self.params.within / 6) else 0
        if not grade and left is not None and left < self.params.within:
            grade = 1
        if grade > self.told:
            self.told = grade
            yield self._firing(sample, full, left, Severity.CRITICAL if grade == 2 else Severity.WARNING)
        elif self.told and free > WELL * full and (left is None or left > WELL * self.params.within):
            self.told = 0
            yield Over(self.kind, f"{size(free)} are free")

    def resume(self, step: int) -> None:  # noqa: ARG002
        """Tell again of what still holds: the run's end has ended its incidents."""
        self.told = 0

    def _learn(self, at: float, free: float) -> None:
        if self.blocks and at < self.blocks[-1][0]:
            self.blocks = []  # the clock was set back
        if not self.blocks or at >= self.blocks[-1][0] + BLOCK:
            self.blocks = [*self.blocks[1 - BLOCKS :], [at, at, free]]
        elif free < self.blocks[-1][2]:
            self.blocks[-1] = [self.blocks[-1][0], at, free]

    def _rate(self) -> float:
        """Return how many bytes a second go, 0 while that is not known or room is gained."""
        known = self.blocks
        if len(known) < LEAST_BLOCKS:
            return 0.0
        pairs = [(a, b) for i, a in enumerate(known) for b in known[i + 1 :] if b[1] > a[1]]
        slopes = [(a[2] - b[2]) / (b[1] - a[1]) for a, b in pairs]
        return max(0.0, median(slopes)) if slopes else 0.0

    def _firing(self, sample: HostSample, full: float, left: float | None, severity: Severity) -> Firing:
        free = float(sample.disk_free or 0)
        share = 100 * free / (sample.disk_total or 1)
        text = f"{size(free)} ({share:.1f} %) are left on the disk of {sample.disk or 'the run'}"
        if free < full:
            text += ": the next checkpoint may fail."
        else:
            text += f"; at the present rate it is full in {duration(left)}."
        return Firing(self.kind, "disk_free", free, None, full, severity, "disk_full_soon", text)
