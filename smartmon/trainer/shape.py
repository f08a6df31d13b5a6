"""How large a model is, counted from its configuration alone: no weight is read."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon.trainer import adapter as adapters
from smartmon.trainer.adapter import is_linear
from smartmon.trainer.quiet import quiet
from smartmon.trainer.settings import TrainSettings


@dataclass(frozen=True)
class Shape:
    """Counts of parameters, and the widths that activations have (in numbers a token)."""

    linear: int
    """Parameters in layers that can be held in 4 bits."""
    other: int
    """Embeddings, the output's layer, norms, and experts kept in one tensor: never in 4 bits."""
    adapter: int
    """Of the LoRA matrices."""
    copies: int
    """Of the layers trained whole."""
    small: int
    """Of `adapter` and `copies`, those in tensors of under 4,096, whose 8-bit optimizer state is not in 8 bits."""
    experts: int
    """Of `other`, those of experts."""
    largest: int
    """Parameters of the largest layer in 4 bits: so many numbers it takes to unpack it."""
    hidden: int
    feed_forward: int
    keys: int
    """Width of keys, and of values."""
    inputs: int
    """Width of all inputs of adapters in a block, added up."""
    layers: int
    heads: int
    vocabulary: int
    lean_attention: bool
    """Whether attention is computed without a matrix of length by length."""

    @property
    def parameters(self) -> int:
        """Of the base model."""
        return self.linear + self.other

    @property
    def trained(self) -> int:
        """Parameters that the optimizer moves."""
        return self.adapter + self.copies


def shape(settings: TrainSettings, config: Any, *, adapter: Path | None = None) -> Shape:
    """Count the parameters of a configuration, in a model without memory behind it, with its adapter on it.

    `adapter` is the folder of one to go on from. Raises UsageError for layers that the model does not have.
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    with quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        head = model.get_output_embeddings()
        linear = [layer.weight.numel() for layer in model.modules() if is_linear(layer) and layer is not head]
        named = {name: parameter.numel() for name, parameter in model.named_parameters()}
        experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name and p.dim() == 3)
        with adapters.explained(adapter) if adapter is not None else contextlib.nullcontext():
            adapted = get_peft_model(model, _configuration(model, settings, adapter))
    trained = {name: p.numel() for name, p in adapted.named_parameters() if p.requires_grad}
    copies = sum(count for name, count in trained.items() if ".modules_to_save." in name)
    told = config.get_text_config()
    layers = int(told.num_hidden_layers)
    return Shape(
        linear=sum(linear),
        other=sum(named.values()) - sum(linear),
        adapter=sum(trained.values()) - copies,
        copies=copies,
        small=sum(count for count in trained.values() if count < 4096),
        experts=experts,
        largest=max(linear, default=0),
        hidden=int(told.hidden_size),
        feed_forward=_feed_forward(told),
        keys=_keys(told),
        inputs=sum(p.shape[-1] for name, p in adapted.named_parameters() if ".lora_A." in name) // max(1, layers),
        layers=layers,
        heads=int(told.num_attention_heads),
        vocabulary=int(told.vocab_size),
        lean_attention=bool(getattr(model, "_supports_sdpa", False)),
    )


def _configuration(model: Any, settings: TrainSettings, adapter: Path | None) -> Any:
    if adapter is None:
        return adapters.configuration(model, settings)
    from peft import PeftConfig

    found = PeftConfig.from_pretrained(str(adapter))
    found.inference_mode = False  # as every adapter is saved; it would be frozen
    return found


def _feed_forward(told: Any) -> int:
    """Width of what lies between a block's two feed-forward halves; of all experts that one token visits."""
    for expert in ("moe_intermediate_size", "expert_ffn_hidden_size"):
        if getattr(told, expert, None):
            return int(getattr(told, expert)) * int(getattr(told, "num_experts_per_tok", None) or 1)
    width = getattr(told, "intermediate_size", None) or getattr(told, "n_inner", None) or 4 * told.hidden_size
    return int(width) * int(getattr(told, "num_experts_per_tok", None) or 1)


def _keys(told: Any) -> int:
    heads = int(told.num_attention_heads)
    size = int(getattr(told, "head_dim", None) or told.hidden_size // heads)
    return int(getattr(told, "num_key_value_heads", None) or heads) * size
