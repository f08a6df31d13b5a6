"""One training by Hugging Face's Trainer, from its first step to its last: what is measured, told and obeyed at each.

With several processes, each takes part in every sum and decision, and the first one alone writes.
"""

from __future__ import annotations

import inspect
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smartmon.trainer.control import Control
from smartmon.trainer.disk import say
from smartmon.trainer.experts import Experts
from smartmon.trainer.looks import Looks, LookSettings
from smartmon.trainer.meters import Meter, Pace, Totals, is_language_model
from smartmon.trainer.obedience import Obedience
from smartmon.trainer.parts import Parts
from smartmon.trainer.peers import Peers
from smartmon.trainer.scribe import FINAL
from smartmon.trainer.values import perplexity
from smartmon.trainer.wishes import Wishes
from smartmon.trainer.writer import StatusWriter

Metrics = Callable[..., Mapping[str, Any]]
Announce = Callable[[Path, int], Mapping[str, Any] | None]

_SAMPLED = 20
"""Steps between two whose tokens are compared, where it is not known which will be logged."""
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Options:
    """What `SmartmonCallback` was asked for."""

    metrics: Metrics | None = None
    announce: Announce | None = None
    looks: LookSettings = field(default_factory=LookSettings)
    control: bool = True
    stop_on_nonfinite: bool = False
    expert_steps: int = 100


