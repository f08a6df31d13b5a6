"""One table: what trainers call things, and what smartmon calls them.

A name that is not here is kept as it is. Within a row the earlier name of a line wins, the others keep their own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cache

from smartmon.records import RunState


class Kind(enum.Enum):
    """How the value of a key is read."""

    NUMBER = enum.auto()
    OTHER = enum.auto()
    """A number under a name of its own: quoted numbers are labels here, except `"nan"` and `"inf"`."""
    PERCENT = enum.auto()
    GIBIBYTES = enum.auto()
    MEMORY = enum.auto()
    """Text such as `19.43GB`, or a bare number of megabytes."""
    DURATION = enum.auto()
    """Seconds, or `1 day, H:MM:SS`."""
    STEP = enum.auto()
    PROGRESS = enum.auto()
    """Text such as `37/1000`: the step and the total."""
    TIME = enum.auto()
    SKIP = enum.auto()


CANONICAL: dict[str, str] = {
    "step": (
        "step | global_step | current_step | current_steps | train/global_step"
        " | trainer/global_step | global_step/max_steps | iteration | iter | iters | _step"
        " | training/global_step"
    ),
    "timestamp": "timestamp | _timestamp | wall_time | datetime | time",
    "total_steps": "total_steps | max_steps | total_iterations | max_iters",
    "epoch": "epoch | current_epoch | train/epoch | training/epoch",
    "loss": (
        "loss | train_loss_step | train/loss_step | train/step_loss | train_loss | train/loss | training_loss"
        " | loss/train | lm_loss | lm loss | epoch_loss | avg_train_loss | avg_loss"
    ),
    "eval_loss": (
        "eval_loss | validation_loss | val_loss | eval/loss | val/loss | valid_loss"
        " | validation/loss | loss/val | loss/eval | loss/validation | loss/valid | val_loss_epoch | val/loss_epoch"
    ),
    "perplexity": "perplexity | ppl | train_perplexity | train_ppl | train/perplexity",
    "eval_perplexity": (
        "eval_perplexity | eval_ppl | val_perplexity | val_ppl | validation_perplexity"
        " | eval/perplexity | val/perplexity"
    ),
    "accuracy": (
        "accuracy_percent | accuracy | mean_token_accuracy | token_accuracy | train_accuracy"
        " | train_acc | acc | train/accuracy | train/mean_token_accuracy | train_acc_step | train/acc"
        " | accuracy/train | epoch_accuracy"
    ),
    "eval_accuracy": (
        "eval_accuracy_percent | val_accuracy_percent | eval_accuracy | validation_accuracy"
        " | val_accuracy | val_acc | eval_acc | eval_mean_token_accuracy"
        " | eval_token_accuracy | eval/accuracy | val/accuracy | eval/mean_token_accuracy | val_acc_epoch | val/acc"
        " | accuracy/val | accuracy/validation | accuracy/eval | metrics/accuracy_top1"
    ),
    "learning_rate": (
        "learning_rate | lr | train/learning_rate | train/lr | learning rate | lr-adamw | lr-adam | lr-sgd"
        " | lr/pg0 | x/lr0 | epoch_learning_rate | actor/lr"
    ),
    "grad_norm": "grad_norm | gradient_norm | train/grad_norm | grad norm | actor/grad_norm",
    "aux_loss": "aux_loss | router_aux_loss | train/aux_loss",
    "tokens_per_sec": (
        "tokens_per_sec | tokens_per_second | train_tokens_per_second | throughput | tok/sec"
        " | tokens_per_second_per_gpu | tokens/train_per_sec_per_gpu | perf/throughput"
    ),
    "samples_per_sec": "samples_per_sec | samples_per_second | train_samples_per_second",
    "steps_per_sec": "steps_per_sec | steps_per_second | train_steps_per_second",
    "eta_seconds": "eta_seconds | eta | remaining_time",
    "gpu_memory_mb": (
        "gpu_memory_mb | gpu_memory | vram_allocated | memory(gib) | memory/max_allocated (gib) | peak_memory_alloc"
    ),
}
"""Canonical key -> the names for it, best first. `accuracy_percent` comes first because it names its unit."""

_KINDS = {
    "accuracy_percent": Kind.PERCENT,
    "eval_accuracy_percent": Kind.PERCENT,
    "val_accuracy_percent": Kind.PERCENT,
    "gpu_memory": Kind.MEMORY,
    "vram_allocated": Kind.GIBIBYTES,
    "memory(gib)": Kind.GIBIBYTES,
    "memory/max_allocated (gib)": Kind.GIBIBYTES,
    "peak_memory_alloc": Kind.GIBIBYTES,
    "remaining_time": Kind.DURATION,
    "eta": Kind.DURATION,
    "elapsed_time": Kind.DURATION,
    "global_step/max_steps": Kind.PROGRESS,
    "iteration": Kind.PROGRESS,
}

EVAL_NAMES = {"loss": "eval_loss", "perplexity": "eval_perplexity", "accuracy": "eval_accuracy"}
"""What the bare names mean in a file that holds evaluations only."""

TEXTS = {
    "current_prompt": "current_prompt",
    "prompt": "current_prompt",
    "current_system_prompt": "current_system_prompt",
    "golden_answer": "golden_answer",
    "golden": "golden_answer",
    "model_answer": "model_answer",
    "predicted": "model_answer",
    "answer_matches": "answer_matches",
}
"""The sample fields of a status or detail file, which are no metrics."""

_WORDS = {
    RunState.PENDING: "idle pending initialized initializing initialised starting loading waiting queued",
    RunState.RUNNING: "training running train resumed evaluating validating saving in_progress active",
    RunState.PAUSED: "paused",
    RunState.COMPLETED: "completed complete done finished success succeeded",
    RunState.STOPPED: "stopped cancelled canceled interrupted aborted",
    RunState.FAILED: "crashed error failed failure oom",
    RunState.STALLED: "",
}
STATES = {word: state for state, words in _WORDS.items() for word in words.split()}
"""A trainer's word for its state -> ours."""


@dataclass(frozen=True, slots=True)
class Alias:
    """What a key of a row stands for."""

    name: str
    kind: Kind
    order: int = 0
    """Position among the names of its canonical key: the lowest wins within a row."""


def _table() -> dict[str, Alias]:
    table: dict[str, Alias] = {}
    for name, keys in CANONICAL.items():
        usual = {"step": Kind.STEP, "timestamp": Kind.TIME}.get(name, Kind.NUMBER)
        table |= {key: Alias(name, _KINDS.get(key, usual), order) for order, key in enumerate(keys.split(" | "))}
    return table | {"elapsed_time": Alias("elapsed_time", Kind.DURATION)}


_TABLE = _table()


@cache
def known_keys() -> frozenset[str]:
    """Return every key that has a meaning of its own."""
    return frozenset(_TABLE)


def alias(key: str) -> Alias | None:
    """Return what a key stands for, whatever its case, or None for a name of the trainer's own."""
    return _TABLE.get(key) or _TABLE.get(key.lower().strip())


def run_state(word: object) -> RunState | None:
    """Return the state that a trainer's word means, or None."""
    return STATES.get(word.strip().lower().replace(" ", "_")) if isinstance(word, str) else None
