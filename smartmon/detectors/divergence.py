"""`divergence`: a loss that keeps rising, stays up, or runs away."""

from __future__ import annotations

from pydantic import Field

from smartmon.params import Params


class Divergence(Params):
    """Fires when the loss rises almost all the time, or leaves its level for good."""

    enabled: bool = Field(True, description="Whether to look for a diverging loss.")
    rising_share: float = Field(
        0.8, gt=0, le=1, description="Share of the steps within the loss window that must rise: 0.8 is 80 %."
    )
    min_rise: float = Field(
        0.05,
        ge=0,
        le=10,
        description="Rise within the window from which a divergence is sent, as a share; below, recorded.",
    )
    cusum: float = Field(
        12.0, gt=0, le=1000, description="Summed excess over the run's noise, in deviations, that says the level moved."
    )
    level: float = Field(
        1.1, gt=1, le=100, description="Smallest lasting level, against the one before, that counts: 1.1 is 10 % up."
    )
