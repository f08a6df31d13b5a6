"""Small trainings in this process, and callbacks that meddle with them at a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from smartmon.trainer.settings import TrainSettings


def small(base_dir: Path, model: Path, dataset: Path, **changes: Any) -> TrainSettings:
    """Settings of a training of 6 steps with 4 rows each, logged each, saved every 2, without looks and evaluations."""
    given: dict[str, Any] = {
        "base_dir": base_dir,
        "model": str(model),
        "dataset": dataset,
        "max_steps": 6,
        "batch_size": 4,
        "logging_steps": 1,
        "save_steps": 2,
        "eval_steps": 0,
        "detail_steps": 0,
        "learning_rate": 3e-3,
        "packing": "off",
        "threads": 1,
    }
    return TrainSettings(**(given | changes))


class At(TrainerCallback):
    """Calls a function at the end of a step, before it is logged and saved."""

    def __init__(self, step: int, do: Callable[[Any], None]) -> None:
        self.step, self.do = step, do

    def on_step_end(self, _args: Any, state: Any, _control: Any, *, model: Any, **_: Any) -> None:
        if state.global_step == self.step:
            self.do(model)


def crash(error: BaseException) -> Callable[[Any], None]:
    """What raises at a step."""

    def do(_model: Any) -> None:
        raise error

    return do


def poison(model: Any) -> None:
    """Make one trained number NaN, as an overflow of the last update does."""
    import torch

    with torch.no_grad():
        next(parameter for parameter in model.parameters() if parameter.requires_grad).view(-1)[0] = float("nan")


def spoil(model: Any) -> None:
    """Make every trained number a thousand times as large: the loss jumps."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1000)


def rows(base_dir: Path, name: str = "training_log") -> list[dict[str, Any]]:
    """The rows of a log."""
    return [json.loads(line) for line in (base_dir / "logs" / f"{name}.jsonl").read_text().splitlines()]


def status(base_dir: Path) -> dict[str, Any]:
    """The status file."""
    found: dict[str, Any] = json.loads((base_dir / "status" / "training_status.json").read_text())
    return found


def names(output: Path) -> list[str]:
    """The checkpoints in a folder, by step."""
    return sorted((path.name for path in output.glob("checkpoint-*")), key=lambda name: int(name[11:]))
