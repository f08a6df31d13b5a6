"""Rows of a mixture-of-experts usage log: nested counts per layer, made into one metric per expert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartmon.sources.numbers import number

MAX_EXPERTS = 1024
"""Metrics of one row: 16 layers of 64 experts. What is beyond is left out, whole layers last."""
_MAX_NAME = 40


def expert_usage(record: Mapping[str, Any]) -> dict[str, float]:
    """Return `expert_usage/layer_0/expert_3` -> percent of the layer's tokens, from percentages or else from counts."""
    usage = record.get("expert_usage")
    values: dict[str, float] = {}
    for layer, entry in usage.items() if isinstance(usage, dict) else ():
        shares = _shares(entry)
        if len(layer) > _MAX_NAME or not layer.isprintable() or len(values) + len(shares) > MAX_EXPERTS:
            continue
        values |= {f"expert_usage/{layer}/{expert}": share for expert, share in shares.items()}
    return values


def _shares(entry: object) -> dict[str, float]:
    if not isinstance(entry, dict):
        return {}
    if shares := _numbers(entry.get("expert_percentages")):
        return shares
    counts = _numbers(entry.get("expert_counts"))
    total = sum(counts.values())
    return {expert: 100 * value / total for expert, value in counts.items()} if total > 0 else {}


def _numbers(entry: object) -> dict[str, float]:
    pairs = entry.items() if isinstance(entry, dict) else ()
    found = {key: number(value) for key, value in pairs if len(key) <= _MAX_NAME and key.isprintable()}
    return {key: value for key, value in found.items() if value is not None}
