"""`LightningCallback`: one line that lets smartmon watch a training by Lightning.

    Trainer(..., callbacks=[LightningCallback("runs/mine")])

Standard library only until the class itself is asked for, which loads whichever of `lightning` and `pytorch_lightning`
is in use.
"""

# ruff: noqa: ARG002 - each event is given the same, and uses what it needs

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartmon.trainer.control import WORDS, Control
from smartmon.trainer.disk import say
from smartmon.trainer.meters import Pace
from smartmon.trainer.parts import Parts
from smartmon.trainer.peers import Peers
from smartmon.trainer.wishes import SIGNAL, Wishes
from smartmon.trainer.writer import StatusWriter

_HELD = 0.2
_HELD_OUT = ("val", "eval", "test")
_LOSSES = ("loss", "train_loss", "train/loss", "training_loss", "train_loss_step", "loss_step", "train/loss_step")


class Events:
    """What the callback does at each event of a Trainer; `LightningCallback` is this and Lightning's `Callback`."""

    def __init__(
        self,
        base_dir: str | os.PathLike[str] | None = None,
        *,
        metrics: Callable[[], Mapping[str, Any]] | None = None,
        control: bool = True,
        stop_on_nonfinite: bool = False,
        writer: StatusWriter | None = None,
    ) -> None:
        """Take what is to be watched.

        - `base_dir`: where `status/` and `logs/` go; `$SMARTMON_RUN_DIR` if unset, else `default_root_dir`.
        - `metrics`: called at each logged step on the first process, returns metrics of your own.
        - `control`: obey `<base_dir>/.control`. `stop_on_nonfinite`: stop when the loss is NaN.
        - `writer`: one of your own, which is then yours to close.

        What the module logs by `self.log` is written, and the loss that `training_step` returns where it logs none.
        """
        self.stopped = ""
        """Why the training was stopped here: `control`, `signal`, `nonfinite`, or nothing if it was not."""
        self._base_dir, self._given, self._metrics = base_dir, writer, metrics
        self._obey, self._stop_on_nonfinite = control, stop_on_nonfinite
        self._parts, self._pace, self._peers = Parts(), Pace(), Peers()
        self._writer: StatusWriter | None = None
        self._wishes: Wishes | None = None
        self._step = -1
        self._bad = False

    def request(self, word: str) -> None:
        """Wish for `pause`, `resume`, `stop` or `checkpoint`; obeyed after the step. Raises ValueError for others."""
        if word not in WORDS:
            raise ValueError(f"{word!r} is none of {', '.join(WORDS)}")
        if self._wishes is not None:
            self._wishes.ask(word)

    # --- Events, in the order in which they come ---

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the files."""
        self._parts("watching", lambda: self._begin(trainer, pl_module), None)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write a row where Lightning logs one, and obey what is wished for."""
        self._parts("watching", lambda: self._after_batch(trainer, outputs), None)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Say that an evaluation has begun."""
        if self._writer is not None and not trainer.sanity_checking:
            self._writer.update("evaluating")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Write a row of an evaluation; Lightning's check of it before the training is none."""
        if not trainer.sanity_checking:
            self._parts("watching", lambda: self._evaluated(trainer), None)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        """Show which checkpoint was there last: this one is not written yet."""
        if self._writer is not None and (path := _last_checkpoint(trainer)):
            self._writer.update(**path)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Tell what ended the training."""
        if self._writer is not None and self._given is None:
            self._writer.fail(exception)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Say how it ended, and wait until that is on disk."""
        if self._wishes is not None:
            self._parts("the end of the training", self._wishes.finish, None)
        if self._writer is not None and self._given is None:
            word = {"": "completed", "nonfinite": "crashed"}.get(self.stopped, "stopped")
            self._writer.update(word, current_step=trainer.global_step, **_last_checkpoint(trainer))
            self._writer.flush()

    def _begin(self, trainer: Any, module: Any) -> None:
        self.stopped, self._bad, self._step = "", False, trainer.global_step
        self._pace = Pace()
        self._pace.row(trainer.global_step, time.monotonic())
        self._peers = peers = Peers()
        control, self._wishes = None, None
        if trainer.is_global_zero:
            self._writer = writer = self._open(trainer)
            total = trainer.estimated_stepping_batches
            facts = {"total_steps": int(total)} if math.isfinite(total) else {}
            writer.update("training", model_name=type(module).__name__, **facts)
            control = Control(writer.base_dir) if self._obey else None
        # Last: from here on each process waits for the others.
        if not peers.meet():
            self._stop_on_nonfinite = False
            say("give the callback to every process: it now tells of its own alone, and stops or pauses nothing")
            return
        self._parts.steadfast = not peers.alone
        self._wishes = wishes = Wishes(peers, control)
        if control is not None and self._writer is not None:
            self._writer.beside(wishes.look)

    def _open(self, trainer: Any) -> StatusWriter:
        if self._given is not None:
            return self._given
        saver = trainer.checkpoint_callback
        folder = getattr(saver, "dirpath", None) or trainer.default_root_dir
        base = self._base_dir or os.environ.get("SMARTMON_RUN_DIR") or trainer.default_root_dir
        return StatusWriter(base, output_dir=folder)

    def _after_batch(self, trainer: Any, outputs: Any) -> None:
        step, wishes = trainer.global_step, self._wishes
        if step == self._step:
            return  # a batch of several that make one step
        self._step = step
        if step % max(1, trainer.log_every_n_steps) == 0:
            self._row(trainer, step, outputs)
        wished = wishes.step() if wishes is not None else frozenset()
        if wishes is not None and (wished or wishes.refused):
            self._answer_all(wishes)
            self._do(wished, trainer, wishes)

    def _row(self, trainer: Any, step: int, outputs: Any) -> None:
        values = {name: _number(value) for name, value in trainer.callback_metrics.items()}
        row: dict[str, Any] = {k: v for k, v in values.items() if v is not None and not k.startswith(_HELD_OUT)}
        given = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        loss = next((row.pop(name) for name in _LOSSES if name in row), _number(given))
        row |= {"loss": loss} if loss is not None else {}
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        row |= {"learning_rate": float(rates[0])} if rates else {}
        row["epoch"] = trainer.current_epoch
        pace = self._pace.row(step, time.monotonic())
        row |= {"steps_per_sec": round(pace, 4)} if pace else {}
        self._guard(trainer, step, 0.0 if loss is None else loss)
        if self._writer is not None:
            if self._metrics is not None:
                nothing: Mapping[str, Any] = {}
                row |= self._parts("your metrics", self._metrics, nothing)
            self._writer.write(step, **row)

    def _guard(self, trainer: Any, step: int, loss: float) -> None:
        bad = not math.isfinite(loss)
        if bad and not self._bad and self._writer is not None:
            self._writer.error(f"the loss is {loss} at step {step}", step=step, kind="NaNLoss")
        # A process may see its own part of the loss; all of them have to stop at the same step.
        if self._stop_on_nonfinite and self._peers.most([float(bad)])[0]:
            self.stopped, trainer.should_stop = "nonfinite", True
        self._bad = bad

    def _evaluated(self, trainer: Any) -> None:
        if self._writer is None:
            return
        values = {name: _number(value) for name, value in trainer.callback_metrics.items()}
        row = {name: value for name, value in values.items() if value is not None and name.startswith(_HELD_OUT)}
        loss = next((row.pop(name) for name in ("val_loss", "val/loss", "eval_loss") if name in row), None)
        self._writer.evaluate(trainer.global_step, **({"loss": loss} if loss is not None else {}), **row)
        if self._writer.word == "evaluating":
            self._writer.update("training", **_last_checkpoint(trainer))

    # --- What is wished for ---

    def _do(self, wished: frozenset[str], trainer: Any, wishes: Wishes) -> None:
        step = trainer.global_step
        if "checkpoint" in wished or wished & {"stop", SIGNAL}:
            self._save(trainer)
        if wished & {"stop", SIGNAL}:
            self.stopped = "control" if "stop" in wished else "signal"
            trainer.should_stop = True
        elif "pause" in wished:
            self._hold(trainer, wishes, step)

    def _hold(self, trainer: Any, wishes: Wishes, step: int) -> None:
        begun = time.monotonic()
        if self._writer is not None:
            self._writer.update("paused")
        while True:
            wished = wishes.now()
            self._answer_all(wishes)
            if wished & {"resume", "stop", SIGNAL}:
                break
            if "checkpoint" in wished:
                self._save(trainer)
            time.sleep(_HELD)
        if self._writer is not None:
            self._writer.update("training")
        self._pace.aside(time.monotonic() - begun)
        self._do(wished - {"pause"}, trainer, wishes)

    def _save(self, trainer: Any) -> None:
        folder = Path(getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir)
        path = folder / f"epoch={trainer.current_epoch}-step={trainer.global_step}.ckpt"
        trainer.save_checkpoint(path)  # on all processes: sharded ones are saved together
        if self._writer is not None:
            self._writer.update(last_checkpoint=str(path))

    def _answer_all(self, wishes: Wishes) -> None:
        while wishes.refused:
            wish = wishes.refused.popleft()
            self._acknowledge(wish.word, wish.id, "unknown: it is none of pause, resume, stop and checkpoint")
        while wishes.taken:
            wish = wishes.taken.pop(0)
            if wish.id:
                self._acknowledge(wish.word, wish.id, f"{wish.word} at step {self._step}")

    def _acknowledge(self, word: str, identity: str, result: str) -> None:
        if self._writer is not None:
            self._writer.update(control_ack={"word": word, "id": identity, "result": result, "at": time.time()})


def _number(value: Any) -> float | None:
    """Return a metric as a number; waits for a GPU, as Lightning's own loggers do at the same step."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _last_checkpoint(trainer: Any) -> dict[str, str]:
    path = getattr(trainer.checkpoint_callback, "last_model_path", "") or ""
    path = path or getattr(trainer.checkpoint_callback, "best_model_path", "") or ""
    return {"last_checkpoint": str(path)} if path else {}


if TYPE_CHECKING:
    from lightning.pytorch import Callback

    class LightningCallback(Events, Callback):
        """Watches a training by Lightning."""

else:

    def __getattr__(name: str) -> Any:
        """Make the class when it is first asked for, for that of the two packages that is in use."""
        if name != "LightningCallback":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        old = "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules
        try:
            base = import_module("pytorch_lightning" if old else "lightning.pytorch").Callback
        except ModuleNotFoundError:
            base = import_module("pytorch_lightning").Callback
        told = {"__module__": __name__, "__doc__": Events.__init__.__doc__}
        globals()[name] = made = type(name, (Events, base), told)
        return made
