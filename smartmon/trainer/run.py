"""One training from the first check to the last file. `train` reads top to bottom; each decision is said once.

Hugging Face's Trainer does the steps, peft the adapter, bitsandbytes the 4 bits. What is ours is around them: what is
refused before it costs anything, where it starts, what it tells, and how it ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartmon import text
from smartmon.errors import NonFiniteError, SmartmonError, TrainingError, UsageError
from smartmon.trainer import arguments, checkpoints, lock, ranks, record, resume
from smartmon.trainer.export import export
from smartmon.trainer.outcome import Outcome
from smartmon.trainer.progress import Console, Lines
from smartmon.trainer.quiet import quiet
from smartmon.trainer.settings import TrainSettings
from smartmon.trainer.shown import ShownWriter
from smartmon.trainer.signals import Signals
from smartmon.trainer.writer import StatusWriter

if TYPE_CHECKING:
    from smartmon.trainer.attempt import Attempt
    from smartmon.trainer.feed import Feed


def train(
    settings: TrainSettings,
    *,
    say: Callable[[str], None] | Console = print,
    callbacks: Sequence[Any] = (),
    signals: Signals | None = None,
) -> Outcome:
    """Train, and return how it ended: completed, or stopped with everything saved.

    `say` gets the lines for a person; a Console shows the steps too. `callbacks` are further ones for the Trainer;
    `signals` are taken by whoever owns the main thread.
    Raises UsageError, DataError, ResumeError or LockedError before anything is trained, NonFiniteError when the guard
    ended the training, TrainingError for what broke it off, and Interrupted for a signal before the first step.
    """
    begun, settings = time.monotonic(), _absolute(settings)
    _check_output(settings.output)
    first, world = ranks.rank() == 0, ranks.world_size()
    shown = say if isinstance(say, Console) else Lines(say)
    console = shown if first else Lines(lambda _line: None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        stack.callback(console.close)
        if first:
            stack.enter_context(lock.held([settings.base_dir, settings.output]))
        console.busy("loading what trains")
        ranks.join()
        if settings.fsdp:
            _check_sharding(world)

        # 1. The rows: what is wrong with them is known before a model is loaded.
        feed, digest = _rows(settings, console), record.digest(settings.dataset)
        console.facts(feed.summary)

        # 2. Where to start: anew, or at a checkpoint that is whole.
        start = ranks.agree(lambda: resume.choose(settings, digest, world))
        console.facts([f"start: {note}" for note in start.notes])
        if start.complete:
            ranks.leave()
            return _complete(settings, start, console)

        # 3. From here on there is a status, and whoever watches sees how it ends.
        writer = stack.enter_context(ShownWriter(settings, console)) if first else None
        about = record.begin(settings, digest, len(feed.rows), world)
        with _explained(settings, writer):
            attempt = _prepared(settings, feed, start, about, writer=writer, console=console, callbacks=callbacks)
            attempt.run(start.checkpoint, signals)
            outcome = attempt.outcome(start.step, time.monotonic() - begun)

            # 6. The adapter out of the last checkpoint, and how it ended.
            if writer is not None:
                outcome = _keep(settings, outcome, about, writer)
        ranks.leave()
    for line in outcome.lines():
        console.say(line)
    return outcome


def _prepared(
    settings: TrainSettings,
    feed: Feed,
    start: resume.Start,
    about: dict[str, Any],
    *,
    writer: ShownWriter | None,
    console: Console | Lines,
    callbacks: Sequence[Any],
) -> Attempt:
    """Load what is trained, and say what was decided; the record of it goes into `about` and the output folder."""
    from smartmon.trainer.attempt import Attempt
    from smartmon.trainer.model import load

    # 4. The model, in 4 bits, with an adapter; then how the rows are laid out for it.
    console.busy("loading the model")
    loaded = load(settings, adapter=start.checkpoint, longest=feed.longest)
    feed.arrange(loaded.model)
    total = arguments.total_steps(settings, len(feed.train), feed.batch_size * ranks.world_size())
    plan = feed.plan(total, ranks.world_size())
    console.facts([*loaded.decisions, f"packing: {feed.decision}", f"steps: {plan}"])
    about |= {"decisions": [*loaded.decisions, feed.decision], "total_steps": total}

    # 5. The steps. After the last one, or the one at which it is stopped, there is a checkpoint.
    attempt = Attempt(settings, loaded, feed, total, writer=writer, console=console, callbacks=callbacks)
    if writer is not None:
        writer.begin(total)
        record.write(settings.output, about)
    return attempt


def _absolute(settings: TrainSettings) -> TrainSettings:
    """Make paths absolute: they are read again from other places, by the adapter's users and the next training."""
    changed: dict[str, Any] = {
        name: Path(os.path.abspath(value))  # noqa: PTH100 (resolve follows links)
        for name in ("dataset", "base_dir", "eval_dataset", "adapter")
        if (value := getattr(settings, name)) is not None
    }
    changed["output_dir"] = Path(os.path.abspath(settings.output))  # noqa: PTH100
    if Path(settings.model).exists():
        changed["model"] = os.path.abspath(settings.model)  # noqa: PTH100
    return settings.model_copy(update=changed)


