"""What a training would be, before it is one: memory, rows, steps, disk, and whether it fits. No weight is read."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon import host, text
from smartmon.trainer import adapter as adapters
from smartmon.trainer import memory, ranks
from smartmon.trainer.arguments import total_steps
from smartmon.trainer.device import Arithmetic, Device, choose_arithmetic, choose_device
from smartmon.trainer.feed import Feed
from smartmon.trainer.memory import Choices, Estimate
from smartmon.trainer.model import context_length, load_tokenizer
from smartmon.trainer.packing import LEAST_GAIN, gain, pack, pack_length
from smartmon.trainer.pretrained import pretrained_quantization, read_config
from smartmon.trainer.quiet import quiet
from smartmon.trainer.settings import TrainSettings

WIDTH = 80
_BESIDE = 3_000_000
"""Bytes of a checkpoint besides adapter and optimizer: tokenizer, random states, the Trainer's own. Measured: 0.1 MB
for a tokenizer of 512 words; those of large models have some megabytes."""


@dataclass(frozen=True)
class Steps:
    """Optimizer steps. `packed` is their number if rows are packed, None where they are not."""

    total: int
    per_epoch: int
    packed: int | None
    why: str


@dataclass(frozen=True)
class Disk:
    """Bytes of one checkpoint, how many are written and kept at most, and what is free where they go."""

    checkpoint: int
    written: int
    kept: int
    free: int | None

    @property
    def needed(self) -> int:
        """What the kept ones take, with one more while it is written and one set aside as the best, and the adapter."""
        return self.checkpoint * (min(self.kept, self.written) + 2)

    @property
    def fits(self) -> bool:
        """Whether there is room; True where that is unknown."""
        return self.free is None or self.needed <= self.free


@dataclass(frozen=True)
class Plan:
    """Everything that `--plan` tells."""

    settings: TrainSettings
    device: Device
    arithmetic: Arithmetic
    choices: Choices
    estimate: Estimate
    feed: Feed
    steps: Steps
    disk: Disk
    instead: Estimate | None
    """The largest batch and rows that would fit, where this does not."""
    try_instead: str
    """The same as options of the command line; empty where this fits, or nothing does."""

    @property
    def fits(self) -> bool:
        """Whether memory and disk suffice, as far as they are known."""
        return self.estimate.fits and self.disk.fits

    @property
    def verdict(self) -> str:
        """One sentence: whether it fits, and what to try if not."""
        need, free = text.size(self.estimate.total), self.estimate.free
        if not self.estimate.fits and free is not None:
            if self.instead is None:
                return f"does not fit: about {need} are needed and {text.size(free)} free; take a smaller model"
            return (
                f"does not fit: about {need} are needed and {text.size(free)} free; "
                f"try {self.try_instead} (about {text.size(self.instead.total)})"
            )
        if not self.disk.fits and self.disk.free is not None:
            return (
                f"does not fit: checkpoints take up to {text.size(self.disk.needed)} and {text.size(self.disk.free)} "
                "of disk are free; try --save-total-limit 1, or another --output-dir"
            )
        return f"fits: about {need}" + ("" if free is None else f" of {text.size(free)} free")

    def lines(self) -> list[str]:
        """The plan for a terminal of 80 columns."""
        return [line for name, said in self._facts() for line in _wrapped(name, said)]

    def _facts(self) -> Iterator[tuple[str, str]]:
        size, settings = self.estimate.shape, self.settings
        share = 100 * size.trained / size.parameters
        yield "model", text.clean(settings.model)
        yield "", f"{_millions(size.parameters)} parameters, {_millions(size.trained)} trained ({share:.2g} %)"
        yield "device", self.device.name + (f" ({self.device.reason})" if self.device.reason else "")
        yield "arithmetic", f"{self.arithmetic.dtype} ({self.arithmetic.reason})"
        yield "data", text.clean(settings.dataset)
        for line in self.feed.summary:
            yield "", line
        yield "steps", self._steps()
        yield "memory", f"of one process, with {settings.batch_size} rows of {text.count(self.estimate.length)} tokens"
        for part in self.estimate.parts:
            yield "", f"{text.size(part.bytes):>9}  {part.name:<14} {part.how}"
        free = "" if self.estimate.free is None else f" of {text.size(self.estimate.free)} free"
        yield "", f"{text.size(self.estimate.total):>9}  together{free}"
        for number, reason in enumerate(self.choices.reasons[1:]):
            yield "" if number else "chosen", reason
        free = "" if self.disk.free is None else f", {text.size(self.disk.free)} free"
        yield (
            "disk",
            (
                f"{text.count(self.disk.written)} checkpoint{'s' if self.disk.written != 1 else ''} of about "
                f"{text.size(self.disk.checkpoint)}; up to {text.size(self.disk.needed)} at once{free}"
            ),
        )
        yield "verdict", self.verdict

    def _steps(self) -> str:
        steps = self.steps
        told = f"{text.count(steps.total)}, {text.count(steps.per_epoch)} an epoch; {steps.why}"
        return told if steps.packed is None else f"{told}; packed, {text.count(steps.packed)}"

    def to_json(self) -> dict[str, Any]:
        """The plan as `--json` prints it; bytes and counts."""
        estimate, size, feed = self.estimate, self.estimate.shape, self.feed
        return {
            "model": {"name": self.settings.model, "parameters": size.parameters, "trained": size.trained},
            "device": {"name": self.device.name, "torch": self.device.torch_name, "reason": self.device.reason},
            "arithmetic": {"dtype": self.arithmetic.dtype, "reason": self.arithmetic.reason},
            "data": {
                "dataset": str(self.settings.dataset),
                "rows": len(feed.rows),
                "eval_rows": 0 if feed.evaluation is None else len(feed.evaluation),
                "tokens": sum(feed.rows.lengths()),
                "trained_tokens": feed.rows.trained(),
                "longest": feed.longest,
                "summary": feed.summary,
            },
            "steps": {"total": self.steps.total, "per_epoch": self.steps.per_epoch, "packed": self.steps.packed},
            "memory": {
                "parts": [{"name": part.name, "bytes": part.bytes, "how": part.how} for part in estimate.parts],
                "bytes": estimate.total,
                "free": estimate.free,
                "fits": estimate.fits,
            },
            "gradient_checkpointing": estimate.gradient_checkpointing,
            "optimizer": estimate.optimizer,
            "disk": {
                "checkpoint": self.disk.checkpoint,
                "written": self.disk.written,
                "needed": self.disk.needed,
                "free": self.disk.free,
                "fits": self.disk.fits,
            },
            "fits": self.fits,
            "try": self.try_instead or None,
            "verdict": self.verdict,
        }


def plan(settings: TrainSettings) -> Plan:
    """Read the rows and the model's configuration, and reckon. Raises as a training would before its first step."""
    config = read_config(settings.model)
    pretrained_quantization(settings, config)
    if settings.adapter is not None:
        adapters.check_folder(settings.adapter)
    device = choose_device(fsdp=settings.fsdp)
    arithmetic = choose_arithmetic(device, settings.compute_dtype)
    tokenizer = load_tokenizer(settings)
    with quiet():
        context = context_length(settings, config, tokenizer)
        feed = Feed(settings, tokenizer, context)
        choices = memory.choose(settings, config, device, arithmetic, feed.longest, adapter=settings.adapter)
        estimate = choices.estimate
        assert estimate is not None  # it is only of an inference
        steps = _steps(settings, feed, config)
        instead, options = _instead(settings, estimate, device, arithmetic)
    disk = _disk(settings, estimate, steps)
    return Plan(settings, device, arithmetic, choices, estimate, feed, steps, disk, instead, options)


