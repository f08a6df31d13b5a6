"""`nonfinite`: NaN, infinity, and the NaN that a trainer's log hides."""

from __future__ import annotations

from pydantic import Field

from smartmon.params import Params


class NonFinite(Params):
    """Fires on every loss, evaluation loss or gradient norm that is no number."""

    enabled: bool = Field(True, description="Whether to look for NaN and infinity.")
    persist: int = Field(2, ge=1, le=1000, description="Non-finite losses in a row that make it critical.")
    masked: bool = Field(
        True, description="Whether a loss of exactly 0 counts as a NaN hidden by Hugging Face's logging_nan_inf_filter."
    )
