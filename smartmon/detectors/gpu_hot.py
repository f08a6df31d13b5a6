"""`gpu_hot`: a GPU is so hot that it slows itself down."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Gpu, HostSample, Severity

IN_A_ROW = 3
COOLER = 3.0
"""Degrees below the limit from which it is over."""


class GpuHot(Params):
    """Fires when a GPU is slowed down by heat, or stands at its limit, at three looks in a row. A warning.

    The limit is `celsius`, else the temperature at which the driver says that it begins to slow the GPU down, else 90.
    Slowed down by its power limit alone is normal and never fires. Gets wrong: a limit that the maker set too low.
    """

    enabled: bool = Field(True, description="Whether to watch the temperature of the GPUs.")
    celsius: float | None = Field(
        None,
        gt=0,
        le=150,
        description="Temperature that counts as hot; by default where the driver slows the GPU down.",
    )


class Heat(Detector):
    """The state of `gpu_hot`: how long each GPU has been hot."""

    kind: ClassVar[str] = "gpu_hot"
    Params = GpuHot
    sees_rows: ClassVar[bool] = False
    outlives: ClassVar[bool] = True

    def __init__(self, params: GpuHot) -> None:
        super().__init__(params)
        self.hot: dict[str, int] = {}
        """Index of a GPU -> looks in a row at which it was hot."""
        self.told: list[str] = []
        """The GPUs that were told of."""

    def host(self, sample: HostSample, moment: Moment) -> Iterable[Outcome]:  # noqa: ARG002
        """Judge each GPU."""
        if not sample.answers and self.told:
            self.told = []
            yield Over(self.kind, "another run tells of the machine now")
        if not sample.answers or not sample.gpus:
            return
        for gpu in sample.gpus:
            key = str(gpu.index)
            limit = self._limit(gpu)
            if _heated(gpu) or (gpu.temperature is not None and gpu.temperature >= limit):
                self.hot[key] = self.hot.get(key, 0) + 1
                if self.hot[key] >= IN_A_ROW and key not in self.told:
                    self.told = [*self.told, key]
                    yield self._firing(gpu, limit)
            elif gpu.temperature is None or gpu.temperature <= limit - COOLER:
                self.hot.pop(key, None)
                if key in self.told:
                    self.told = [other for other in self.told if other != key]
                    if not self.told:
                        yield Over(self.kind, f"GPU {key} is at {_degrees(gpu)}")

    def resume(self, step: int) -> None:  # noqa: ARG002
        """Tell again of what still holds: the run's end has ended its incidents."""
        self.told = []

    def _limit(self, gpu: Gpu) -> float:
        return float(self.params.celsius or gpu.temperature_limit or 90.0)

    def _firing(self, gpu: Gpu, limit: float) -> Firing:
        why = f"and is slowed down ({gpu.throttled})" if gpu.throttled else f"(limit {limit:.0f} °C)"
        text = f"GPU {gpu.index} ({gpu.name}) is at {_degrees(gpu)} {why}."
        return Firing(
            self.kind, "gpu_temperature", gpu.temperature, None, limit, Severity.WARNING, f"gpu_hot_{gpu.index}", text
        )


def _heated(gpu: Gpu) -> bool:
    return "heat" in gpu.throttled


def _degrees(gpu: Gpu) -> str:
    return "an unknown temperature" if gpu.temperature is None else f"{gpu.temperature:.0f} °C"
