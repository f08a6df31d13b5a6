"""The status writer of the bundled trainer: what it writes for smartmon, it shows on the terminal too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.trainer.progress import Console, Lines
from smartmon.trainer.settings import TrainSettings
from smartmon.trainer.writer import StatusWriter


class ShownWriter(StatusWriter):
    """Writes status and logs of a training's base dir."""

    def __init__(self, settings: TrainSettings, console: Console | Lines) -> None:
        self._console, self.total_steps = console, 0
        self.loss: float | None = None
        """The last loss that was logged."""
        self.eval_loss: float | None = None
        super().__init__(
            settings.base_dir,
            model_name=Path(settings.model).name,
            output_dir=settings.output,
            current_file=settings.dataset.name,
        )

    def begin(self, total: int, **facts: Any) -> None:
        """Tell how many steps there will be, before the first."""
        self.total_steps = total
        self.update(total_steps=total, **facts)

    def write(self, step: int | None = None, **metrics: Any) -> None:
        """Log a row, and show it."""
        super().write(step, **metrics)
        self.loss = _number(metrics.get("loss"), self.loss)
        self._console.row(0 if step is None else step, self.total_steps, metrics)

    def evaluate(self, step: int, **metrics: Any) -> None:
        """Log an evaluation, and show it."""
        super().evaluate(step, **metrics)
        loss = _number(metrics.get("eval_loss", metrics.get("loss")), None)
        if loss is not None:
            self.eval_loss = loss
            self._console.say(f"evaluated at step {text.count(step)}: loss {text.number(loss)}{_accuracy(metrics)}")


def _number(value: Any, otherwise: float | None) -> float | None:
    return float(value) if isinstance(value, (int, float)) else otherwise


def _accuracy(metrics: Mapping[str, Any]) -> str:
    found = next(
        (metrics[key] for key in metrics if "accuracy" in key and _number(metrics[key], None) is not None), None
    )
    return "" if found is None else f", token accuracy {found:.1f} %"
