"""`accuracy_drop`: an accuracy far below the mean of the few before it."""

from __future__ import annotations

from pydantic import Field

from smartmon.params import Params


class AccuracyDrop(Params):
    """Fires when the accuracy is far below the mean of the last five accepted ones."""

    enabled: bool = Field(True, description="Whether to look for drops of accuracy.")
    threshold: float = Field(
        10.0,
        gt=0,
        le=100,
        description="Drop below the mean of the last 5 accuracies that counts, in percentage points.",
    )
    sigmas: float = Field(
        5.0, ge=2, le=100, description="A drop is sent from this many deviations of the run's own noise; else recorded."
    )
