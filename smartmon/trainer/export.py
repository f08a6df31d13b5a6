"""The adapter as the training leaves it: the files of its last checkpoint that other programs load, in its folder."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from smartmon.trainer import checkpoints, record

_STATE = (
    "optimizer",
    "scheduler",
    "rng_state",
    "scaler",
    "trainer_state",
    "training_args",
    "README",
    "pytorch_model_fsdp",
)
"""Beginnings of the names in a checkpoint that only a training reads."""
_WEIGHTS = "adapter_model.safetensors"
_ADAPTER = (_WEIGHTS, "adapter_config.json", record.NAME)


def export(checkpoint: Path, output: Path) -> Path:
    """Copy adapter, tokenizer and chat template from a whole checkpoint into `output`; return the adapter's path.

    Each file is replaced as a whole and is on the disk before it is; the weights come last.
    """
    files = [path for path in checkpoint.iterdir() if path.is_file() and not path.name.startswith((*_STATE, "."))]
    for path in sorted(files, key=lambda path: (path.name == _WEIGHTS, path.name)):
        temporary = output / f".{path.name}.new"
        shutil.copyfile(path, temporary)
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(output / path.name)
    descriptor = os.open(output, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return output / _WEIGHTS


def keep_before(output: Path) -> Path | None:
    """Keep the adapter that another training left, whose place the new one takes, in `.earlier/`; return where.

    It stays where it is until then. None where there is none, or where what was set aside holds the same weights.
    """
    weights = output / _WEIGHTS
    if not weights.is_file():
        return None
    kept = [*output.glob(f"{checkpoints.EARLIER}/*/{_WEIGHTS}"), *output.glob(f"{checkpoints.EARLIER}/*/*/{_WEIGHTS}")]
    if any(filecmp.cmp(weights, path, shallow=False) for path in kept):
        return None
    place = checkpoints.earlier(output)
    for path in (output / name for name in _ADAPTER):
        if path.is_file():
            _link(path, place / path.name)
    return place


def _link(path: Path, target: Path) -> None:
    """A second name takes no room, and keeps what it names when the first one is replaced."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
