"""How much memory a training takes, and what follows: what to choose where it is scarce, what to lower when it is out.

Parameters are counted exactly, activations by what autograd keeps for one block of a Llama (transformers 5.23, peft
0.21, bitsandbytes 0.50; counted on a CPU by hooks on saved tensors; the allocator's peak agreed within 1 %). On a CPU
the sum was held against the real peak of processes: with 4 bits 8 % under to 44 % over, for the C library keeps what
is freed (benchmarks/trainer/RESULTS.md). On a GPU it is arithmetic: not yet held against one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.trainer.device import Arithmetic, Device, free_memory
from smartmon.trainer.settings import TrainSettings
from smartmon.trainer.shape import Shape, shape

NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight: 4 bits, a scale of 8 bits for each 64, a scale of 32 bits for each 256 of those: 4.127 bits.

Source: Dettmers et al. 2023, QLoRA, section 3 (double quantisation).
"""
ROOM = 0.92
"""Share of the free memory that is planned with; the rest is for what is not counted."""


@dataclass(frozen=True)
class Part:
    """One thing that takes memory, in bytes, and how it was reckoned."""

    name: str
    bytes: int
    how: str


@dataclass(frozen=True)
class Estimate:
    """The peak of one process on its device."""

    shape: Shape
    parts: tuple[Part, ...]
    free: int | None
    """Bytes that are free now, with the packages already loaded; None if unknown."""
    length: int
    """Longest row that was reckoned with, in tokens."""
    gradient_checkpointing: bool
    optimizer: str

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def fits(self) -> bool:
        """Whether it fits into what is free; True where that is unknown."""
        return self.free is None or self.total <= ROOM * self.free


@dataclass(frozen=True)
class Choices:
    """What `auto` became. `estimate` is None where nothing is trained."""

    gradient_checkpointing: bool
    optimizer: str
    reasons: list[str]
    estimate: Estimate | None = None


def choose(
    settings: TrainSettings,
    config: Any,
    device: Device,
    arithmetic: Arithmetic,
    length: int,
    *,
    adapter: Path | None = None,
    training: bool = True,
) -> Choices:
    """Decide what the settings leave to memory: first keep activations, then compute them twice, then a smaller Adam.

    `length` is the longest row in tokens. The paged 8-bit optimizer is for GPUs: on a CPU it was 25 times slower.
    """
    if not training:
        return Choices(False, "adamw_torch_fused", [])
    size, free = shape(settings, config, adapter=adapter), free_memory(device)
    checkpointing = {"auto": (False, True), "on": (True,), "off": (False,)}[settings.gradient_checkpointing]
    optimizers: list[str] = [settings.optimizer]
    if settings.optimizer == "auto":
        optimizers = ["adamw_torch_fused", "paged_adamw_8bit"] if device.cuda else ["adamw_torch_fused"]
    tried = [
        estimate(settings, size, device, arithmetic, length, free=free, gradient_checkpointing=twice, optimizer=name)
        for name in optimizers
        for twice in checkpointing
    ]
    chosen = next((one for one in tried if one.fits), tried[-1])
    return Choices(chosen.gradient_checkpointing, chosen.optimizer, _reasons(settings, tried, chosen), chosen)


def _reasons(settings: TrainSettings, tried: list[Estimate], chosen: Estimate) -> list[str]:
    free = "" if chosen.free is None else f" of {text.size(chosen.free)} free"
    need = f"about {text.size(chosen.total)}{free}"
    why = "as asked"
    if settings.gradient_checkpointing == "auto":
        why = "memory asks for it" if chosen.gradient_checkpointing else "memory suffices without"
    lines = [
        f"memory: {need}, with rows of {chosen.length:,} tokens"
        + ("" if chosen.fits else "; it may not suffice, see --plan"),
        f"gradient checkpointing: {'on' if chosen.gradient_checkpointing else 'off'} ({why})",
    ]
    why = "as asked"
    if settings.optimizer == "auto":
        why = "memory suffices for it" if chosen.optimizer == tried[0].optimizer else "memory asks for it"
    lines.append(f"optimizer: {chosen.optimizer} ({why})")
    if settings.quantize and chosen.shape.experts:
        lines.append(
            f"experts: {text.count(chosen.shape.experts)} parameters stay unquantised "
            "(bitsandbytes packs linear layers, and they lie in one tensor)"
        )
    return lines


