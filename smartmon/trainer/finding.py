"""Finds what a person means by an adapter: its folder, a training's output, a checkpoint, a snapshot; and its base."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smartmon.errors import UsageError
from smartmon.snapshots import folder as snapshots
from smartmon.snapshots.complete import files_problem
from smartmon.snapshots.metadata import METADATA, MODEL
from smartmon.text import clean
from smartmon.trainer import checkpoints, record

_CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


@dataclass(frozen=True)
class Found:
    """An adapter, or a whole model."""

    folder: Path
    adapter: bool
    base: str = ""
    """The model that the adapter was trained on: a folder, or a name on the hub."""
    trained: Mapping[str, Any] = field(default_factory=dict)
    """The settings of its training; empty when nothing tells them."""
    note: str = ""
    """Which of several was taken, and why."""

    @property
    def quantized(self) -> bool | None:
        """Whether the base was in 4 bits while the adapter learned; None when nothing tells."""
        told = self.trained.get("quantize")
        return told if isinstance(told, bool) else None


def find(path: Path, *, base_model: str | None = None, snapshots_dir: Path | None = None) -> Found:
    """Return what a path, or the name of a snapshot in `snapshots_dir`, holds; raise UsageError with what to give.

    `base_model` is asked for before what the adapter itself names.
    """
    if not path.exists() and path.name == str(path) and snapshots_dir is not None:
        kept = snapshots.scan(snapshots_dir)
        if kept:
            path = snapshots.choose(kept, str(path)).path
    if not path.is_dir():
        if path.exists():
            raise UsageError(f"cannot take an adapter from {clean(path)}: it is a file; give the folder it lies in")
        raise UsageError(
            f"cannot take an adapter from {clean(path)}: it is not there; give the output folder of a training "
            "(smartmon train), a checkpoint, or a snapshot"
        )
    folder, note = _chosen(path)
    if not (folder / _CONFIG).is_file():
        return Found(folder, adapter=False, note=note)
    trained = _settings(folder)
    base = base_model or _base_of(folder, trained)
    return Found(folder, True, base, trained, note)


def _chosen(path: Path) -> tuple[Path, str]:
    """Return the folder of the adapter or model, in what was given or below it, and why that one."""
    if (path / METADATA).is_file() and (path / MODEL).is_dir():
        return _of_snapshot(path)
    own = _whole(path)
    if checkpoints.step_of(path) is not None and own:
        return path, ""
    below = [
        folder for folder in checkpoints.find(path) if _whole(folder) and (folder / "trainer_state.json").is_file()
    ]
    if below and not (own and _written(path) >= _written(below[-1])):
        why = "it is newer than the adapter beside it" if own else "the newest that is whole"
        return below[-1], f"{below[-1].name}: {why}"
    if own:
        return path, ""
    if (path / _CONFIG).is_file():
        raise UsageError(f"the adapter in {clean(path)} cannot be used: {_trouble(path)}")
    if not (path / "config.json").is_file():
        raise UsageError(
            f"{clean(path)} holds no adapter (adapter_config.json), no checkpoint of one, and no model (config.json); "
            "give the output folder of a training, or a snapshot"
        )
    return path, ""


def _of_snapshot(path: Path) -> tuple[Path, str]:
    """Of several checkpoints take the last good one: the snapshot may have been made because the newest is not."""
    model = path / MODEL
    whole = [folder for folder in checkpoints.find(model) if _whole(folder)]
    good = _json(path / METADATA).get("last_good_checkpoint_step")
    for folder in whole:
        if checkpoints.step_of(folder) == good:
            return folder, f"{folder.name}: the last good one of {clean(path.name)}"
    if whole:
        return whole[-1], f"{whole[-1].name} of {clean(path.name)}"
    if _whole(model) or (model / "config.json").is_file():
        return model, f"the model of {clean(path.name)}"
    raise UsageError(f"the snapshot {clean(path.name)} holds no adapter: {_trouble(model)}")


def _whole(folder: Path) -> bool:
    return not _trouble(folder)


def _trouble(folder: Path) -> str:
    """Say why a folder is no adapter that can be read; empty when it is one."""
    if not (folder / _CONFIG).is_file():
        return f"it has no {_CONFIG}"
    sizes = {name: (folder / name).stat().st_size for name in _WEIGHTS if (folder / name).is_file()}
    if not sizes:
        return f"it has no {_WEIGHTS[0]}"

    def read(name: str, offset: int, length: int) -> bytes:
        with (folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    return files_problem(sizes, read)


def _written(folder: Path) -> float:
    return max((folder / name).stat().st_mtime for name in _WEIGHTS if (folder / name).is_file())


def _settings(folder: Path) -> dict[str, Any]:
    """Return the settings that the trainer wrote down beside the adapter, or above its checkpoint."""
    for place in (folder, folder.parent):
        settings = record.read(place).get("settings")
        if isinstance(settings, dict):
            return settings
    return {}


def _base_of(folder: Path, trained: Mapping[str, Any]) -> str:
    named = _json(folder / _CONFIG).get("base_model_name_or_path") or trained.get("model")
    if not isinstance(named, str) or not named:
        raise UsageError(f"the adapter in {clean(folder)} does not say which model it is of; give --base-model")
    # A path that was relative for the training may be so to any of the folders around its output.
    places = [Path(), *folder.absolute().parents[:4]]
    local = next((place / named for place in places if (place / named / "config.json").is_file()), None)
    if local is not None:
        return str(local)
    # owner/name is how the hub names models; anything else can only have been meant as a folder.
    if Path(named).is_absolute() or named.startswith(".") or named.count("/") != 1:
        raise UsageError(
            f"the adapter in {clean(folder)} was trained on {clean(named)}, which is not there; "
            "say where that model is now with --base-model"
        )
    return named


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
