"""The facts that pass between smartmon's parts: plain frozen values, no behaviour beyond their own arithmetic.

Times are seconds since the epoch (UTC, float). Steps are optimizer steps as the trainer counts them.
Accuracy is in percent. NaN and the infinities are values, never errors.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = Any
"""Anything that `json.dumps` takes."""


class Severity(enum.StrEnum):
    """How much an anomaly matters: `info` is recorded and drawn, the other two are sent to people."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for critical."""
        return ("info", "warning", "critical").index(self.value)


class RunState(enum.StrEnum):
    """What a run is doing."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    STALLED = "stalled"

    @property
    def ended(self) -> bool:
        """Whether no further step is expected."""
        return self in (RunState.COMPLETED, RunState.STOPPED, RunState.FAILED)


class SnapshotState(enum.StrEnum):
    """What a snapshot is worth."""

    OK = "ok"
    DAMAGED = "damaged"
    NO_CHECKPOINT = "no_checkpoint"
    SKIPPED = "skipped"


class SourceRank(enum.IntEnum):
    """Which source owns a metric that several carry: the highest rank wins."""

    STATUS = 0
    STATE = 1
    TEXT = 2
    """What a trainer prints: rounded, and often without its step."""
    STREAM = 3


class Keep(enum.StrEnum):
    """Whether an anomaly asks for a snapshot."""

    NO = "no"
    NOW = "now"
    HOLD = "hold"
    """Best of a quiet interval: copied at once into the held place, published at the interval's end."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One row that a source read: some metrics of one run at one step."""

    step: int
    at: float
    values: Mapping[str, float] = field(default_factory=dict)
    """Canonical metric name -> value. A metric that the row does not carry is absent."""
    source: str = ""
    """The source's id, unique within its run: usually a path relative to the run's folder."""
    rank: SourceRank = SourceRank.STREAM
    timed: bool = True
    """Whether `at` is the row's own time, or that of a live read. False: an estimate, no ground for judging pace."""
    historic: bool = False
    percent: bool = False
    """Whether `accuracy` and `eval_accuracy` are certainly in percent (`accuracy_percent`, or config said so)."""
    nulls: frozenset[str] = frozenset()
    """Metrics that the row carried as `null`."""


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What a run says about itself apart from its metrics: its state, its progress, its last words."""

    at: float
    state: RunState | None = None
    word: str = ""
    """The trainer's own word for the state."""
    step: int | None = None
    total_steps: int | None = None
    epoch: float | None = None
    error_type: str = ""
    error_message: str = ""
    model_name: str = ""
    extras: Mapping[str, Json] = field(default_factory=dict)
    """Sample fields (`current_prompt`, `golden_answer`, ...) and other values that are no metrics."""
    raw: bytes = b""
    """The status file byte for byte, as read."""
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU at one moment. What the driver does not tell is None."""

    index: int
    name: str
    memory_used: int | None = None
    """Bytes."""
    memory_total: int | None = None
    utilization: float | None = None
    """Percent of the time in which something ran on it."""
    temperature: float | None = None
    """Degrees Celsius."""
    temperature_limit: float | None = None
    """Where the driver begins to slow the GPU down."""
    power: float | None = None
    """Watts."""
    power_limit: float | None = None
    throttled: str = ""
    """Why it runs slower than it could because of heat or power, in words; empty when it does not."""


@dataclass(frozen=True, slots=True)
class HostSample:
    """The machine at one moment. None, or empty: not known, or not this run's to judge."""

    at: float
    disk: str = ""
    """The folder whose file system is meant."""
    disk_free: int | None = None
    """Bytes that an unprivileged process may still write."""
    disk_total: int | None = None
    memory_available: int | None = None
    """Bytes that can be had without swapping, within the container's own limit where there is one."""
    memory_total: int | None = None
    gpus: tuple[Gpu, ...] = ()
    answers: bool = True
    """Whether this run answers for memory and GPUs: of all that move only one does, or each would tell the same."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something a source has to say about itself: becomes an event of the run."""

    kind: str
    message: str
    severity: Severity = Severity.INFO
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read of one source gave."""

    cursor: Mapping[str, Json]
    """How far the source was read: JSON, stored in the transaction that stores the rest of the batch."""
    observations: tuple[Observation, ...] = ()
    status: StatusReport | None = None
    notes: tuple[Note, ...] = ()
    more: bool = False
    """Whether there is more to read at once."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One detector firing on one observation. A fact, never updated."""

    kind: str
    metric: str
    step: int
    at: float
    value: float | None
    expected: float | None
    limit: float | None
    severity: Severity
    reason: str
    """The greppable word, such as `loss_spike_40.7pct`."""
    message: str
    """One sentence for a person: what was seen, and what was expected."""
    attempt: int = 1
    historic: bool = False
    onset_step: int | None = None
    """The first step of what the anomaly is part of, where that is known to be earlier."""
    last_good_step: int | None = None
    keep: Keep = Keep.NO
    context: Mapping[str, Json] = field(default_factory=dict)
    """Evidence at that moment: `loss_history`, `accuracy_history`, `lr_history` (oldest first, the value under
    test last), `latest` (the newest value of every metric), `best_loss`, `best_loss_step`, `z`, `ratio`, ..."""


class Change(enum.StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    ESCALATED = "escalated"
    UPDATED = "updated"
    RESOLVED = "resolved"
    REMINDER = "reminder"
    SUMMARY = "summary"
    """Still open at the end of a history that was read late: one line, once."""


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """An incident's change, with the incident as it is after it."""

    key: str
    """Unique within the run, stable over restarts and replays: `loss_spike-1-17500` (kind, attempt, first step)."""
    kind: str
    family: str
    change: Change
    severity: Severity
    at: float
    step: int
    start_step: int
    end_step: int
    """The last anomaly's step."""
    anomalies: int
    reason: str
    message: str
    attempt: int = 1
    notify: bool = False
    """Whether a person is to be told."""
    historic: bool = False
    onset_step: int | None = None
    last_good_step: int | None = None
    metric: str = ""
    value: float | None = None
    expected: float | None = None
    resolution: str = ""
    """Why it resolved, for a person: `recovered after 12 steps`, `the run ended`."""
    context: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """The step went back, or a dead run moved again."""

    attempt: int
    step: int
    at: float
    previous_step: int
    """The highest step of the attempt before."""
    reset: bool
    """True for a new run in the same folder (everything is forgotten), False for a resume."""
    message: str
    historic: bool = False


@dataclass(frozen=True, slots=True)
class Rescaled:
    """Earlier values of a metric turned out to be in another unit: stored ones must be multiplied by `factor`."""

    metric: str
    factor: float
    attempt: int


Finding = Anomaly | IncidentChange | AttemptStarted | Rescaled


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trainer's checkpoint on disk: a folder or a single file with its companions."""

    path: Path
    step: int
    layout: str
    files: tuple[Path, ...]
    """Absolute paths of the regular files that belong to it."""
    bytes: int
    mtime: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as its folder on disk tells it."""

    name: str
    path: Path
    run: str
    created_at: str
    """ISO 8601 with zone."""
    reason: str
    triggers: tuple[str, ...]
    step: int | None
    loss: float | None
    accuracy: float | None
    checkpoint_step: int | None
    bytes: int
    pinned: bool
    state: SnapshotState
    severity: Severity = Severity.INFO
    attempt: int = 1
    problem: str = ""
    """Why the state is `damaged`."""
    has_weights: bool = True
    metadata: Mapping[str, Json] = field(default_factory=dict)
