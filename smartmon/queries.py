"""Questions that people ask, answered as dataclasses for the command line, JSON and the web alike.

Each takes an open store and, where it matters, the moment; none prints, writes or reads a clock.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import median

from smartmon.config.kinds import known_kind
from smartmon.errors import UsageError
from smartmon.host import process_exists
from smartmon.params import seconds
from smartmon.records import Json, RunState, Severity, Snapshot
from smartmon.store import EventRow, IncidentRow, RunRow, Sample, Store
from smartmon.text import clean

BEAT_GRACE = 60.0
"""A daemon that has not written its row for so long is not alive (it does so every 10 s)."""

_PACE_POINTS = 64
_PACE_LEAST = 1.0
"""Seconds that the points of a pace reach over at least."""
_OPEN_LISTED = 100


@dataclass(frozen=True, slots=True)
class DaemonInfo:
    """The daemon as its last beat tells it."""

    alive: bool
    state: str
    """`running`, `degraded`, `stopped`, `dead` (no beat any more), or `never` (none has run here)."""
    pid: int | None = None
    version: str = ""
    started_at: float | None = None
    beat_at: float | None = None
    workers: Mapping[str, bool] = field(default_factory=dict)
    """Worker -> whether it is getting on."""
    failed_deliveries: int = 0
    pending_deliveries: int = 0

    def to_json(self) -> dict[str, Json]:
        """The `daemon` object of `status --json`."""
        return {
            "alive": self.alive,
            "state": self.state,
            "pid": self.pid,
            "version": self.version,
            "started_at": iso(self.started_at),
            "beat_at": iso(self.beat_at),
            "workers": dict(self.workers),
            "failed_deliveries": self.failed_deliveries,
            "pending_deliveries": self.pending_deliveries,
        }


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run at a glance."""

    row: RunRow
    latest: Mapping[str, float]
    best_loss: float | None
    best_loss_step: int | None
    best_metric: str
    last_step_at: float | None
    steps_per_sec: float | None
    eta_seconds: float | None
    open_incidents: tuple[IncidentRow, ...]
    """None where the folder is gone: nobody can act on them, and they would keep `status --check` at 10 for ever."""
    gone: bool
    """Whether the run's folder is not there (any more)."""
    snapshots: tuple[Snapshot, ...]
    """The newest, oldest first."""
    copying: int
    """Snapshots that are asked for and not made yet."""

    @property
    def progress(self) -> float | None:
        """The share of steps done, 0 to 1."""
        if not self.row.total_steps or self.row.step is None:
            return None
        return min(1.0, max(0.0, self.row.step / self.row.total_steps))

    @property
    def accuracy(self) -> float | None:
        """The training accuracy in percent, or the evaluation's where there is no other."""
        return self.latest.get("accuracy", self.latest.get("eval_accuracy"))

    def to_json(self) -> dict[str, Json]:
        """One of the `runs` of `status --json`."""
        row = self.row
        return {
            "run": row.name,
            "path": str(row.path),
            "state": row.state.value,
            "gone": self.gone,
            "attempt": row.attempt,
            "step": row.step,
            "total_steps": row.total_steps,
            "progress": self.progress,
            "epoch": row.epoch,
            "loss": self.latest.get("loss"),
            "accuracy": self.accuracy,
            "best_loss": self.best_loss,
            "best_loss_step": self.best_loss_step,
            "best_metric": self.best_metric,
            "latest": dict(self.latest),
            "steps_per_sec": self.steps_per_sec,
            "eta_seconds": self.eta_seconds,
            "model_name": row.data.get("model_name") or None,
            "error": row.data.get("error_message") or None,
            "first_seen": iso(row.first_seen),
            "last_seen": iso(row.last_seen),
            "last_step_at": iso(self.last_step_at),
            "started_at": iso(row.started_at),
            "finished_at": iso(row.finished_at),
            "open_incidents": [incident_json(incident) for incident in self.open_incidents],
            "snapshots": [snapshot.name for snapshot in self.snapshots],
            "snapshots_pending": self.copying,
        }


@dataclass(frozen=True, slots=True)
class Overview:
    """The answer to "is it fine?"."""

    daemon: DaemonInfo
    runs: tuple[RunInfo, ...]

    @property
    def open_incidents(self) -> int:
        """Over all runs that were asked for."""
        return sum(len(run.open_incidents) for run in self.runs)

    def to_json(self) -> dict[str, Json]:
        """The document of `status --json`."""
        return {"daemon": self.daemon.to_json(), "runs": [run.to_json() for run in self.runs]}


