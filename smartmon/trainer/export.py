"""The adapter as the training leaves it: the files of its last checkpoint that other programs load, in its folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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
