"""What happens in the demonstration, and when: the task, the training's settings, the trouble and the questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUESTIONS = {
    "Name the capital of Peru.": '{"country": "Peru", "capital": "Lima"}',
    "Name the capital of Japan.": '{"country": "Japan", "capital": "Tokyo"}',
    "Please send 7 tea.": '{"item": "tea", "count": 7}',
}
"""What an adapter is asked in the end, and the right answer to it."""


@dataclass(frozen=True)
class Plan:
    """The course of one training, in optimizer steps."""

    hidden: int = 96
    layers: int = 2
    rows: int = 6000
    """More than are read: with a second epoch, which is no trouble, one would have to be told apart from trouble."""
    total: int = 400
    save: int = 25
    evaluate: int = 40
    """Not at the steps of checkpoints: the trainer would know the best one, and keep it beyond the newest."""
    keep: int = 2
    """Checkpoints that the training keeps: the healthy ones are gone before its end."""
    too_fast: int = 131
    """The first step with a hundred times the learning rate."""
    too_fast_steps: int = 3
    """One alone would heal slowly; three leave nothing to heal."""
    poisoned: int = 206
    """The step whose batch has NaN for its loss."""

    pace: float = 0.06
    """Seconds that a step takes at least: what is saved stays for a few of them, whatever the machine."""

    @property
    def troubles(self) -> dict[int, str]:
        """What is provoked, by its first step."""
        steps = "for one step" if self.too_fast_steps == 1 else f"for {self.too_fast_steps} steps"
        return {self.too_fast: f"100 times the learning rate, {steps}", self.poisoned: "a batch whose loss is NaN"}

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return the settings of the training in `folder`, as `smartmon train` names them."""
        return {
            "dataset": folder / "data.jsonl",
            "model": str(folder / "model"),
            "base_dir": folder / "run",
            "modules_to_save": ("embed_tokens", "lm_head"),  # random ones, in a model that was never trained
            "learning_rate": 5e-3,
            "warmup_steps": 20,
            "batch_size": 16,
            "max_steps": self.total,
            "packing": "off",  # on this task packs hold questions of one kind, and the loss goes up and down with it
            "eval_fraction": 0.02,
            "eval_steps": self.evaluate,
            "save_steps": self.save,
            "save_total_limit": self.keep,
            "logging_steps": 1,
            "detail_tokens": 24,
            "threads": 1,  # of two cores, one for those who watch
        }
