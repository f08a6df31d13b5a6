"""How a mixture of experts spreads its tokens, layer by layer."""

from __future__ import annotations

import re

from smartmon.sources.experts import MAX_EXPERTS
from smartmon.store import RunRow, Store
from smartmon.web.models import Number
from smartmon.web.models_detail import Expert, Experts, Layer
from smartmon.web.site import Site
from smartmon.web.views.cards import finite
from smartmon.web.views.curves import identity
from smartmon.web.views.stats import EXPERTS

_PARTS = re.compile(r"expert_usage/(.+)/([^/]+)")


def experts(site: Site, store: Store, row: RunRow) -> Experts:
    """Return the newest share of every expert."""
    metrics = [name for name in store.metrics(row.id) if name.startswith(EXPERTS)]
    told: dict[str, list[tuple[str, int, Number]]] = {}
    for name, (step, value) in site.memory.get(
        ("experts", *identity(row)), (row.attempt, row.step), lambda: _latest(store, row, metrics)
    ).items():
        if (match := _PARTS.fullmatch(name)) is not None:
            told.setdefault(match[1], []).append((match[2], step, value))
    newest = max((step for each in told.values() for _, step, _ in each), default=None)
    share = site.config.judge_settings(row.name).detectors.dead_expert.share
    layers = [_layer(name, told[name], newest, share) for name in sorted(told, key=_natural)]
    dead = sum(expert.dead for layer in layers for expert in layer.experts)
    sizes = [len(layer.experts) for layer in layers]
    cut = bool(sizes) and sum(sizes) + max(sizes) > MAX_EXPERTS
    return Experts(run=row.name, step=newest, layers=layers, dead=dead, most=MAX_EXPERTS if cut else None)


def _latest(store: Store, row: RunRow, metrics: list[str]) -> dict[str, tuple[int, Number]]:
    found = {name: store.recent(row.id, name, 1) for name in metrics}
    return {name: (samples[-1].step, finite(samples[-1].value)) for name, samples in found.items() if samples}


def _layer(name: str, told: list[tuple[str, int, Number]], newest: int | None, share: float) -> Layer:
    # An expert that the newest row leaves out got nothing; a fair share is 1 / n of what the row adds up to.
    shares = {expert: (value or 0.0) if step == newest else 0.0 for expert, step, value in told}
    fair = sum(shares.values()) / len(shares)
    return Layer(
        layer=name,
        experts=[
            Expert(expert=expert, percent=shares[expert], dead=shares[expert] <= share * fair)
            for expert in sorted(shares, key=_natural)
        ],
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Order `layer_2` before `layer_10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name)]
