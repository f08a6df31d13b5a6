"""Whose a row of JSON is: told by the keys that only one trainer writes. For the account of a source, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SIGNS = (
    ("LLaMA-Factory", re.compile("current_steps")),
    ("ms-swift", re.compile(r"global_step/max_steps|train_speed\((s/it|iter/s)\)")),
    ("axolotl", re.compile(r"memory/(max_active|max_allocated|device_reserved) \(GiB\)|tokens/train_per_sec_per_gpu")),
    ("torchtune", re.compile("tokens_per_second_per_gpu|peak_memory_(active|alloc|reserved)")),
    ("verl", re.compile(r"(actor|critic|timing_s|perf)/.+")),
    (
        "TRL",
        re.compile(r"(eval_)?(mean_token_accuracy|num_tokens|frac_reward_zero_std|rewards/.+|completions/.+)"),
    ),
    ("Weights & Biases", re.compile("_step|_runtime")),
    ("smartmon", re.compile("steps_per_sec|expert_usage|streaming_ce|eval_perplexity")),
)
"""Name -> a key that gives it away, the surest first."""
_TOGETHER = (
    ("TRL", {"mean_reward", "max_reward", "min_reward"}),
    ("TRL", {"eval_mean_reward", "eval_max_reward", "eval_min_reward"}),
    ("Hugging Face", {"loss", "learning_rate", "epoch"}),
    ("Hugging Face", {"eval_runtime", "epoch"}),
    ("Hugging Face", {"train_runtime", "train_loss"}),
)
"""Name -> keys that many use, but no other all of them."""


def dialect(record: Mapping[str, Any]) -> str:
    """Return the trainer that writes such rows, or nothing."""
    if isinstance(record.get("data"), Mapping) and "step" in record:
        return "verl"
    if isinstance(record.get("iteration"), str) and "/" in record["iteration"]:
        return "ms-swift with Megatron"
    for name, sign in _SIGNS:
        if any(sign.fullmatch(key) for key in record):
            return name
    return next((name for name, keys in _TOGETHER if keys <= record.keys()), "")
