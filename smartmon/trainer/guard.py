"""The bundled trainer's own callbacks: keep good checkpoints good, stop when nothing gets better.

Imports Transformers: `run` loads it when a training begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from smartmon import text
from smartmon.trainer import checkpoints, ranks
from smartmon.trainer.progress import Console, Lines
from smartmon.trainer.settings import TrainSettings


class Keeper(TrainerCallback):
    """After each save: waits for all processes, puts the checkpoint on the disk, looks whether it is whole, prunes.

    Stands before the callback that announces checkpoints, which gets `announced`.
    """

    def __init__(self, settings: TrainSettings, say: Callable[[str], None]) -> None:
        self.last: Path | None = None
        """The newest whole checkpoint of this training."""
        self._settings, self._say = settings, say
        self._facts: dict[str, Any] | None = None

    def on_train_begin(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Let the settings of today hold: a resumed state brings the intervals of its own day."""
        state.compute_steps(args, state.max_steps)

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Make the checkpoint last, before anybody hears of it."""
        ranks.barrier()  # the others write their random numbers into it
        self._facts = None
        if not state.is_world_process_zero:
            return
        folder, begun = self._settings.output / f"checkpoint-{state.global_step}", time.monotonic()
        try:
            self._keep(folder, args, state, begun)
        except OSError as error:
            # A file system with moods must not end a training that goes well.
            self._say(f"{folder.name} is not announced: {error.strerror or error}")

    def _keep(self, folder: Path, args: Any, state: Any, begun: float) -> None:
        checkpoints.settle(folder)
        lacking = checkpoints.problem(folder, world_size=args.world_size)
        if lacking:
            self._say(f"{folder.name} is not whole: {lacking}; older ones are kept")
            return
        self.last, best = folder, best_checkpoint(self._settings.output, state.log_history)
        removed = checkpoints.prune(
            self._settings.output,
            self._settings.save_total_limit,
            protect=() if best is None else (best[0],),
            world_size=args.world_size,
        )
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        gone = f"; removed {', '.join(path.name for path in removed)}" if removed else ""
        self._say(f"{folder.name} saved ({text.size(size)}){gone}")
        self._facts = {
            "last_checkpoint": folder.name,
            "checkpoint_step": state.global_step,
            "checkpoint_bytes": size,
            "checkpoint_seconds": round(time.monotonic() - begun, 3),
        }
        if best is not None:
            self._facts |= {"best_checkpoint": f"checkpoint-{best[0]}", "best_eval_loss": best[1]}

    def announced(self, _folder: Path, _step: int) -> Mapping[str, Any] | None:
        """What to tell of the checkpoint that was saved last; None when it is not whole."""
        return self._facts


class Guard(TrainerCallback):
    """Never lets weights that are no numbers become a checkpoint. Stands after all other callbacks.

    What the callback of the metrics sees of a loss comes too late in one case: an update that poisons the weights at
    the very step that is saved. So before each save the step is logged and the trained weights are looked at.
    """

    def __init__(self, *, stop: bool) -> None:
        self.tripped = 0
        """The step at which the weights were found to be no numbers; 0 while they are."""
        self._stop = stop

    def on_step_end(self, _args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Look before a save."""
        if not control.should_save:
            return
        control.should_log = True
        if ranks.any_of(not finite(model)):
            self.tripped = self.tripped or state.global_step
            control.should_save = False
            if self._stop:
                control.should_evaluate, control.should_training_stop = False, True


class EarlyStop(TrainerCallback):
    """Stops after `patience` evaluations without a better loss. Judges by the whole history, also after a resume."""

    def __init__(self, patience: int) -> None:
        self.stopped = 0
        """The step at which it stopped the training; 0 while it has not."""
        self._patience = patience

    def on_evaluate(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the evaluations since the best."""
        losses = [row["eval_loss"] for row in state.log_history if "eval_loss" in row]
        best = min(range(len(losses)), key=lambda at: (losses[at] != losses[at], losses[at]), default=0)
        if len(losses) - 1 - best >= self._patience:
            self.stopped = state.global_step
            control.should_training_stop = control.should_save = True


class Enough(Exception):
    """An evaluation is broken off."""


class Hurry(TrainerCallback):
    """Breaks an evaluation off once a signal has come: who sent it may not wait for the minutes that it takes."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        self._wanted = wanted

    def on_prediction_step(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Raise Enough in all processes at the same batch."""
        if ranks.any_of(self._wanted()):
            raise Enough


class Steps(TrainerCallback):
    """Moves the bar on the terminal."""

    def __init__(self, console: Console | Lines, total: int) -> None:
        self._console, self._total = console, total

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Begin the clock."""
        self._console.begin(state.global_step)

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """One step more."""
        self._console.step(state.global_step, self._total)


def finite(model: Any) -> bool:
    """Whether every trained number of a model is one."""
    import torch

    trained = [parameter.detach() for parameter in model.parameters() if parameter.requires_grad]
    # FSDP shards are looked at where they are; the processes agree on the answer.
    local = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in trained]
    return all(bool(torch.isfinite(tensor).all()) for tensor in local)


def best_checkpoint(output: Path, history: list[dict[str, Any]]) -> tuple[int, float] | None:
    """Return the step and loss of the best checkpoint that was evaluated at its own step and is still there."""
    there = {checkpoints.step_of(folder) for folder in checkpoints.find(output)}
    evaluated = [
        (row["eval_loss"], row["step"])
        for row in history
        if "eval_loss" in row and row["step"] in there and row["eval_loss"] == row["eval_loss"]
    ]
    loss, step = min(evaluated, default=(0.0, 0))
    return (step, loss) if step else None
