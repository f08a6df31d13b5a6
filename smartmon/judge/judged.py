"""What the judge says of one row."""

from __future__ import annotations

from dataclasses import dataclass

from smartmon.detectors.signal import Verdict
from smartmon.records import Finding


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one row."""

    attempt: int
    values: dict[str, float]
    """What is to be stored: owned by the row's source, in the right unit, NaN kept."""
    findings: tuple[Finding, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
