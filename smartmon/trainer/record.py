"""`training_config.json`: what a training was asked for, what it decided and with which packages, beside its adapter.

The next training in the same folder reads it, to say what has changed since the checkpoint that it goes on from.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import smartmon
from smartmon.trainer.settings import TrainSettings

NAME = "training_config.json"
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")

_FIXED = ("model", "lora_r", "target_modules", "modules_to_save")
"""Settings that give the weights their shape: a checkpoint of others does not fit."""
_FREE = (
    *("dataset", "base_dir", "output_dir", "resume", "strict", "control", "threads", "on_nonfinite", "early_stopping"),
    *("logging_steps", "save_steps", "save_total_limit", "eval_steps"),
    *("detail_steps", "detail_tokens", "detail_limit", "detail_share"),
)
"""Settings that leave the arithmetic of the training steps alone. What is in the dataset goes by its digest."""


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The versions of smartmon and of the packages that train."""
    found = {"smartmon": smartmon.__version__}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def begin(settings: TrainSettings, data: str, rows: int, world_size: int) -> dict[str, Any]:
    """The record of a training that begins."""
    return {
        "state": "training",
        "begun": datetime.now().astimezone().isoformat(timespec="seconds"),
        "settings": settings.model_dump(mode="json"),
        "dataset_sha256": data,
        "rows": rows,
        "world_size": world_size,
        "versions": versions(),
    }


def read(output: Path) -> dict[str, Any]:
    """The record of the training that wrote into a folder before; empty when there is none that can be read."""
    try:
        value = json.loads((output / NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write(output: Path, record: Mapping[str, Any]) -> None:
    """Write the record, atomically and onto the disk."""
    replace(output / NAME, (json.dumps(record, indent=2) + "\n").encode())


def replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or as it was before, after a power cut too."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def unfit(before: Mapping[str, Any], settings: TrainSettings) -> list[str]:
    """Say which settings differ so that the weights of the checkpoint do not fit."""
    return _differences(before, settings, only=_FIXED)


def changes(before: Mapping[str, Any], settings: TrainSettings, data: str, world_size: int) -> list[str]:
    """Say what is not as it was when the checkpoint was written, as far as it changes the steps to come."""
    if not before:
        return []
    found = _differences(before, settings, only=[name for name in TrainSettings.model_fields if name not in _FREE])
    if before.get("dataset_sha256") not in (None, data):
        found.insert(0, "the dataset is another: its rows come in another order")
    if before.get("world_size") not in (None, world_size):
        found.append(f"processes were {before['world_size']}, now {world_size}: rows are dealt out anew")
    return found


def _differences(before: Mapping[str, Any], settings: TrainSettings, *, only: list[str] | tuple[str, ...]) -> list[str]:
    old, new = before.get("settings"), settings.model_dump(mode="json")
    if not isinstance(old, dict):
        return []
    return [
        f"{name} was {_shown(old[name])}, now {_shown(new[name])}"
        for name in only
        if name in old and old[name] != new[name]
    ]


def _shown(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
