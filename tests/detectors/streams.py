"""What the tests of the panel's detectors share: streams, incidents in few words, and a judge that is stored often."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Anomaly, Finding, IncidentChange, Observation
from tests.judge.feed import row


def incidents(findings: Sequence[Finding], kind: str) -> list[tuple[int, str, str]]:
    """Step, change and severity of what became of a kind's incidents; what joined one quietly is left out."""
    found = [f for f in findings if isinstance(f, IncidentChange) and f.kind == kind]
    return [(c.step, c.change.value, c.severity.value) for c in found if c.change.value != "updated"]


def anomalies(findings: Sequence[Finding], kind: str) -> list[Anomaly]:
    """The anomalies of a kind."""
    return [f for f in findings if isinstance(f, Anomaly) and f.kind == kind]


def judged(observations: Sequence[Observation], every: int = 0) -> list[Finding]:
    """Judge the rows; with `every`, through a state that is stored and read back after so many rows."""
    judge, found = Judge(JudgeSettings()), []
    for count, obs in enumerate(observations, 1):
        found += judge.observe(obs).findings
        if every and count % every == 0:
            judge = Judge(JudgeSettings(), json.loads(json.dumps(judge.state(), allow_nan=False)))
    return found


def noisy(
    levels: Sequence[float], *, sd: float = 0.0, metric: str = "loss", first: int = 1, every: int = 1, seed: int = 7
) -> list[Observation]:
    """Rows of one metric at the levels, with lognormal noise."""
    rng = random.Random(seed)
    values = [level * rng.lognormvariate(0, sd) for level in levels]
    return [row(first + i * every, **{metric: value}) for i, value in enumerate(values)]
