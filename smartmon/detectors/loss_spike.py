"""`loss_spike`: a loss far above the mean of the few before it."""

from __future__ import annotations

from pydantic import Field

from smartmon.params import Params


class LossSpike(Params):
    """Fires when the loss is far above the mean of the last five accepted ones."""

    enabled: bool = Field(True, description="Whether to look for loss spikes.")
    threshold: float = Field(
        0.3, gt=0, le=1000, description="Rise over the mean of the last 5 losses that counts, as a share: 0.3 is 30 %."
    )
    sigmas: float = Field(
        5.0,
        ge=2,
        le=100,
        description="A spike is sent from this many deviations of the run's own noise; else recorded.",
    )
