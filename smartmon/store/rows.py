"""What the store hands out: one frozen dataclass for each kind of row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from smartmon.records import Json, RunState, Severity


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is now."""

    id: int
    name: str
    path: Path
    base_dir: Path
    first_seen: float
    last_seen: float
    state: RunState
    attempt: int
    step: int | None
    total_steps: int | None
    epoch: float | None
    started_at: float | None
    finished_at: float | None
    data: Mapping[str, Json]
    """`latest` (metric -> value), `best_loss`, `best_loss_step`, `model_name`, `error_message`, ..."""


class AttemptRow(NamedTuple):
    """Where a stretch of a run between restarts began."""

    attempt: int
    step: int
    at: float
    reason: str


class Point(NamedTuple):
    """One bucket of a series: the x of its last observation, the last finite value, and the extremes (NaN: none)."""

    attempt: int
    step: int
    at: float
    last: float
    min: float
    max: float


class Nonfinite(NamedTuple):
    """Where a NaN or an infinity was seen."""

    attempt: int
    step: int
    at: float


@dataclass(frozen=True, slots=True)
class Series:
    """A metric of a run, ready to be drawn."""

    metric: str
    count: int
    """How many observations the points stand for."""
    points: list[Point]
    nonfinite: list[Nonfinite]
    """The first 1,000; `nonfinite_count` has them all."""
    nonfinite_count: int
    bucket: int = 1
    """How many observations a point stands for at most."""
    smoothed: list[list[float]] = field(default_factory=list)
    """For each smoother asked for, its value at each point."""


class Sample(NamedTuple):
    """One stored observation of one metric."""

    attempt: int
    step: int
    at: float
    value: float


class ObservationRow(NamedTuple):
    """All that was stored of a run at one step."""

    attempt: int
    step: int
    at: float
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class EventRow:
    """A line of the timeline."""

    id: int
    at: float
    run_id: int | None
    attempt: int | None
    kind: str
    severity: Severity
    step: int | None
    message: str
    historic: bool
    data: Mapping[str, Json]
    run: str | None = None
    """The run's name."""


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident as it is now."""

    id: int
    run_id: int
    key: str
    kind: str
    family: str
    attempt: int
    state: str
    """`open` or `resolved`."""
    severity: Severity
    opened_at: float
    updated_at: float
    resolved_at: float | None
    step: int
    start_step: int
    end_step: int
    anomalies: int
    reason: str
    message: str
    onset_step: int | None
    last_good_step: int | None
    metric: str
    value: float | None
    expected: float | None
    resolution: str
    historic: bool
    context: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeepRow:
    """A request for a snapshot, and what became of it."""

    id: int
    uid: str
    run_id: int
    attempt: int
    step: int
    created_at: float
    state: str
    """`pending`, `waiting`, `copying`, `held`, `done`, `skipped` or `dropped`."""
    due_at: float
    kinds: tuple[str, ...]
    reasons: tuple[str, ...]
    severity: Severity
    hold: bool
    incident_keys: tuple[str, ...]
    payload: Mapping[str, Json]
    snapshot: str
    """The snapshot's name, once there is one."""
    note: str


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One message to one notifier or hook."""

    seq: int
    id: str
    notifier: str
    kind: str
    severity: Severity
    state: str
    """`pending`, `sending`, `sent` or `dead`."""
    run_id: int | None
    incident_id: int | None
    event_id: int | None
    created_at: float
    next_at: float
    attempts: int
    last_error: str
    sent_at: float | None
    payload: Mapping[str, Json]
