"""How a training ended, for the person, for scripts, and for whoever trains on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon import text


@dataclass(frozen=True)
class Outcome:
    """How a training ended. Losses are the last ones seen; `best_*` are of the best checkpoint that is still there."""

    state: str
    """`completed` or `stopped`."""
    reason: str
    """Why it ended before its planned end: `signal`, `control`, `early_stopping`; else empty."""
    step: int
    total_steps: int
    output_dir: Path
    adapter: Path | None = None
    """The adapter's weights as the training left them."""
    checkpoint: Path | None = None
    """The newest whole checkpoint."""
    loss: float | None = None
    eval_loss: float | None = None
    best_step: int | None = None
    best_eval_loss: float | None = None
    resumed_from: int = 0
    """The step of the checkpoint that it went on from; 0 if it began anew."""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The same for `--json`."""
        shown = dataclasses.asdict(self)
        return {name: str(value) if isinstance(value, Path) else value for name, value in shown.items()}

    def lines(self) -> list[str]:
        """What a person is told at the end."""
        why = {"signal": ", by a signal", "control": ", as the control file says"}.get(self.reason, "")
        if self.reason == "early_stopping":
            why = " early: the evaluations no longer got better"
        head = f"{self.state} at step {text.count(self.step)} of {text.count(self.total_steps)}"
        losses = [] if self.loss is None else [f"loss {text.number(self.loss)}"]
        losses += [] if self.eval_loss is None else [f"eval loss {text.number(self.eval_loss)}"]
        told = [f"{head}{why}, after {text.duration(self.seconds)}" + (f": {', '.join(losses)}" if losses else "")]
        if self.best_step is not None and self.best_step != self.step:
            told.append(
                f"the best checkpoint is checkpoint-{self.best_step}, with an eval loss of "
                f"{text.number(self.best_eval_loss)}"
            )
        if self.checkpoint is not None and self.checkpoint.name != f"checkpoint-{self.step}":
            told.append(f"the adapter is that of {self.checkpoint.name}: what came after it could not be saved")
        if self.adapter is not None:
            told.append(f"adapter     {text.clean(self.adapter)}")
            told.append(f"try it      smartmon sample {text.clean(self.output_dir)}")
        if self.state == "stopped":
            told.append("the same command goes on from here")
        return told