def status(store: Store, *, now: float, run: str | None = None) -> Overview:
    """What is known now: of all runs, or of the one whose name begins so. One consistent view."""
    with store.transaction():
        rows = store.runs() if run is None else [resolve_run(store, run)]
        return Overview(daemon_info(store, now=now), tuple(run_info(store, row, now=now) for row in rows))


def runs(
    store: Store,
    *,
    now: float,
    run: str | None = None,
    states: Sequence[str] = (),
    since: float | None = None,
    limit: int = 50,
) -> list[RunInfo]:
    """The newest runs that match, oldest first: in one of the states, and moved since."""
    unknown = [state for state in states if state not in tuple(RunState)]
    if unknown:
        raise UsageError(f"{clean(unknown[0])} is no state of a run; there are: {', '.join(RunState)}")
    with store.transaction():
        rows = store.runs() if run is None else [resolve_run(store, run)]
        rows = [row for row in rows if not states or row.state in states]
        found = [run_info(store, row, now=now) for row in rows]
    return [one for one in found if since is None or (one.last_step_at or one.row.last_seen) >= since][-limit:]


def daemon_info(store: Store, *, now: float) -> DaemonInfo:
    """Whether the daemon is alive, and what it said last."""
    raw = store.meta("daemon")
    beat: dict[str, Json] = json.loads(raw) if raw else {}
    said = str(beat.get("state", "never"))
    beat_at = beat.get("beat_at")
    ended = said in ("never", "stopped")
    fresh = beat_at is not None and abs(now - beat_at) <= BEAT_GRACE
    pid = beat.get("pid")
    alive = not ended and fresh and isinstance(pid, int) and pid > 0 and process_exists(pid)
    return DaemonInfo(
        alive=alive,
        state=said if alive or ended else "dead",
        pid=pid,
        version=str(beat.get("version", "")),
        started_at=beat.get("started_at"),
        beat_at=beat_at,
        workers=beat.get("workers") or {},
        failed_deliveries=store.count_deliveries("dead"),
        pending_deliveries=store.count_deliveries("pending", "sending"),
    )


def run_info(store: Store, row: RunRow, *, now: float, samples: Sequence[Sample] | None = None) -> RunInfo:
    """One run at a glance. `samples`: what `pace_samples` returns, for who has it already."""
    data = row.data
    latest = {key: value for key, value in (data.get("latest") or {}).items() if isinstance(value, (int, float))}
    samples = pace_samples(store, row) if samples is None else samples
    # The newest row may be an evaluation's, which the pace is not told by.
    moments = [at for at in (samples[-1].at if samples else None, data.get("last_step_at")) if at is not None]
    last_step_at = max(moments, default=None)
    pace = _pace(samples) or latest.get("steps_per_sec") or data.get("steps_per_sec")
    waiting = store.keeps(states=("pending", "waiting", "copying"), run_id=row.id)
    gone = not row.path.is_dir()
    return RunInfo(
        row=row,
        latest=latest,
        best_loss=data.get("best_loss"),
        best_loss_step=data.get("best_loss_step"),
        best_metric=str(data.get("best_metric") or ""),
        last_step_at=last_step_at,
        steps_per_sec=pace,
        eta_seconds=_eta(row, latest, pace, last_step_at, now),
        open_incidents=() if gone else tuple(store.incidents(run_id=row.id, open_only=True, limit=_OPEN_LISTED)),
        gone=gone,
        snapshots=tuple(store.snapshots(run=row.name, limit=5)),
        copying=len(waiting),
    )


