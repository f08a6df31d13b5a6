"""Which experts the routers of a mixture-of-experts model choose, counted in one step of a hundred."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

_ROUTER = re.compile(r"(?:.*\.)?(?:gate|router)(?:\.classifier)?")
_NUMBERS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_CHOSEN = ("num_experts_per_tok", "moe_top_k", "num_experts_per_token", "moe_k", "top_k_experts")


class Experts:
    """Counts choices by forward hooks on the routers, which are there only during the steps that are counted."""

    def __init__(self, model: Any, every: int = 100) -> None:
        config = _text_config(model)
        self.number = _first(config, _NUMBERS)
        self._chosen = _first(config, _CHOSEN) or 1
        self._every = every
        self._routers = [module for name, module in _routers(model)] if self.number > 1 else []
        self._names = [_layer(name, place) for place, (name, _) in enumerate(_routers(model))]
        self._counts: dict[int, Any] = {}
        self._mask: Any = None
        self._open = False
        """Whether the model's pass is going on: what checkpointed layers do again on the way back counts once."""
        self._handles: list[Any] = []
        self._model = model

    def __bool__(self) -> bool:
        """Whether the model has any."""
        return bool(self._routers)

    def due(self, step: int) -> bool:
        """Whether the step that is about to be taken, the `step`-th, is one to count."""
        return bool(self._routers) and self._every > 0 and step % self._every == 0

    def start(self) -> None:
        """Begin to count."""
        self.stop()
        self._counts = {}
        self._handles = [self._model.register_forward_pre_hook(self._begin, with_kwargs=True)]
        self._handles.append(self._model.register_forward_hook(self._finish))
        for place, router in enumerate(self._routers):
            self._handles.append(router.register_forward_hook(lambda _m, _i, out, p=place: self._seen(p, out)))

    def stop(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def counts(self) -> list[float]:
        """Return how often each expert was chosen, layer after layer, and end the count. Waits for the GPU."""
        self.stop()
        counts = self.nothing()
        for place, counted in self._counts.items():
            counts[place * self.number : (place + 1) * self.number] = counted.tolist()
        return counts

    def nothing(self) -> list[float]:
        """Return as many zeros."""
        return [0.0] * (self.number * len(self._routers))

    def usage(self, counts: Sequence[float]) -> dict[str, Any]:
        """Return a row of `expert_usage_log.jsonl` from such counts, of one process or of all."""
        rows = [counts[start : start + self.number] for start in range(0, len(counts), self.number)]
        return {name: layer_usage(row) for name, row in zip(self._names, rows) if sum(row)}

    def _begin(self, _module: Any, _given: Any, inputs: dict[str, Any]) -> None:
        mask: Any = inputs.get("attention_mask")
        self._mask = mask.reshape(-1) if getattr(mask, "ndim", 0) == 2 else None
        self._open = True

    def _finish(self, _module: Any, _given: Any, _output: Any) -> None:
        self._open = False

    def _seen(self, place: int, output: Any) -> None:
        if not self._open:
            return
        try:
            chosen = self._choices(output)
            if chosen is None:
                return
            import torch

            weights = torch.ones_like(chosen, dtype=torch.float32)
            if self._mask is not None and self._mask.numel() == chosen.shape[0]:
                # Padding goes through the router like everything else, and all of it the same way.
                weights *= self._mask.to(chosen.device, torch.float32)[:, None]
            counted = torch.zeros(self.number, dtype=torch.float32, device=chosen.device)
            counted.scatter_add_(0, chosen.reshape(-1), weights.reshape(-1))
            self._counts[place] = self._counts[place] + counted if place in self._counts else counted
        except Exception:  # noqa: BLE001 - a router of a shape never seen; its layer is left out
            self._counts.pop(place, None)

    def _choices(self, output: Any) -> Any:
        """Return the experts chosen for each token, as a table of tokens by choices; None where it cannot be told."""
        parts = output if isinstance(output, tuple | list) else (output,)
        parts = [part.detach() for part in parts if hasattr(part, "dim") and part.dim() >= 2]
        for part in parts:
            if not part.is_floating_point() and part.shape[-1] == self._chosen:
                return part.reshape(-1, self._chosen).long()
        for part in parts:
            if part.is_floating_point() and part.shape[-1] == self.number:
                return part.reshape(-1, self.number).topk(min(self._chosen, self.number), dim=-1).indices
        return None


def layer_usage(counts: Sequence[float]) -> dict[str, Any]:
    """Return one layer's part of a row: counts, percentages, and the experts that nothing was sent to."""
    total = sum(counts)
    return {
        "expert_counts": {f"expert_{number}": int(value) for number, value in enumerate(counts)},
        "expert_percentages": {f"expert_{number}": round(100 * v / total, 4) for number, v in enumerate(counts)},
        "dead_experts": [f"expert_{number}" for number, value in enumerate(counts) if not value],
    }


def _routers(model: Any) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if _ROUTER.fullmatch(name) and "vision" not in name:
            yield name, module


def _layer(name: str, place: int) -> str:
    numbers = re.findall(r"\.(\d+)\.", name)
    return f"layer_{numbers[0] if numbers else place}"


def _text_config(model: Any) -> Any:
    config = getattr(model, "config", None)
    return getattr(config, "text_config", None) or config


def _first(config: Any, names: Sequence[str]) -> int:
    found = (getattr(config, name, None) for name in names)
    return next((value for value in found if isinstance(value, int)), 0)
