"""Rows for the judge, and what it found, in few words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Anomaly, Change, Finding, IncidentChange, Observation, SourceRank

T0 = 1_700_000_000.0


def row(step: int, source: str = "log", rank: SourceRank = SourceRank.STREAM, **values: Any) -> Observation:
    """One row; `at`, `timed`, `historic`, `percent` and `nulls` go to the observation, the rest are metrics."""
    own = {k: values.pop(k) for k in ("at", "timed", "historic", "percent", "nulls") if k in values}
    return Observation(step=step, source=source, rank=rank, values=values, **{"at": T0 + step, **own})


def rows(metric: str, values: Sequence[float], *, every: int = 1, first: int = 1, **kw: Any) -> list[Observation]:
    """A series of one metric at steps first, first + every, ..."""
    return [row(first + i * every, **{metric: value}, **kw) for i, value in enumerate(values)]


def feed(observations: Iterable[Observation], judge: Judge | None = None, **settings: Any) -> list[Finding]:
    """Judge the rows and return all that was found."""
    judge = judge or Judge(JudgeSettings(**settings))
    return [finding for obs in observations for finding in judge.observe(obs).findings]


def anomalies(findings: Iterable[Finding], kind: str | None = None) -> list[Anomaly]:
    """The anomalies among the findings, of one kind or of all but best_model."""
    found = [f for f in findings if isinstance(f, Anomaly)]
    return [a for a in found if (a.kind == kind if kind else a.kind != "best_model")]


def brief(findings: Iterable[Finding], kind: str | None = None) -> list[tuple[str, str]]:
    """Reason and severity of each anomaly."""
    return [(a.reason, a.severity.value) for a in anomalies(findings, kind)]


def changes(findings: Iterable[Finding], *wanted: Change) -> list[IncidentChange]:
    """The incident changes among the findings."""
    found = [f for f in findings if isinstance(f, IncidentChange)]
    return [c for c in found if c.change in wanted] if wanted else found


def told(findings: Iterable[Finding]) -> list[str]:
    """What a person is told: kind and change."""
    return [f"{c.kind} {c.change.value}" for c in changes(findings) if c.notify]
