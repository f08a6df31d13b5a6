"""`best_model`: a new lowest loss worth keeping."""

from __future__ import annotations

from pydantic import Field

from smartmon.params import Params


class BestModel(Params):
    """Fires when the loss is a new lowest one, clearly below the last that was announced."""

    enabled: bool = Field(True, description="Whether to announce and keep new best models.")
    metric: str = Field(
        "auto",
        min_length=1,
        description='Metric whose lowest value is best; "auto": eval_loss once there is one, else loss.',
    )
    min_improvement: float = Field(
        0.02, ge=0, lt=1, description="How far below the last announced best, as a share: 0.02 is 2 %."
    )
