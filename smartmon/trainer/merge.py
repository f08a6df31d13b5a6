"""Writes an adapter and its base as one model, which every program that reads models can use."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import smartmon
from smartmon import host, text
from smartmon.errors import TrainingError, UsageError
from smartmon.snapshots import syscalls
from smartmon.trainer import checkpoints
from smartmon.trainer.finding import Found
from smartmon.trainer.pretrained import explained, pretrained_quantization, read_config
from smartmon.trainer.quiet import no_bars, quiet
from smartmon.trainer.settings import TrainSettings

RECORD = "smartmon_merge.json"
"""Beside the weights: where they come from."""
_SLACK = 64 << 20
"""Bytes for tokenizer and configuration, and so that the disk is not full to the brim."""
Base = Literal["dequantized", "original"]


@dataclass(frozen=True)
class Merged:
    """What was written."""

    folder: Path
    base_model: str
    base: Base
    why: str
    """Why this base."""
    dtype: str
    bytes: int
    files: int
    seconds: float


def merge(
    found: Found,
    out: Path,
    *,
    base: Base | None = None,
    dtype: str = "auto",
    say: Callable[[str], None] = lambda _line: None,
) -> Merged:
    """Write the merged model to `out`, whole or not at all.

    An adapter of a QLoRA training made up for what four bits lose, so by default it is added to the base as four bits
    give it back (`dequantized`): the merged model then answers as the trained one did. One that learned on the full
    weights is added to those (`original`). Raises UsageError for what cannot be merged, TrainingError for what breaks.
    """
    begun = time.monotonic()
    if not found.adapter:
        raise UsageError(f"{text.clean(found.folder)} is a whole model already: there is nothing to merge")
    _check_out(out, found.folder)
    config = read_config(found.base)
    settings = TrainSettings(dataset=Path(os.devnull), model=found.base)
    chosen, why = _choose(base, found, packed=pretrained_quantization(settings, config))
    kind = _dtype(config) if dtype == "auto" else dtype
    out_bytes = _check_room(out, config, kind, say)
    say(f"base: {text.clean(found.base)}, {chosen} ({why})")
    with quiet(), no_bars(), _staged(out) as staged:
        model = _loaded(settings, config, kind, quantize=chosen == "dequantized", needed=out_bytes)
        model = _with_adapter(model, settings, found)
        _save(model, found, staged, kind)
        told = {"adapter": str(found.folder.absolute()), "base_model": found.base, "base": chosen, "dtype": kind}
        _record(staged, told)
    files = [path for path in out.rglob("*") if path.is_file()]
    taken = sum(path.stat().st_size for path in files)
    return Merged(out, found.base, chosen, why, kind, taken, len(files), time.monotonic() - begun)


def _record(folder: Path, about: dict[str, str]) -> None:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    about = about | {"created_at": now, "smartmon_version": smartmon.__version__}
    (folder / RECORD).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _choose(asked: Base | None, found: Found, *, packed: bool) -> tuple[Base, str]:
    """Return the base to add to, and why."""
    if packed and asked == "original":
        raise UsageError(
            f"{text.clean(found.base)} is kept in 4 bits, so there is no original here to merge into; give the model "
            "it was made from with --base-model, or --base dequantized"
        )
    if asked is not None:
        return asked, "as asked"
    if packed:
        return "dequantized", "it is kept in 4 bits"
    if found.quantized is None:
        return "original", "nothing tells how the adapter was trained; for one of QLoRA give --base dequantized"
    return ("dequantized", "the adapter learned on 4 bits") if found.quantized else ("original", "as it was trained")


def _check_out(out: Path, adapter: Path) -> None:
    shown = text.clean(out)
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        what = "holds something" if out.is_dir() else "exists and is no folder"
        raise UsageError(f"cannot merge into {shown}: it {what}; give a new folder")
    # The folder of a checkpoint must not change, and that of the adapter is read by the daemon.
    inside, around = os.path.realpath(out), os.path.realpath(adapter)
    if os.path.commonpath((inside, around)) == around:
        raise UsageError(f"cannot merge into {shown}: it lies inside the adapter's own folder; give another place")


def _dtype(config: Any) -> str:
    """Return the type that the base is kept in."""
    told = str(getattr(config.get_text_config(), "dtype", None) or getattr(config, "dtype", None) or "")
    name = told.removeprefix("torch.")
    return name if name in ("float32", "float16", "bfloat16") else "float32"


def _check_room(out: Path, config: Any, dtype: str, say: Callable[[str], None]) -> int:
    """Return the bytes that the weights take; raise TrainingError where the disk, and say where memory, lacks them."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        weights = AutoModelForCausalLM.from_config(config).parameters()
    needed: int = sum(weight.numel() for weight in weights) * getattr(torch, dtype).itemsize
    place = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if needed + _SLACK > free:
        raise TrainingError(
            f"the merged model takes {text.size(needed)} in {dtype}, and {text.size(free)} are free in "
            f"{text.clean(place)}; free space, or give an OUT on another disk"
        )
    available, _total = host.memory()
    if available is not None and needed > available:
        say(f"note: merging takes {text.size(needed)} of memory, and {text.size(available)} are free")
    return needed