def _check_output(output: Path) -> None:
    """Raise UsageError where an adapter would lie in a whole model: Transformers would load it with the model."""
    if (output / "config.json").exists():
        raise UsageError(
            f"{text.clean(output)} holds a whole model (config.json), and an adapter in it would be loaded with it; "
            "choose another --output-dir"
        )


def _check_sharding(world_size: int) -> None:
    """Raise UsageError where there is nothing to shard over: Transformers would silently train otherwise."""
    from smartmon.trainer.device import choose_device

    choose_device(fsdp=True)
    if world_size == 1:
        raise UsageError(
            "--fsdp shards a model over several GPUs, and this is one process; start it with "
            "torchrun --nproc-per-node 2 -m smartmon train ..., or leave --fsdp out"
        )


def _rows(settings: TrainSettings, console: Console | Lines) -> Feed:
    from smartmon.trainer.feed import Feed
    from smartmon.trainer.model import context_length, load_tokenizer
    from smartmon.trainer.pretrained import read_config

    config = read_config(settings.model)  # first: it says best what is wrong with a model
    tokenizer = load_tokenizer(settings)
    length = context_length(settings, config, tokenizer)
    return Feed(settings, tokenizer, length, progress=lambda rows: console.busy(f"reading rows  {text.count(rows)}"))


def _complete(settings: TrainSettings, start: resume.Start, console: Console | Lines) -> Outcome:
    """Say that this training has nothing left to do."""
    console.say(f"this training is complete since step {start.step}; --resume none trains anew")
    adapter = settings.output / "adapter_model.safetensors"
    return Outcome(
        "completed",
        "",
        start.step,
        start.step,
        settings.output,
        adapter=adapter if adapter.exists() else None,
        checkpoint=start.checkpoint,
        resumed_from=start.step,
    )


def _keep(settings: TrainSettings, outcome: Outcome, about: dict[str, Any], writer: StatusWriter) -> Outcome:
    """Leave the adapter and the record, and tell the status how it ended."""
    if outcome.checkpoint is not None:
        outcome = dataclasses.replace(outcome, adapter=export(outcome.checkpoint, settings.output))
    record.write(settings.output, about | {"state": outcome.state, "step": outcome.step})
    writer.close(outcome.state)
    return outcome


@contextlib.contextmanager
def _explained(settings: TrainSettings, writer: StatusWriter | None) -> Iterator[None]:
    """Turn what breaks a training off into one message for a person; the traceback goes to the log of errors."""
    try:
        yield
    except NonFiniteError as error:
        if writer is not None:
            writer.error(str(error), kind="NaNLoss")
            writer.close("crashed")
        raise
    except UsageError as error:
        # Nothing was trained yet: a word that is wrong is told to who typed it, and is no crash of a run.
        if writer is not None:
            writer.update(error_message=str(error))
            writer.close("stopped")
        raise
    except SmartmonError:
        raise
    except Exception as error:
        if writer is not None:
            writer.fail(error)
        raise TrainingError(_sentence(settings, error, writer)) from error


def _sentence(settings: TrainSettings, error: Exception, writer: StatusWriter | None) -> str:
    from smartmon.trainer.memory import oom_advice

    if _out_of_memory(error):
        return oom_advice(settings, error)
    said = text.clean(str(error).strip().partition("\n")[0])[:300]
    what = f"{type(error).__name__}{': ' if said else ''}{said}"
    if ranks.world_size() > 1 and (type(error).__name__ == "DistBackendError" or "gloo" in said):
        # What the network says of it is long, and of the wrong process.
        what = "another of its processes has ended"
    where = f"; the traceback is in {settings.base_dir / 'logs' / 'error_log.jsonl'}" if writer is not None else ""
    newest, _skipped = checkpoints.newest_verified(settings.output)
    again = "no checkpoint had been saved" if newest is None else f"the same command goes on from {newest.name}"
    return f"the training broke off: {what}{where}; {again}"


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: of a GPU, of the machine, or of a CPU tensor (which torch tells as RuntimeError)."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
        or "CUDA out of memory" in str(error)
    )