def estimate(
    settings: TrainSettings,
    size: Shape,
    device: Device,
    arithmetic: Arithmetic,
    length: int,
    *,
    free: int | None,
    gradient_checkpointing: bool,
    optimizer: str,
) -> Estimate:
    """Reckon the peak of one training process, in bytes."""
    parts = [
        *_weights(settings, size, device, arithmetic),
        Part("gradients", 4 * size.trained, "4 bytes for each trained parameter"),
        _optimizer(size, optimizer),
        *_activations(settings, size, device, arithmetic, length, twice=gradient_checkpointing),
    ]
    counted = sum(part.bytes for part in parts)
    if device.cuda:
        parts.append(Part("CUDA and gaps", 500_000_000 + counted // 20, "0.5 GB and 5 %, not measured"))
    else:
        # Measured: the C library keeps about as much again of what comes and goes, to hand it out anew.
        kept = sum(part.bytes for part in parts if part.name in ("activations", "logits"))
        parts.append(Part("gaps", 60_000_000 + kept, "as much again as activations and logits, and 60 MB"))
    return Estimate(size, tuple(parts), free, length, gradient_checkpointing, optimizer)


def _weights(settings: TrainSettings, size: Shape, device: Device, arithmetic: Arithmetic) -> list[Part]:
    plain = arithmetic.bytes if device.cuda or not settings.quantize else 4
    base, how = size.linear * arithmetic.bytes, f"linear layers in {arithmetic.dtype}"
    workspace = 0
    if settings.quantize:
        base, how = int(size.linear * NF4), "linear layers, 4.13 bits a weight"
        workspace = size.largest * arithmetic.bytes
    kind = "embeddings, output, norms" + (", experts" if size.experts else "")
    parts = [
        Part("base model", base, how),
        Part("not in 4 bits" if settings.quantize else "the rest", size.other * plain, f"{kind}, {plain} bytes each"),
        Part("adapter", 4 * size.trained, f"{text.count(size.trained)} parameters in float32"),
    ]
    return [*parts, Part("unpacking", workspace, "the largest layer, unpacked")] if workspace else parts


def _optimizer(size: Shape, optimizer: str) -> Part:
    if optimizer == "paged_adamw_8bit":
        # A tensor of under 4,096 numbers keeps its state in 32 bits.
        return Part("optimizer", 2 * (size.trained - size.small) + 8 * size.small, "2 bytes for each trained parameter")
    return Part("optimizer", 8 * size.trained, "8 bytes for each trained parameter")


def _activations(
    settings: TrainSettings, size: Shape, device: Device, arithmetic: Arithmetic, length: int, *, twice: bool
) -> list[Part]:
    """Return what the backward pass needs, and the logits, which peak between the two passes.

    A block keeps for each token, with e bytes a number: e (4 f + 2 k) + 24 h, with f the feed-forward width (gate, up,
    activation, product), k that of keys and of values, h the hidden one (norms keep float32). Dropout keeps each
    adapter's input anew, and its mask. Computed twice, a block keeps only its input, and one block at a time the rest;
    its peak and that of the logits never meet.
    """
    e, tokens = arithmetic.bytes, settings.batch_size * length
    block = e * (4 * size.feed_forward + 2 * size.keys) + 24 * size.hidden
    if settings.lora_dropout:
        mask = 1 if device.cuda else e
        block += (e + mask) * size.inputs - e * (2 * size.hidden + size.feed_forward)
    if not size.lean_attention:
        block += 2 * e * size.heads * length
    block += 4 * settings.lora_r * 7
    # While its gradient is taken, the log-softmax, its own gradient and the logits' are there, in float32 each; in half
    # precision that gradient is cast as well.
    logits = tokens * size.vocabulary * (12 if e == 4 else 14)
    if not twice:
        kept = tokens * block * size.layers
        how = f"{size.layers} blocks of {text.count(tokens)} tokens, all kept"
    else:
        kept = tokens * (e * size.hidden * size.layers) + max(0, tokens * block - logits)
        how = f"inputs of {size.layers} blocks of {text.count(tokens)} tokens, the rest computed twice"
    return [
        Part("activations", kept, how),
        Part("logits", logits, f"{text.count(tokens)} tokens x {text.count(size.vocabulary)} words"),
    ]


def oom_advice(settings: TrainSettings, error: BaseException) -> str:
    """Say what to lower, in order of what it costs the training, with values to try, after memory ran out."""
    tried: list[str] = []
    if settings.batch_size > 1:
        half = settings.batch_size // 2
        accumulate = -(-settings.batch_size * settings.grad_accum // half)
        tried.append(f"--batch-size {half} --grad-accum {accumulate} (the same step, in smaller bites)")
    if settings.gradient_checkpointing != "on":
        tried.append("--gradient-checkpointing on (about a third slower, most activations gone)")
    if settings.max_length > 256:
        tried.append(f"--max-length {max(256, settings.max_length // 2)} (longer rows are cut)")
    if settings.optimizer != "paged_adamw_8bit":
        tried.append("--optimizer paged_adamw_8bit (on a GPU)")
    if not settings.quantize:
        tried.append("leave out --no-quantize (a quarter of the weights' memory)")
    if settings.modules_to_save:
        tried.append(f"train no layers whole (now: {', '.join(settings.modules_to_save)})")
    if settings.lora_r > 8:
        tried.append(f"--lora-r {max(8, settings.lora_r // 2)}")
    tried.append("a smaller model")
    lines = "\n".join(f"  {number}. {what}" for number, what in enumerate(tried, 1))
    said = text.clean(str(error).strip().split("\n", 1)[0])[:200]
    what = said or type(error).__name__
    return f"memory ran out ({what}). Lower, in this order:\n{lines}\n--plan shows what takes how much"