def resolve_run(store: Store, name: str) -> RunRow:
    """The run of this name, or the only one whose name begins so. UsageError names what there is."""
    exact = store.run(name)
    if exact is not None:
        return exact
    runs = store.runs()
    found = [run for run in runs if run.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{clean(name)} is the start of several runs: {_names([run.name for run in found])}")
    if not runs:
        raise UsageError(f"there is no run {clean(name)}: no run has been seen yet")
    names = [run.name for run in runs]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {_names(near)}?" if near else f"there are: {_names(names)}"
    raise UsageError(f"there is no run {clean(name)}; {hint}")


def current_run(store: Store) -> RunRow | None:
    """The run that somebody who names none means: a running one, else the one that moved last."""
    runs = store.runs()
    return max(
        runs,
        key=lambda run: (not run.state.ended, run.data.get("last_step_at") or run.first_seen, run.id),
        default=None,
    )


def events(
    store: Store,
    *,
    run: str | None = None,
    kinds: Sequence[str] = (),
    since: float | None = None,
    limit: int = 50,
    after_id: int | None = None,
    min_severity: str | None = None,
) -> list[EventRow]:
    """The newest events that match, oldest first; with `after_id`, what came after that one."""
    run_id = None if run is None else resolve_run(store, run).id
    return store.events(
        run_id=run_id, kinds=kinds, since=since, limit=limit, after_id=after_id, min_severity=min_severity
    )


def event_json(event: EventRow) -> dict[str, Json]:
    """One of `events list --json`."""
    return {
        "id": event.id,
        "time": iso(event.at),
        "run": event.run,
        "attempt": event.attempt,
        "kind": event.kind,
        "severity": event.severity.value,
        "step": event.step,
        "message": event.message,
        "historic": event.historic,
        "data": dict(event.data),
    }


def incident_json(incident: IncidentRow) -> dict[str, Json]:
    """One of the `open_incidents` of `status --json`."""
    return {
        "kind": incident.kind,
        "severity": incident.severity.value,
        "start_step": incident.start_step,
        "end_step": incident.end_step,
        "anomalies": incident.anomalies,
        "since": iso(incident.opened_at),
        "message": incident.message,
        "reason": incident.reason,
        "attempt": incident.attempt,
        "historic": incident.historic,
        "key": incident.key,
    }


def iso(at: float | None) -> str | None:
    """A moment as ISO 8601 with the local zone, to the millisecond."""
    if at is None or not math.isfinite(at):
        return None
    try:
        return datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")
    except (OverflowError, OSError, ValueError):
        return None


def since(text: str | None, now: float) -> float | None:
    """The moment that `--since` means: `2h` ago, or a date and time (local without a zone). UsageError else."""
    if text is None:
        return None
    words = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?\s*(ms|s|m|h|d|w)", words):
        ago = seconds(words)
        assert isinstance(ago, float)
        return now - ago
    try:
        return datetime.fromisoformat(words).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f'--since {clean(text)} is no moment; write "2h", "7d", or a date and time such as "2025-11-12 14:30"'
        ) from None


def known_kinds(kinds: Sequence[str] | None) -> tuple[str, ...]:
    """Check every `--kind`. UsageError for one that looks like a misspelt known one; others may be a detector's own."""
    for kind in kinds or ():
        try:
            known_kind(kind)
        except ValueError as error:
            raise UsageError(f"--kind {clean(kind)} {error}") from None
    return tuple(kinds or ())


def at_least(severity: str | None) -> str | None:
    """Check a `--severity`. UsageError names the ones there are."""
    if severity is None or severity in tuple(Severity):
        return severity
    raise UsageError(f"--severity {clean(severity)} is unknown; use info, warning or critical")


def pace_samples(store: Store, row: RunRow) -> list[Sample]:
    """The last observations of the attempt, of the loss where there is one."""
    metrics = store.metrics(row.id)
    metric = next((name for name in ("loss", "learning_rate", "eval_loss", *metrics) if name in metrics), None)
    if metric is None:
        return []
    samples = store.recent(row.id, metric, _PACE_POINTS)
    return [sample for sample in samples if sample.attempt == row.attempt]


def _pace(samples: Sequence[Sample]) -> float | None:
    """Steps per second: the median over neighbours, so that an evaluation or a pause does not count.

    Rows that all lie within a second were copied or written at once: their moments tell no pace.
    """
    if len(samples) < 2 or samples[-1].at - samples[0].at < _PACE_LEAST:
        return None
    rates = [
        (later.step - earlier.step) / (later.at - earlier.at)
        for earlier, later in pairwise(samples)
        if later.at > earlier.at
    ]
    return median(rates) if len(rates) >= 2 else None


def _eta(
    row: RunRow, latest: Mapping[str, float], pace: float | None, last_step_at: float | None, now: float
) -> float | None:
    if row.state is not RunState.RUNNING:
        return None
    age = max(0.0, now - last_step_at) if last_step_at is not None else 0.0
    if row.total_steps and row.step is not None and pace and pace > 0 and math.isfinite(pace):
        rest = row.total_steps - row.step
        left = rest / pace - age
        # Silent for longer than all the rest would take, or past its total: no time left is no news of its end.
        return max(0.0, left) if rest == 0 or left > 0 else None
    said = latest.get("eta_seconds")
    return max(0.0, said - age) if said is not None and math.isfinite(said) else None


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(clean(name) for name in names[:8])
    return f"{shown}, and {len(names) - 8} more" if len(names) > 8 else shown
