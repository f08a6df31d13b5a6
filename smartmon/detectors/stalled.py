"""`stalled`: no new step for far longer than the run's own pace."""

from __future__ import annotations

from pydantic import Field

from smartmon.params import Duration, Params


class Stalled(Params):
    """Fires when no new step came for far longer than between earlier ones."""

    enabled: bool = Field(True, description="Whether to look for runs that stopped moving.")
    least: Duration = Field(120.0, gt=0, le=7 * 86400, description="Shortest silence that can count as a stall.")
    most: Duration = Field(
        1800.0, gt=0, le=30 * 86400, description="Silence that always counts, unless the run is usually half as slow."
    )
    first_step: Duration = Field(
        2700.0, gt=0, le=30 * 86400, description="Time given for the first steps: loading, compiling, caching."
    )
