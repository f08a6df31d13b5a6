"""The adapter: low-rank matrices beside the layers of a frozen model (LoRA), new or gone on from a folder."""

from __future__ import annotations

import contextlib
import difflib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.errors import SmartmonError, TrainingError, UsageError
from smartmon.trainer.pretrained import weights_problem
from smartmon.trainer.settings import TrainSettings

ALL = "all-linear"
"""All linear layers but the output's."""
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def attach(model: Any, settings: TrainSettings, folder: Path | None, *, training: bool, decisions: list[str]) -> Any:
    """Return the model with the adapter of a folder, or with a new one if it is to be trained.

    Says in `decisions` what is trained. Raises UsageError for layers that are not there and folders that hold no
    adapter, TrainingError for an adapter of another model or a damaged one.
    """
    if folder is not None:
        model = _read(model, folder, training=training)
        own = model.peft_config["default"]
        decisions.append(f"adapter: {'going on from ' if training else ''}{text.clean(folder)}, rank {own.r}")
    elif training:
        model = _new(model, settings)
        decisions.append(f"adapter: new, rank {settings.lora_r}, on {_targets(model)}")
    if training:
        decisions.append(_trained(model))
    return model


def _new(model: Any, settings: TrainSettings) -> Any:
    import torch
    from peft import get_peft_model

    # An adapter begins with noise in one of its two matrices: the same seed, the same noise.
    torch.manual_seed(settings.seed)
    return get_peft_model(model, configuration(model, settings))


def configuration(model: Any, settings: TrainSettings) -> Any:
    """Return a new adapter's configuration as peft has it. Raises UsageError for layers that are not there."""
    from peft import LoraConfig

    check_layers(model, settings)
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=ALL if ALL in settings.target_modules else list(settings.target_modules),
        modules_to_save=list(settings.modules_to_save) or None,
        task_type="CAUSAL_LM",
        **_tying(model, settings),
    )


def _tying(model: Any, settings: TrainSettings) -> dict[str, Any]:
    """Tied embeddings that are trained stay tied: peft would train two copies that drift apart."""
    if not (settings.modules_to_save and getattr(model.config.get_text_config(), "tie_word_embeddings", False)):
        return {}
    return {"ensure_weight_tying": True}


def check_layers(model: Any, settings: TrainSettings) -> None:
    """Raise UsageError for names of layers that the model does not have, with those it has that are near."""
    linear = {part for name, module in model.named_modules() if is_linear(module) for part in _endings(name)}
    modules = {
        name for name, module in model.named_modules() if next(module.parameters(recurse=False), None) is not None
    }
    every = {part for name in modules for part in _endings(name)}
    _known("target_modules", [name for name in settings.target_modules if name != ALL], linear)
    _known("modules_to_save", list(settings.modules_to_save), every)
    packed = [
        name
        for name in settings.modules_to_save
        for full, module in model.named_modules()
        if type(module).__name__ == "Linear4bit" and name in _endings(full)
    ]
    if packed:
        raise UsageError(
            f"modules_to_save: {packed[0]} is held in 4 bits, which cannot be trained whole; "
            "name it in target_modules, or do not quantise"
        )


def is_linear(module: Any) -> bool:
    """Whether a layer multiplies by one matrix: GPT-2's Conv1D does, by its transpose."""
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def _known(setting: str, asked: list[str], known: set[str]) -> None:
    unknown = [name for name in asked if name not in known]
    if not unknown:
        return
    short = sorted({name for name in known if "." not in name})
    near = difflib.get_close_matches(unknown[0], short, 3, 0.5) or short
    names = ", ".join(near[:8])
    raise UsageError(f"{setting}: the model has no layer {text.clean(unknown[0])}; it has {names}")


def _endings(name: str) -> list[str]:
    """`a.b.c` as peft matches it: `c`, `b.c`, `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[at:]) for at in range(len(parts))]


def check_folder(folder: Path) -> None:
    """Raise UsageError for a folder that holds no adapter, TrainingError for one whose adapter is damaged."""
    shown = text.clean(folder)
    if not (folder / "adapter_config.json").is_file():
        raise UsageError(f"{shown} holds no adapter_config.json; give the folder of an adapter or of a checkpoint")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise UsageError(f"{shown} holds no {WEIGHTS[0]}; give the folder of an adapter or of a checkpoint")
    if problem := weights_problem(folder):
        raise TrainingError(f"the adapter in {shown} is damaged: {problem}; give another checkpoint")


def _read(model: Any, folder: Path, *, training: bool) -> Any:
    from peft import PeftModel

    check_folder(folder)
    with explained(folder), warnings.catch_warnings():
        # peft only warns, and trains on with random matrices.
        warnings.filterwarnings("error", message="Found missing adapter keys")
        return PeftModel.from_pretrained(model, str(folder), is_trainable=training)


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what peft raises while it lays a folder's adapter on a model into one sentence."""
    try:
        yield
    except SmartmonError:
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        said = str(error).strip() or type(error).__name__
        if "missing adapter keys" in said:
            told = "it lacks some of its matrices"
        elif "size mismatch" in said or "not found in the base model" in said:
            told = "it was trained on another model"
        else:
            told = text.clean(said.splitlines()[0])[:200]
        raise TrainingError(
            f"the adapter in {text.clean(folder)} cannot be loaded: {told}; give another, or the model it is of"
        ) from error


def _targets(model: Any) -> str:
    from peft.tuners.lora import LoraLayer

    names = [name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    kinds = sorted(set(names))
    return f"{len(names)} layers ({', '.join(kinds[:8])}{', ...' if len(kinds) > 8 else ''})"


def _trained(model: Any) -> str:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return f"trained: {trained:,} parameters"
