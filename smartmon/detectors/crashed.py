"""`crashed`: the run says that it died, or keeps starting over."""

from __future__ import annotations

from pydantic import Field

from smartmon.params import Duration, Params


class Crashed(Params):
    """Fires when the status says that the run crashed, and when attempts follow each other without progress."""

    enabled: bool = Field(True, description="Whether to report crashes and crash loops.")
    loop_attempts: int = Field(
        3, ge=2, le=1000, description="Attempts without a new highest step that make a crash loop."
    )
    loop_count: int = Field(5, ge=2, le=1000, description="Attempts within loop_window that make a crash loop.")
    loop_window: Duration = Field(
        1800.0, gt=0, le=7 * 86400, description="Time in which loop_count attempts are counted."
    )
