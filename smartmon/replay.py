"""What would have fired on a log that exists: the daemon's own judge over a file, with nothing written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from smartmon.detectors.settings import JudgeSettings
from smartmon.detectors.signal import Verdict
from smartmon.judge import Judge, explain
from smartmon.records import Anomaly, Batch, Change, IncidentChange, Json, Note, Observation
from smartmon.sources import replay_source
from smartmon.sources.base import Source


@dataclass
class Replayed:
    """What a replay of one file found, in the order in which it was found."""

    path: Path
    format: str
    run: str
    observations: int = 0
    attempts: int = 1
    anomalies: list[Anomaly] = field(default_factory=list)
    incidents: dict[str, IncidentChange] = field(default_factory=dict)
    """Key -> the incident as it was at the end."""
    opened: dict[str, str] = field(default_factory=dict)
    """Key -> the reason that opened it."""
    notes: list[Note] = field(default_factory=list)

    def to_json(self) -> dict[str, Json]:
        """Return the file's part of `replay --json`."""
        return {
            "path": str(self.path),
            "format": self.format,
            "run": self.run,
            "observations": self.observations,
            "attempts": self.attempts,
            "anomalies": [anomaly_json(anomaly) for anomaly in self.anomalies],
            "incidents": [incident_json(change) for change in self.incidents.values()],
            "notes": [{"kind": note.kind, "message": note.message} for note in self.notes],
        }


def anomaly_json(anomaly: Anomaly) -> dict[str, Json]:
    """Return one anomaly with the keys that are promised, and a few more."""
    return {
        "kind": anomaly.kind,
        "metric": anomaly.metric,
        "step": anomaly.step,
        "value": anomaly.value,
        "expected": anomaly.expected,
        "severity": anomaly.severity.value,
        "reason": anomaly.reason,
        "message": anomaly.message,
        "attempt": anomaly.attempt,
        "onset_step": anomaly.onset_step,
    }


def incident_json(change: IncidentChange) -> dict[str, Json]:
    """Return one incident with the keys that are promised, and a few more."""
    return {
        "kind": change.kind,
        "start_step": change.start_step,
        "end_step": change.end_step,
        "anomalies": change.anomalies,
        "severity": change.severity.value,
        "key": change.key,
        "attempt": change.attempt,
        "open": change.change is not Change.RESOLVED,
        "resolution": change.resolution,
    }


def replay(path: Path, settings: JudgeSettings, *, now: float | None = None) -> Replayed:
    """Judge a log from its first row to its last. Raises SourceError when it cannot be read."""
    source = replay_source(path)
    found = Replayed(path, source.spec.format, run_name(path))
    judge = Judge(settings)
    for batch in batches(source, now):
        found.notes += batch.notes
        for obs in batch.observations:
            found.observations += 1
            _collect(found, judge.observe(obs).findings)
        if batch.status is not None:
            _collect(found, judge.report(batch.status))
    found.attempts = judge.attempt
    return found


def _collect(found: Replayed, findings: Iterable[object]) -> None:
    for finding in findings:
        if isinstance(finding, Anomaly):
            found.anomalies.append(finding)
        elif isinstance(finding, IncidentChange):
            found.incidents[finding.key] = finding
            found.opened.setdefault(finding.key, finding.reason)


def batches(source: Source, now: float | None = None) -> Iterator[Batch]:
    """Read a source to its end."""
    cursor = None
    while True:
        batch = source.read(cursor, time.time() if now is None else now)
        yield batch
        cursor = batch.cursor
        if not batch.more:
            return


def why(path: Path, settings: JudgeSettings, step: int) -> list[Verdict]:
    """Return what each detector saw at a step of a log. Raises SourceError when it cannot be read."""
    return explain(rows(path), settings, step)


def rows(path: Path) -> Iterator[Observation]:
    """Yield every row of a log. Raises SourceError when it cannot be read."""
    for batch in batches(replay_source(path)):
        yield from batch.observations


def run_name(path: Path) -> str:
    """Return what a log's run is called where nothing else says: the name of its folder."""
    folder = path.resolve()
    folder = folder if folder.is_dir() else folder.parent
    if folder.name in ("logs", "status") or folder.name.startswith("checkpoint-"):
        folder = folder.parent
    return folder.name or path.stem
