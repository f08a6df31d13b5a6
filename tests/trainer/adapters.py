"""An adapter as a training leaves it, without the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from smartmon.trainer.settings import TrainSettings


def make_adapter(folder: Path, model: Path, **given: Any) -> Any:
    """Write an adapter with weights that change the answers, its tokenizer and the settings; return what trains it."""
    import torch

    from smartmon.trainer.model import load

    settings = TrainSettings(dataset=Path("unused"), model=str(model), lora_r=4, **given)
    loaded = load(settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    (folder / "training_config.json").write_text(json.dumps({"settings": settings.model_dump(mode="json")}))
    return loaded.model


def make_checkpoint(output: Path, step: int, adapter: Path) -> Path:
    """Write `checkpoint-N` with the files that say it is whole; the weights are those of another adapter."""
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_bytes((adapter / name).read_bytes())
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder
