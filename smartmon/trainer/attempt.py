"""One stretch of steps: Hugging Face's Trainer with the callbacks that watch, keep and guard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, Trainer

from smartmon import text
from smartmon.errors import NonFiniteError
from smartmon.trainer import SmartmonCallback, checkpoints
from smartmon.trainer.arguments import training_arguments
from smartmon.trainer.detail import samples_from
from smartmon.trainer.feed import Feed
from smartmon.trainer.guard import EarlyStop, Enough, Guard, Hurry, Keeper, Steps, best_checkpoint
from smartmon.trainer.model import Loaded
from smartmon.trainer.outcome import Outcome
from smartmon.trainer.progress import Console, Lines
from smartmon.trainer.settings import TrainSettings
from smartmon.trainer.shown import ShownWriter
from smartmon.trainer.signals import Signals


class _Trainer(Trainer):
    """The Trainer, whose evaluations can be broken off."""

    def evaluate(self, *words: Any, **given: Any) -> dict[str, float]:
        """Return the metrics; none of an evaluation that was broken off."""
        try:
            found: dict[str, float] = super().evaluate(*words, **given)
            return found
        except Enough:
            return {}


class Attempt:
    """A Trainer, ready to run. `writer` is there in the first process alone."""

    def __init__(
        self,
        settings: TrainSettings,
        loaded: Loaded,
        feed: Feed,
        total: int,
        *,
        writer: ShownWriter | None,
        console: Console | Lines,
        callbacks: Sequence[Any],
    ) -> None:
        self._settings, self._total, self._writer = settings, total, writer
        self._hurried = False
        self._keeper = Keeper(settings, console.say)
        self._guard = Guard(stop=settings.on_nonfinite == "stop")
        self._early = EarlyStop(settings.early_stopping) if settings.early_stopping else None
        asked = feed.evaluation if feed.evaluation is not None else feed.rows
        self._watch = SmartmonCallback(
            settings.base_dir,
            detail_steps=settings.detail_steps,
            detail_tokens=settings.detail_tokens,
            detail_limit=settings.detail_limit,
            detail_share=settings.detail_share,
            samples=samples_from(asked, feed.tokenizer) if writer is not None and settings.detail_steps else [],
            control=settings.control,
            stop_on_nonfinite=settings.on_nonfinite == "stop",
            announce=self._keeper.announced,
            writer=writer,
        )
        # The order matters: Keeper before who announces, Guard after everybody who may ask for a save.
        self._callbacks = [self._keeper, self._watch, *([self._early] if self._early else []), *callbacks]
        self._callbacks += [Steps(console, total), Hurry(lambda: self._hurried), self._guard]
        self._trainer = _Trainer(
            model=loaded.model,
            args=training_arguments(settings, loaded, feed.batch_size, total, evaluates=feed.evaluation is not None),
            train_dataset=feed.train,
            eval_dataset=feed.eval_rows,
            data_collator=feed.collator,
            processing_class=feed.tokenizer,
            callbacks=self._callbacks,
        )
        self._trainer.remove_callback(PrinterCallback)

    def run(self, checkpoint: Path | None, signals: Signals | None) -> None:
        """Train from a checkpoint, or from the start, to the end or until it is stopped.

        Raises NonFiniteError when the guard ended it; what the Trainer raises passes through.
        """
        if signals is not None:
            signals.during(self._stop)
        if checkpoint is not None and (checkpoints.step_of(checkpoint) or 0) >= self._total:
            # Every step is done; only what comes after the last one had not been.
            self._keeper.last, self._trainer.state.global_step = checkpoint, self._total
            return
        self._trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        tripped = self._guard.tripped or self._watch.stopped == "nonfinite"
        if tripped and self._settings.on_nonfinite == "stop":
            raise NonFiniteError(self._nonfinite())

    def _stop(self) -> None:
        self._hurried = True
        self._watch.request("stop")

    def outcome(self, resumed_from: int, seconds: float) -> Outcome:
        """How it ended."""
        state, stopped = self._trainer.state, self._watch.stopped
        early = "early_stopping" if self._early is not None and self._early.stopped else ""
        best = best_checkpoint(self._settings.output, state.log_history)
        return Outcome(
            "stopped" if stopped else "completed",
            stopped or early,
            state.global_step,
            self._total,
            self._settings.output,
            checkpoint=self._keeper.last,
            loss=None if self._writer is None else self._writer.loss,
            eval_loss=None if self._writer is None else self._writer.eval_loss,
            best_step=None if best is None else best[0],
            best_eval_loss=None if best is None else best[1],
            resumed_from=resumed_from,
            seconds=seconds,
        )

    def _nonfinite(self) -> str:
        settings = self._settings
        at = self._guard.tripped or self._trainer.state.global_step
        what = "the weights are no longer numbers" if self._guard.tripped else "the loss is no longer a number"
        kept = [folder.name for folder in checkpoints.find(settings.output) if not checkpoints.problem(folder)]
        good = f"saved before it: {', '.join(kept)}" if kept else "no checkpoint had been saved before"
        return (
            f"stopped at step {text.count(at)}: {what}; {good}; try a lower --learning-rate "
            f"(it was {settings.learning_rate:g}), or look at the rows; --on-nonfinite continue trains on regardless"
        )
