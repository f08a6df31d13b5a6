"""`memory_low`: the machine runs out of memory, and the kernel will end what is largest: the trainer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import HostSample, Severity
from smartmon.text import size

IN_A_ROW = 3


class MemoryLow(Params):
    """Fires when less than `least_percent` of the memory can still be had, at three looks in a row.

    Available is what the kernel says can be had without swapping, within the container's limit where there is one
    (cgroup v2). A warning; critical below a third of `least_percent`. Gets wrong: a trainer that holds nearly all
    memory on purpose and never asks for more.
    """

    enabled: bool = Field(True, description="Whether to watch the machine's memory.")
    least_percent: float = Field(3.0, gt=0, le=50, description="Share of the memory that must be left, in percent.")


class Memory(Detector):
    """The state of `memory_low`."""

    kind: ClassVar[str] = "memory_low"
    Params = MemoryLow
    sees_rows: ClassVar[bool] = False
    outlives: ClassVar[bool] = True

    def __init__(self, params: MemoryLow) -> None:
        super().__init__(params)
        self.low = 0
        self.very_low = 0
        """Looks in a row with little memory, and with a third of that."""
        self.told = 0

    def host(self, sample: HostSample, moment: Moment) -> Iterable[Outcome]:  # noqa: ARG002
        """Judge the memory that is left."""
        if not sample.answers:
            # Another run speaks for the machine from now on.
            if self.told:
                self.told = 0
                yield Over(self.kind, "another run tells of the machine now")
            return
        if sample.memory_available is None or not sample.memory_total:
            return
        share = 100 * sample.memory_available / sample.memory_total
        self.low = self.low + 1 if share < self.params.least_percent else 0
        self.very_low = self.very_low + 1 if share < self.params.least_percent / 3 else 0
        grade = 2 if self.very_low >= IN_A_ROW else 1 if self.low >= IN_A_ROW else 0
        if grade > self.told:
            self.told = grade
            text = (
                f"{size(sample.memory_available)} ({share:.1f} %) of {size(sample.memory_total)} of memory are left: "
                "when it is used up the kernel ends the largest process."
            )
            severity = Severity.CRITICAL if grade == 2 else Severity.WARNING
            limit = self.params.least_percent / 100 * sample.memory_total
            available = float(sample.memory_available)
            yield Firing(self.kind, "memory_available", available, None, limit, severity, "memory_low", text)
        elif self.told and share > 1.5 * self.params.least_percent:
            self.told = 0
            yield Over(self.kind, f"{size(sample.memory_available)} are available")

    def resume(self, step: int) -> None:  # noqa: ARG002
        """Tell again of what still holds: the run's end has ended its incidents."""
        self.told = 0