class Course:
    """What the callback knows of the training that is going on."""

    def __init__(self, options: Options, args: Any, state: Any, model: Any, writer: StatusWriter | None) -> None:
        """`writer` is None in every process but the first."""
        self.options, self.writer = options, writer
        self._nonfinite = False
        self.rows: Callable[[], Any] = lambda: None
        """Returns the dataset that samples are taken from, or None as long as it is not known."""
        self._parts, self._peers = Parts(), Peers()
        control = Control(writer.base_dir) if writer is not None and options.control else None
        self._obedience = Obedience(Wishes(self._peers, control), writer)
        # Several devices in one process run the model in threads, whose sums would be mixed up.
        hooked = model is not None and getattr(args, "n_gpu", 1) <= 1
        compiled = bool(getattr(args, "torch_compile", False))
        self._meter = self._parts("token accuracy", lambda: Meter(model, compiled=compiled), None) if hooked else None
        self._over = False
        self._experts = self._parts("expert usage", lambda: Experts(model, options.expert_steps), None)
        if not hooked or compiled or not self._experts:
            self._experts = None
        self._every = max(1, int(state.logging_steps or 1)) if _by_steps(args.logging_strategy) else _SAMPLED
        self._counting = False
        self._language = model is not None and is_language_model(model)
        self._looks: Looks | None = None
        self._pace = Pace()
        self._first = self._logged = state.global_step
        now = time.monotonic()
        self._row_at = self._mark = now
        self._aside = 0.0
        """Seconds since the last row that went into evaluations, checkpoints, looks and pauses."""
        self._pace.row(state.global_step, now)
        self._evaluating = self._evaluated = self._bad = False
        self._eval_logs: dict[str, Any] = {}
        self._latest: dict[str, Any] = {}
        if writer is not None:
            writer.reached(state.global_step)
        if writer is not None and control is not None:
            writer.beside(self._obedience.wishes.look)
            if control.ignored:
                self._obedience.acknowledge(control.ignored, "", "ignored: it was there before this training began")
                if control.ignored == "pause":  # the others were obeyed at once, most likely
                    say(f"{control.path} asked for a pause before this training began; it is ignored")

    @property
    def stopped(self) -> str:
        """Why the training was stopped here: `control`, `signal`, `nonfinite`, or nothing."""
        return "nonfinite" if self._nonfinite else self._obedience.stopped

    def meet(self) -> bool:
        """Wait for the other processes; return whether there are any. Nothing may be obeyed by some of them alone."""
        if not self._peers.meet():
            self.options = replace(self.options, control=False, stop_on_nonfinite=False)
            self._obedience.off = True
            say("give the callback to every process: it now tells of its own alone, and stops or pauses nothing")
        return not self._peers.alone

    def request(self, word: str) -> None:
        """Wish for something; see `Wishes.ask`."""
        self._obedience.wishes.ask(word)

    def ask(self, tokenizer: Any) -> None:
        """Get ready for looks at what the model answers."""
        if self.writer is not None:
            self._looks = Looks(self.options.looks, tokenizer, self.writer)

    # --- A step ---

    def step_begins(self, args: Any, state: Any, model: Any) -> None:
        """Decide what this step is measured for; look at the model's answers between two steps."""
        step = state.global_step + 1
        if self._looks is not None and not self._looks.off:
            self._parts("looking at answers", lambda: self._look(model, state), None)
        if self._meter is not None:
            self._meter.evaluation.forget()  # of a prediction, or of an evaluation of somebody's own
            self._meter.comparing = self._told(args, state, step)
        if self._experts is not None and self._experts.due(step):
            self._counting = self._parts("expert usage", self._experts.start, None) is None

    def _told(self, args: Any, state: Any, step: int) -> bool:
        """Whether a row may be written for a step. `smartmon train` writes one before each save, and for the last."""
        every = [self._every, state.save_steps if _by_steps(args.save_strategy) else 0]
        return (
            any(number and step % number == 0 for number in every)
            or step == state.max_steps
            or (step == 1 and args.logging_first_step)
        )

    def step_ends(self, state: Any, control: Any, model: Any) -> None:
        """Write the experts' usage, obey what is wished for, and let no poisoned weights be saved."""
        self._mark = time.monotonic()
        if self.writer is not None:
            self.writer.reached(state.global_step)
        if self._counting and self._experts is not None:
            self._counting = False
            self._tell_experts(state, self._experts)
        self._obedience.after_step(state, control)
        self._pass_pause()
        if control.should_save and (self.options.stop_on_nonfinite or self.stopped) and self._poisoned(model):
            self._stop_nonfinite(state, control, "there are NaN or infinite values in the weights")

    def _look(self, model: Any, state: Any) -> None:
        looks, step = self._looks, state.global_step
        if looks is None or not looks.ready(self.rows):
            return
        evaluated, self._evaluated = self._evaluated, False
        if step == self._first and not evaluated:
            return
        if not looks.due(step, evaluated=evaluated):
            return
        begun = time.monotonic()
        if self._meter is not None:
            self._meter.off, was = True, self._meter.off
        names = ("train_loss", "eval_loss", "learning_rate")
        facts = {name: self._latest[name] for name in names if name in self._latest}
        try:
            looks.look(model, step, {"epoch": state.epoch, **facts})
        finally:
            if self._meter is not None:
                self._meter.off = was
            self._aside += time.monotonic() - begun

    def _tell_experts(self, state: Any, experts: Experts) -> None:
        mine = self._parts("expert usage", experts.counts, None)
        counts = self._peers.total(mine or experts.nothing())
        usage = experts.usage(counts)
        if self.writer is not None and usage:
            self.writer.experts(state.global_step, usage)
            dead = {layer: row["dead_experts"] for layer, row in usage.items() if row["dead_experts"]}
            self.writer.update(dead_experts=dead)

    # --- Rows ---

    def logs(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], model: Any) -> None:
        """Write a row for what the Trainer logs; its evaluations come with `evaluated`, and its summary is none."""
        if any(key.startswith("eval_") for key in logs):
            self._eval_logs |= logs
            return
        if "train_runtime" in logs:
            return
        # Only these come from every process at once; anybody may log anything else, in one process alone.
        if "loss" in logs and "learning_rate" in logs and state.global_step > self._logged:
            totals = self._drained(lambda meter: meter.training.drain())
            steps, self._logged = state.global_step - self._logged, state.global_step
            # What fails here fails in this process alone, and the others wait in `_guard`.
            row = self._parts("the row", lambda: self._row(state, logs, totals, steps), {**logs})
            self._guard(args, state, control, row)
        else:
            row = {**logs}
        if self.writer is not None:
            nothing: dict[str, Any] = {}
            row |= self._parts("your metrics", lambda: self._users(state, logs, model), nothing)
            self.writer.write(state.global_step, **row)

    def _row(self, state: Any, logs: Mapping[str, Any], totals: Totals, steps: int) -> dict[str, Any]:
        now = time.monotonic()
        seconds = max(1e-9, now - self._row_at - self._aside)
        self._row_at, self._mark, self._aside = now, now, 0.0
        self._pace.row(state.global_step, now)
        row = {key: value for key, value in logs.items() if key != "mean_token_accuracy"}
        if not math.isfinite(totals.loss):
            # Hugging Face's filter leaves such losses out of its mean, and shows 0.0 if there is no other.
            row["loss"] = totals.loss
        elif not totals.losses and row["loss"] == 0.0 and math.isnan(row.get("grad_norm", 0.0)):
            row["loss"] = math.nan  # TRL computes it outside the model; nothing else ends as 0.0 with such gradients
        accuracy = totals.accuracy
        if accuracy is None and isinstance(theirs := logs.get("mean_token_accuracy"), int | float):
            accuracy = 100 * theirs
        speeds = {"tokens": totals.tokens, "samples": totals.rows, "steps": steps}
        row |= {
            "accuracy_percent": accuracy,
            "aux_loss": totals.aux / totals.auxes if totals.auxes else logs.get("aux_loss"),
            **{f"{name}_per_sec": round(number / seconds, 4) if number else None for name, number in speeds.items()},
            "eta_seconds": self._remaining(state),
            **_gpu_memory(),
        }
        self._latest |= {"train_loss": row["loss"], "learning_rate": row.get("learning_rate")}
        return {key: value for key, value in row.items() if value is not None}

    def _remaining(self, state: Any) -> float | None:
        left = self._pace.remaining(state.max_steps - state.global_step)
        return None if left is None else round(left, 1)

    def _drained(self, drain: Callable[[Meter], Totals]) -> Totals:
        """Return the sums of all processes; one whose hook failed still takes part in adding them up."""
        meter, mine = self._meter, Totals()
        if self._over:
            return mine  # nothing was counted, and nobody may be there any more
        if meter is not None:
            mine = self._parts("token accuracy", lambda: drain(meter), mine)
            if meter.problem is not None:
                self._parts.fail("token accuracy", meter.problem)
                meter.problem = None
        return Totals(*self._peers.total(mine.values()))

    def _users(self, state: Any, logs: Mapping[str, Any], model: Any) -> dict[str, Any]:
        if self.options.metrics is None:
            return {}
        offered = {"step": state.global_step, "logs": dict(logs), "state": state, "model": model}
        wanted = inspect.signature(self.options.metrics).parameters.values()
        everything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in wanted)
        names = {each.name for each in wanted}
        given = {name: value for name, value in offered.items() if everything or name in names}
        return dict(self.options.metrics(**given))

    # --- Losses that are no numbers ---

    def _guard(self, args: Any, state: Any, control: Any, row: Mapping[str, Any]) -> None:
        # With fp16 an infinite norm is how the loss scale finds its place: that step is skipped.
        names = ("loss",) if getattr(args, "fp16", False) else ("loss", "grad_norm")
        bad = [name for name in names if isinstance(row.get(name), float) and not math.isfinite(row[name])]
        if self.options.stop_on_nonfinite:
            # Somebody's own log may have shown it to one process alone.
            if self._peers.most([float(bool(bad))])[0]:
                what = f"the {bad[0]} is {row[bad[0]]}" if bad else "the loss of another process is no number"
                self._stop_nonfinite(state, control, what)
        elif bad and not self._bad and self.writer is not None:
            text = f"the {bad[0]} is {row[bad[0]]}"  # who reads it adds the step
            self.writer.error(text, step=state.global_step, epoch=state.epoch, kind="NaNLoss")
        self._bad = bool(bad)

    def _stop_nonfinite(self, state: Any, control: Any, what: str) -> None:
        if not self._nonfinite and self.writer is not None:
            text = f"{what}; stopped before anything of it is saved"
            self.writer.error(text, step=state.global_step, epoch=state.epoch, kind="NaNLoss")
        self._nonfinite = True
        self.still_stopped(control)

    def still_stopped(self, control: Any) -> None:
        """Keep later events from saving what is not worth it."""
        if self._nonfinite:
            control.should_training_stop = True
            control.should_save = control.should_evaluate = False

    def _poisoned(self, model: Any) -> bool:
        mine = self._parts("the check for NaN before a save", lambda: self._not_finite(model), False)
        return self._peers.most([float(mine)])[0] > 0

    def _not_finite(self, model: Any) -> bool:
        if self._meter is not None and not math.isfinite(self._meter.training.read().loss):
            return True
        import torch

        trained = [each.detach() for each in model.parameters() if each.requires_grad]
        # Of a sharded one each process looks at its own part: to put it together takes all of them.
        trained = [each.to_local() if hasattr(each, "to_local") else each for each in trained]
        flags: dict[Any, list[Any]] = {}
        for each in trained:
            flags.setdefault(each.device, []).append(torch.isfinite(each).all())
        return not all(bool(torch.stack(found).all()) for found in flags.values())

    # --- Evaluations and checkpoints ---

    def predicts(self) -> None:
        """Say that an evaluation is going on, at its first batch."""
        if not self._evaluating and self.writer is not None and self.writer.word not in FINAL:
            self.writer.update("evaluating")
        self._evaluating = True

    def evaluated(self, state: Any, metrics: Mapping[str, Any]) -> None:
        """Write a row for an evaluation; the one before the first step is the baseline."""
        totals = self._drained(lambda meter: meter.evaluation.drain())
        found = {**self._eval_logs, **metrics}
        self._eval_logs = {}
        row = {k: v for k, v in found.items() if k != "epoch" and not k.endswith("_per_second")}
        accuracy, theirs = totals.accuracy, row.pop("eval_mean_token_accuracy", None)
        if accuracy is None and isinstance(theirs, int | float):
            accuracy = 100 * theirs
        if accuracy is not None:
            row.setdefault("eval_accuracy_percent", accuracy)
        if self._language and (held_out := perplexity(row.get("eval_loss"))) is not None:
            row.setdefault("eval_perplexity", held_out)
        if state.global_step == 0:
            row["note"] = "before training"
        self._latest["eval_loss"] = row.get("eval_loss")
        self._evaluated = True
        if self.writer is not None:
            self.writer.evaluate(state.global_step, **row)
        self.back_to_training()
        self._pass_aside()

    def back_to_training(self) -> None:
        """Say that an evaluation or a prediction is over."""
        if self._evaluating and self.writer is not None and self.writer.word == "evaluating":
            self.writer.update("training")
        self._evaluating = False
        if self._meter is not None:
            self._meter.evaluation.forget()  # what a prediction told belongs to no evaluation

    def saved(self, args: Any, state: Any, control: Any) -> None:
        """Announce the checkpoint; go on with a pause that it interrupted."""
        folder = Path(args.output_dir).absolute() / f"checkpoint-{state.global_step}"
        if self.writer is not None:
            facts = self._parts("announcing a checkpoint", lambda: self._announced(folder, state.global_step), None)
            if facts:
                self.writer.update(**facts)
        self._pass_aside()
        self._obedience.after_save(state, control)
        self._pass_pause()

    def _announced(self, folder: Path, step: int) -> Mapping[str, Any] | None:
        if self.options.announce is not None:
            return self.options.announce(folder, step)
        return {"last_checkpoint": folder.name, "checkpoint_step": step} if folder.is_dir() else None

    def _pass_pause(self) -> None:
        """Leave the seconds of a pause out of every speed."""
        if seconds := self._obedience.seconds:
            self._obedience.seconds = 0.0
            self._aside += seconds
            self._pace.aside(seconds)
            self._mark = time.monotonic()

    def _pass_aside(self) -> None:
        now = time.monotonic()
        self._aside += now - self._mark
        self._mark = now

    # --- The end ---

    def ends(self, state: Any, model: Any) -> None:
        """Look at the answers after a last evaluation, and close."""
        if self._looks is not None and not self._looks.off and self._evaluated and not self._nonfinite:
            self._parts("looking at answers", lambda: self._look(model, state), None)
        self.close()

    def close(self) -> None:
        """Take everything off the model and out of the way."""
        self._over = True
        self._obedience.wishes.finish()
        if self._meter is not None:
            self._meter.close()
        if self._experts is not None:
            self._experts.stop()


def _by_steps(strategy: Any) -> bool:
    return str(getattr(strategy, "value", strategy)) == "steps"


def _gpu_memory() -> dict[str, float]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    held, peak = torch.cuda.memory_reserved(), torch.cuda.max_memory_allocated()
    return {"gpu_memory_mb": round(held / _MIB, 1), "gpu_memory_peak_mb": round(peak / _MIB, 1)}
