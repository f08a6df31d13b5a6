"""`dead_expert`: experts of a mixture that the router sends nothing to any more."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

_NAME = re.compile(r"(?:.*/)?(?:expert_usage|TokensPercentage)/(?:layer)?[_ ]?([^/]+)/(?:expert)?[_ ]?(\d{1,3})", re.I)
"""Our own name for a usage log's values, and the one that OLMoE's trainer gives them."""
MOST = 250
"""Experts that are followed because they get little; with more of them than that, all is lost anyway."""
LAYERS = 8
"""Layers that a message names."""
FEWEST = 4
"""Experts of a layer from which a collapse onto one can be told from a choice."""
RECOVERED = 2.0
"""Times the limit at which an expert is back."""


class DeadExpert(Params):
    """Fires when an expert's share of its layer's tokens is below `share` of the fair one, 1 / n, in `rows` usage rows
    in a row, from step `after` on. Warning, with every such expert by layer; critical when one expert of four or more
    takes over `all` of a layer. Usage rows are those of `expert_usage_log.jsonl` (one every 100 steps), or metrics
    named `TokensPercentage/layer0/expert3`; shares are taken of the row's sum, so any unit will do, and an expert that
    a row leaves out got nothing.

    The fair share is what the load-balancing loss of the Switch Transformer (Fedus et al., 2021) draws every expert to.
    Gets wrong: a fine-tune on narrow data rightly leaves the experts of other languages idle.
    """

    enabled: bool = Field(True, description="Whether to look for experts that get no tokens.")
    share: float = Field(
        0.1, gt=0, lt=1, description="Share of an expert's fair part of the tokens below which it is as good as dead."
    )
    rows: int = Field(3, ge=1, le=100, description="Usage rows in a row that must say so.")
    after: int = Field(300, ge=0, description="Steps that the router has to settle first.")
    all: float = Field(
        0.9, gt=0.5, lt=1, description="Share of a layer's tokens from which one expert has taken the layer over."
    )


class DeadExperts(Detector):
    """The state of `dead_expert`: for how many rows each poor expert has been poor, and who was told."""

    kind: ClassVar[str] = "dead_expert"
    Params = DeadExpert

    def __init__(self, params: DeadExpert) -> None:
        super().__init__(params)
        self.sizes: dict[str, int] = {}
        """Layer -> its experts: the highest number seen, and one."""
        self.poor: dict[str, int] = {}
        """`layer/expert` -> rows in a row below the limit; of those told, until they are back."""
        self.ruled: dict[str, int] = {}
        """Layer -> rows in a row in which one expert had it all."""
        self.told: list[str] = []
        """The experts, and the layers ruled by one, that were told."""

    def observe(self, moment: Moment) -> Iterable[Outcome]:
        """Judge a row of expert usage; every other row is passed over."""
        for name in moment.fresh:
            if "xpert" in name or "okensPerc" in name:
                return self._usage(moment)
        return ()

    def _usage(self, moment: Moment) -> list[Outcome]:
        layers: dict[str, dict[int, float]] = {}
        for name, value in moment.fresh.items():
            place = _place(name)
            if place is not None and 0 <= value < math.inf:
                layers.setdefault(place[0], {})[place[1]] = value
        lowest = 1.0
        for layer, values in layers.items():
            if len(self.sizes) >= MOST and layer not in self.sizes:
                continue
            self.sizes[layer] = size = max(self.sizes.get(layer, 0), max(values) + 1)
            total = sum(values.values())
            # A share is one of the whole row: a log that tells a few experts at a time says none.
            whole = 2 * len(values) >= size or any(math.isclose(total, sum_, rel_tol=0.01) for sum_ in (1.0, 100.0))
            if len(values) > 1 and total > 0 and whole:
                lowest = min(lowest, self._layer(layer, values, size, total))
        return self._verdict(moment, lowest) if layers else []

    def _layer(self, layer: str, values: Mapping[int, float], size: int, total: float) -> float:
        """Count a layer's row; return its lowest share in fair parts."""
        lowest = math.inf
        limit, back = self.params.share, RECOVERED * self.params.share
        for expert in range(size):
            part = values.get(expert, 0.0) / total * size
            lowest = min(lowest, part)
            key = f"{layer}/{expert}"
            if part < limit or (part < back and key in self.told):
                if key in self.poor or len(self.poor) < MOST:
                    self.poor[key] = min(self.poor.get(key, 0) + 1, self.params.rows)
            elif key in self.poor:
                del self.poor[key]
        top = max(values.values()) / total
        if size >= FEWEST and top >= self.params.all:
            self.ruled[layer] = min(self.ruled.get(layer, 0) + 1, self.params.rows)
        elif layer in self.ruled:
            del self.ruled[layer]
        return lowest

    def _verdict(self, moment: Moment, lowest: float) -> list[Outcome]:
        settled = moment.step >= self.params.after
        dead = [key for key, rows in self.poor.items() if rows >= self.params.rows and settled]
        ruled = [layer for layer, rows in self.ruled.items() if rows >= self.params.rows and settled]
        now = dead + ruled
        news = [key for key in now if key not in self.told]
        if not now:
            gone, self.told = bool(self.told), []
            moment.said(self.kind, "expert_usage", None, f"the lowest expert has {number(lowest)} of its fair share")
            return [Over(self.kind, "every expert gets tokens again")] if gone else []
        self.told = now
        firing = self._firing(moment, dead, ruled, lowest)
        moment.said(self.kind, "expert_usage", firing if news else None, "no other expert than those already told")
        return [firing] if news else []

    def _firing(self, moment: Moment, dead: list[str], ruled: list[str], lowest: float) -> Firing:
        severity = Severity.CRITICAL if ruled else Severity.WARNING
        parts = []
        if ruled:
            names = [f"layer {layer}" for layer in sorted(ruled, key=_order)]
            parts.append(f"one expert gets over {100 * self.params.all:.0f} % of {_shortened(names, ', ')}")
        poor: dict[str, list[int]] = {}
        for key in dead:
            layer, _, expert = key.rpartition("/")
            if layer not in ruled:
                poor.setdefault(layer, []).append(int(expert))
        if poor:
            names = [f"layer {layer}: {_experts(poor[layer])}" for layer in sorted(poor, key=_order)]
            parts.append(f"{_shortened(names, '; ')} get less than {100 * self.params.share:.0f} % of their fair share")
        text = f"{'; '.join(parts)}: {self.params.rows} usage rows in a row say so at step {moment.step:,}."
        reason = f"dead_expert_{len(dead)}" if not ruled else f"dead_expert_layer_{len(ruled)}"
        evidence = {"experts": dead, "layers": ruled}
        return Firing(
            self.kind, "expert_usage", lowest, 1.0, self.params.share, severity, reason, text, evidence=evidence
        )

    def resume(self, step: int) -> None:  # noqa: ARG002
        """The run went back: its experts are counted anew."""
        self.poor, self.ruled, self.told = {}, {}, []

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
        self.sizes, self.poor, self.ruled = dict(self.sizes), dict(self.poor), dict(self.ruled)


@lru_cache(maxsize=4096)
def _place(name: str) -> tuple[str, int] | None:
    """Return the layer and the expert that a metric is the share of."""
    match = _NAME.fullmatch(name)
    return None if match is None else (match[1], int(match[2]))


def _order(layer: str) -> tuple[int, str]:
    return (int(layer), "") if layer.isdecimal() else (10**9, layer)


def _experts(experts: list[int]) -> str:
    shown = ", ".join(map(str, sorted(experts)[:LAYERS]))
    more = f" and {len(experts) - LAYERS} more" if len(experts) > LAYERS else ""
    return f"expert{'s' if len(experts) > 1 else ''} {shown}{more}"


def _shortened(names: list[str], between: str) -> str:
    more = f"{between}{len(names) - LAYERS} more layers" if len(names) > LAYERS else ""
    return between.join(names[:LAYERS]) + more
