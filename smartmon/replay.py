"""What would have fired on logs that exist: the daemon's own judge over them, with nothing written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from smartmon.detectors.settings import JudgeSettings
from smartmon.detectors.signal import Verdict
from smartmon.errors import SourceError
from smartmon.judge import Judge, explain
from smartmon.records import Anomaly, Batch, Change, IncidentChange, Json, Note, Observation
from smartmon.sources import open_source, replay_source
from smartmon.sources.base import Source, shown
from smartmon.sources.discovery import run_sources
from smartmon.sources.merging import in_time_order
from smartmon.sources.trouble import GRACE
from smartmon.text import clean


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
    contexts: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    """Key -> the evidence of the gravest anomaly: what else happened, and the likely cause."""
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
        "last_good_step": anomaly.last_good_step,
        "around": list(anomaly.context.get("around", ())),
        "cause": anomaly.context.get("cause", ""),
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


def replay(
    path: Path, settings: JudgeSettings, *, now: float | None = None, options: Mapping[str, Json] | None = None
) -> Replayed:
    """Judge a log, or all logs of a run's folder, from first row to last. Raises SourceError when there is none.

    `options` say how the lines are to be read: `pattern`, `keys`.
    """
    sources = opened(path, options)
    formats = dict.fromkeys(source.spec.format for source in sources)
    found = Replayed(path, ", ".join(formats), run_name(path))
    judge = Judge(settings)
    for round_ in rounds(sources, now):
        for batch in round_:
            found.notes += batch.notes
        for obs in in_time_order([batch.observations for batch in round_]):
            found.observations += 1
            _collect(found, judge.observe(obs).findings)
        for batch in round_:
            if batch.status is not None:
                _collect(found, judge.report(batch.status))
    found.attempts = judge.attempt
    problem = next((note.data["problem"] for note in found.notes if "problem" in note.data), None)
    if problem and not found.observations:
        raise SourceError(f"cannot replay {clean(shown(path))}: it {problem}")
    return found


def opened(path: Path, options: Mapping[str, Json] | None = None) -> list[Source]:
    """Return the sources that a path stands for: one for a log, all of a run for its folder."""
    specs = [spec for spec in run_sources(path) if spec.path.exists()] if path.is_dir() else []
    if not specs:
        return [replay_source(path, options)]
    return [open_source(replace(spec, options={**spec.options, **(options or {})})) for spec in specs]


def rounds(sources: Sequence[Source], now: float | None = None) -> Iterator[list[Batch]]:
    """Read sources to their ends side by side, one batch of each at a time, as the daemon does."""
    cursors: dict[int, Mapping[str, Json] | None] = dict.fromkeys(range(len(sources)))
    patient: set[int] = set()
    while cursors:
        at = time.time() if now is None else now
        # Who watches gives a broken file time to become whole; here that time is over at the second look.
        batches = {i: sources[i].read(cursor, at + 2 * GRACE * (i in patient)) for i, cursor in cursors.items()}
        yield list(batches.values())
        ended = {i for i, batch in batches.items() if not batch.more}
        again = {i for i in ended - patient if batches[i].cursor.get("trouble")}
        patient |= again
        cursors = {i: batch.cursor for i, batch in batches.items() if i in again or i not in ended}


def _collect(found: Replayed, findings: Iterable[object]) -> None:
    for finding in findings:
        if isinstance(finding, Anomaly):
            found.anomalies.append(finding)
        elif isinstance(finding, IncidentChange):
            found.incidents[finding.key] = finding
            found.opened.setdefault(finding.key, finding.reason)
            if finding.context:
                found.contexts[finding.key] = finding.context


def why(path: Path, settings: JudgeSettings, step: int, options: Mapping[str, Json] | None = None) -> list[Verdict]:
    """Return what each detector saw at a step of a log. Raises SourceError when it cannot be read."""
    return explain(rows(path, options), settings, step)


def rows(path: Path, options: Mapping[str, Json] | None = None) -> Iterator[Observation]:
    """Yield every row of a log, or of all logs of a run's folder. Raises SourceError when there is none."""
    for round_ in rounds(opened(path, options)):
        yield from in_time_order([batch.observations for batch in round_])


def run_name(path: Path) -> str:
    """Return what a log's run is called where nothing else says: the name of its folder."""
    folder = path.resolve()
    folder = folder if folder.is_dir() else folder.parent
    if folder.name in ("logs", "status") or folder.name.startswith("checkpoint-"):
        folder = folder.parent
    return folder.name or path.stem
