"""Which detectors sit on the panel: ours, and those of other packages.

An entry point of the group `smartmon.detectors` is named for its kind; its value is a `Detector`. Its parameters are
the section `[detectors.KIND]`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from smartmon.detectors.base import Detector
from smartmon.detectors.collapse import Collapsed
from smartmon.detectors.dead_expert import DeadExperts
from smartmon.detectors.disk_full_soon import Room
from smartmon.detectors.frozen_metric import FrozenMetrics
from smartmon.detectors.gpu_hot import Heat
from smartmon.detectors.grad_explosion import GradExplosions
from smartmon.detectors.grad_vanish import GradVanishes
from smartmon.detectors.lr_jump import LrJumps
from smartmon.detectors.memory_low import Memory
from smartmon.detectors.nonfinite import OtherLosses
from smartmon.detectors.overfit import Overfitting
from smartmon.detectors.plateau import Plateaus
from smartmon.detectors.prediction_mismatch import Mismatch
from smartmon.detectors.resume_regression import Regression
from smartmon.detectors.slow_divergence import Drift
from smartmon.detectors.throughput_drop import ThroughputDrops
from smartmon.params import Params

GROUP = "smartmon.detectors"

PANEL: tuple[type[Detector], ...] = (
    Room,
    Memory,
    Heat,
    Drift,
    OtherLosses,
    Overfitting,
    Collapsed,
    DeadExperts,
    Mismatch,
    Regression,
    GradExplosions,
    GradVanishes,
    LrJumps,
    ThroughputDrops,
    FrozenMetrics,
    Plateaus,
)
"""Ours, in the order in which they are asked."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The detectors of other packages."""

    detectors: dict[str, type[Detector]] = field(default_factory=dict)
    """By kind."""
    troubles: list[str] = field(default_factory=list)
    """A sentence for each that could not be used."""


@cache
def installed() -> Installed:
    """Load the detectors of other packages, once. One that cannot be loaded is left out, with a sentence that says why.

    A package that comes while smartmon runs is seen at the next start.
    """
    found = Installed()
    for entry in entry_points(group=GROUP):
        name = f'the detector "{entry.name}" ({entry.value})'
        try:
            loaded = entry.load()
        except Exception as error:  # noqa: BLE001 - somebody else's code, at import: anything may come out of it
            found.troubles.append(f"{name} cannot be loaded: {error!r}; mend or uninstall its package")
            continue
        if isinstance(loaded, type) and issubclass(loaded, Detector) and loaded.kind == entry.name:
            found.detectors[entry.name] = loaded
        else:
            found.troubles.append(f"{name} is no smartmon Detector of that kind; mend or uninstall its package")
    return found


def section(kind: str, given: Any) -> Params | None:
    """Return the parameters of an installed detector; None for a kind that no package brings.

    Raises pydantic's ValidationError where they are wrong.
    """
    detector = installed().detectors.get(kind)
    return None if detector is None else detector.Params.model_validate(given)