def _loaded(settings: TrainSettings, config: Any, dtype: str, *, quantize: bool, needed: int) -> Any:
    """Return the base in full weights; where `quantize`, as four bits give them back."""
    import torch
    from transformers import AutoModelForCausalLM

    from smartmon.trainer.device import Arithmetic
    from smartmon.trainer.model import quantization

    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "trust_remote_code": False}
    if quantize and not pretrained_quantization(settings, config):
        options["quantization_config"] = quantization(settings, Arithmetic(dtype, ""))
    if quantize:
        # Four bits are a matter of seconds on a GPU and of minutes on a CPU; one that is in use stays undisturbed.
        free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 0
        options["device_map"] = {"": "cuda:0" if free > 2 * needed else "cpu"}
    with explained(settings.model, "reading the weights of"):
        model = AutoModelForCausalLM.from_pretrained(settings.model, config=config, **options)
        return model.dequantize() if quantize else model


def _with_adapter(model: Any, settings: TrainSettings, found: Found) -> Any:
    """Return the model with the adapter added into its weights."""
    from smartmon.trainer.adapter import attach

    decisions: list[str] = []
    with_adapter = attach(model, settings, found.folder, training=False, decisions=decisions)
    try:
        return with_adapter.merge_and_unload(safe_merge=True)
    except ValueError as error:
        if "NaN" not in str(error):
            raise TrainingError(f"the adapter in {text.clean(found.folder)} cannot be merged: {error}") from error
        raise TrainingError(
            f"the adapter in {text.clean(found.folder)} holds NaN, so nothing was written; take an earlier checkpoint, "
            "or a snapshot: smartmon snapshots list"
        ) from None


def _save(model: Any, found: Found, staged: Path, dtype: str) -> None:
    import torch
    from transformers import AutoTokenizer

    model.to(getattr(torch, dtype))
    model.config.use_cache = True  # trainings switch it off, and it is saved with the model
    own = (found.folder / "tokenizer_config.json").is_file()
    with explained(found.base, "reading the tokenizer of"):
        tokenizer = AutoTokenizer.from_pretrained(found.folder if own else found.base, trust_remote_code=False)
    try:
        model.save_pretrained(staged)
        tokenizer.save_pretrained(staged)
    except Exception as error:
        # safetensors has errors of its own for a full disk.
        raise TrainingError(f"the merged model could not be written: {text.clean(error)}") from error


@contextlib.contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` to write into, which takes its name once all is on the disk, and else goes."""
    staged = out.absolute().parent / f".{out.absolute().name}.partial-{uuid.uuid4().hex}"
    held = -1
    try:
        staged.mkdir(parents=True)
        held = os.open(staged, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        _sweep(staged)
        yield staged
        for path in staged.iterdir():
            path.chmod(staged.stat().st_mode & 0o666)  # safetensors gives a file to its owner alone
        checkpoints.settle(staged)
        if out.is_dir():
            out.rmdir()
        syscalls.rename_new(staged, out)
        syscalls.sync_folder(staged.parent)
    except OSError as error:
        raise TrainingError(f"cannot write {text.clean(out)}: {error.strerror or error}; nothing was written") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if held >= 0:
            os.close(held)


def _sweep(staged: Path) -> None:
    """Remove what merges into the same place left when they were killed: who is alive holds a lock on its folder."""
    prefix = staged.name.rpartition("-")[0] + "-"
    for other in staged.parent.iterdir():
        if other == staged or not re.fullmatch(re.escape(prefix) + "[0-9a-f]{32}", other.name):
            continue
        with contextlib.suppress(OSError):
            folder = os.open(other, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other, ignore_errors=True)
            finally:
                os.close(folder)