def _steps(settings: TrainSettings, feed: Feed, config: Any) -> Steps:
    world = ranks.world_size()
    total = total_steps(settings, len(feed.rows), settings.batch_size * world)
    each = math.ceil(math.ceil(len(feed.rows) / (settings.batch_size * world)) / settings.grad_accum)
    if settings.packing == "off":
        return Steps(total, each, None, "rows are padded, as asked")
    share, faster = gain(feed.rows, settings.batch_size, config, settings.seed)
    padding = f"{100 * share:.0f} % of a batch is padding"
    if settings.packing == "auto" and faster < LEAST_GAIN:
        return Steps(total, each, None, f"rows are padded: {padding}")
    length = pack_length(feed.rows, settings.batch_size)
    packs = len(pack(feed.rows, length, settings.seed))
    packed = total_steps(settings, packs, world)
    return Steps(total, each, packed, f"{padding}, so rows are packed if the model keeps them apart")


def _disk(settings: TrainSettings, estimate: Estimate, steps: Steps) -> Disk:
    size = estimate.shape
    optimizer = next(part.bytes for part in estimate.parts if part.name == "optimizer")
    output = settings.output.absolute()
    there = next((folder for folder in (output, *output.parents) if folder.is_dir()), Path("/"))
    free, _total = host.disk(there)
    return Disk(
        checkpoint=4 * size.trained + optimizer + _BESIDE,
        written=math.ceil(steps.total / settings.save_steps),
        kept=settings.save_total_limit,
        free=free,
    )


def _instead(
    settings: TrainSettings, found: Estimate, device: Device, arithmetic: Arithmetic
) -> tuple[Estimate | None, str]:
    """Return the first change that would fit: a smaller batch with as many rows a step, then shorter rows."""
    if found.fits:
        return None, ""
    lengths = [found.length] + [length for length in (4096, 2048, 1024, 512, 256) if length < found.length]
    for length in lengths:
        batch = settings.batch_size
        while batch:
            smaller = settings.model_copy(update={"batch_size": batch})
            tried = memory.estimate(
                smaller,
                found.shape,
                device,
                arithmetic,
                length,
                free=found.free,
                gradient_checkpointing=True,
                optimizer="paged_adamw_8bit" if device.cuda else found.optimizer,
            )
            if tried.fits:
                return tried, _options(settings, found, tried, batch)
            batch //= 2
    return None, ""


def _options(settings: TrainSettings, found: Estimate, tried: Estimate, batch: int) -> str:
    said = []
    if batch != settings.batch_size:
        accumulate = math.ceil(settings.batch_size * settings.grad_accum / batch)
        said.append(f"--batch-size {batch} --grad-accum {accumulate}")
    if tried.length != found.length:
        said.append(f"--max-length {tried.length}")
    if settings.gradient_checkpointing == "off":
        said.append("--gradient-checkpointing on")
    if settings.optimizer not in ("auto", tried.optimizer):
        said.append(f"--optimizer {tried.optimizer}")
    return " ".join(said)


def _wrapped(name: str, said: str) -> list[str]:
    """One fact in 80 columns: its name, and what is said beside it."""
    # The table of memory keeps its columns: what does not fit goes below its third.
    deeper = 38 if said.startswith(" ") else 12
    return textwrap.wrap(
        said,
        WIDTH,
        initial_indent=f"{name:<12}",
        subsequent_indent=" " * deeper,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _millions(value: int) -> str:
    """`8030261248` as `8.03 billion`."""
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return text.count(value)
