"""What detectors are given and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from smartmon.records import Json, Severity


@dataclass(slots=True)
class Point:
    """One value under test, with what the judge already knows about its surroundings."""

    metric: str
    step: int
    value: float
    guard: bool = True
    """Whether the run's own noise decides severity."""
    averaged: bool = False
    """Whether one observation stands for ten steps or more, so that one alone is evidence."""
    held: bool = False
    """Whether statistical judgement rests, shortly after a resume or at the turn of an epoch."""
    up: bool = False
    """Whether the level is known to have gone up for good: what stands out now is part of that."""
    grad_spike: bool = False
    """Whether the gradient norm stood far out here or within the last three points."""
    levelled: float | None = None
    """The value without what is usual at this place of an epoch; None where nothing is."""

    @property
    def level_value(self) -> float:
        """The value that is compared with the level."""
        return self.value if self.levelled is None else self.levelled


@dataclass(frozen=True, slots=True)
class Firing:
    """A detector's answer when it fires; the judge adds where, when and what else was known."""

    kind: str
    metric: str
    value: float | None
    expected: float | None
    limit: float | None
    severity: Severity
    reason: str
    message: str
    onset_step: int | None = None
    last_good_step: int | None = None
    evidence: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one detector saw at one observation, whether it fired or not."""

    detector: str
    metric: str
    value: float | None
    expected: float | None
    limit: float | None
    fired: bool
    severity: Severity | None
    text: str


Trace = list[Verdict] | None
"""Where a detector leaves its verdict; None when nobody asks."""
