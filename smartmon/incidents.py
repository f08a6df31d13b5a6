"""Incidents: stretches of anomalies of one kind in one run, and who is to be told of them. Pure.

An incident is pending while only info anomalies came, opens at the first warning or critical one, and resolves when
its metric has been calm for long enough. Info anomalies close before the opening one are counted in and give the first
step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from smartmon.records import Anomaly, Change, IncidentChange, Json, Severity

FAMILIES = {
    "loss_spike": "loss",
    "divergence": "loss",
    "slow_divergence": "loss",
    "collapse": "loss",
    "nonfinite": "nonfinite",
    "accuracy_drop": "eval",
    "overfit": "eval",
    "resume_regression": "resume",
    "stalled": "stall",
    "crashed": "crash",
    "grad_explosion": "grad",
    "grad_vanish": "grad",
    "throughput_drop": "speed",
}
"""Within a family only a higher severity is told again."""
NEVER = frozenset({"best_model"})
"""Kinds that belong to no incident."""
SILENCED = frozenset({"loss", "grad", "eval"})
"""Families that say nothing new while the loss is not finite."""
REOPENS = frozenset({"loss", "eval", "nonfinite", "grad"})
"""Families where firing again shortly after closing is the same incident; a second stall is a new one."""
REOPEN_POINTS = 50
PENDING_POINTS = 5
MAX_REMINDERS = 42
"""A week of reminders at the default pace: after that nobody is going to come."""


@dataclass(slots=True)
class Incident:
    """One incident as the machine remembers it."""

    key: str
    kind: str
    family: str
    attempt: int
    severity: Severity
    opened_at: float
    start_step: int
    end_step: int
    anomalies: int
    reason: str
    message: str
    metric: str
    value: float | None
    expected: float | None
    onset_step: int | None
    last_good_step: int | None
    historic: bool
    open: bool = True
    told: Severity | None = None
    """The highest severity that a person was told."""
    told_open: bool = False
    """Whether the last thing told was that it is open."""
    told_at: float = 0.0
    reminders: int = 0
    calm: int = 0
    closed_point: int = 0


@dataclass
class Incidents:
    """The incidents of one run: the open ones, and those closed lately."""

    by_kind: dict[str, Incident] = field(default_factory=dict)
    pending: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Kind -> first step, count and last point of info anomalies that opened nothing yet."""
    points: int = 0
    """How many observations were judged: distances are counted in these."""

    def open(self, kind: str) -> Incident | None:
        """Return the open incident of a kind, if any."""
        incident = self.by_kind.get(kind)
        return incident if incident is not None and incident.open else None

    @property
    def all_open(self) -> list[Incident]:
        """The open incidents, oldest first."""
        return sorted((i for i in self.by_kind.values() if i.open), key=lambda i: (i.opened_at, i.key))

    def add(self, anomaly: Anomaly) -> IncidentChange | None:
        """Let an anomaly join, open, escalate or reopen an incident; None when it belongs to none."""
        if anomaly.kind in NEVER:
            return None
        incident = self.by_kind.get(anomaly.kind)
        if incident is not None and incident.open:
            return self._join(incident, anomaly)
        if anomaly.severity is Severity.INFO:
            start, count, last = self.pending.get(anomaly.kind, (anomaly.step, 0, self.points))
            if self.points - last > PENDING_POINTS:
                start, count = anomaly.step, 0
            self.pending[anomaly.kind] = (start, count + 1, self.points)
            return None
        reopens = incident is not None and incident.family in REOPENS and incident.attempt == anomaly.attempt
        if reopens and incident is not None and self.points - incident.closed_point <= REOPEN_POINTS:
            incident.open, incident.calm = True, 0
            incident.severity = max(incident.severity, anomaly.severity, key=lambda s: s.rank)
            self._take(incident, anomaly)
            return self._change(incident, Change.OPENED, anomaly, notify=self._may_tell(incident, anomaly.historic))
        return self._open(anomaly)

    def _open(self, anomaly: Anomaly) -> IncidentChange:
        start, count, last = self.pending.pop(anomaly.kind, (anomaly.step, 0, self.points))
        if self.points - last > PENDING_POINTS:
            start, count = anomaly.step, 0
        incident = Incident(
            key=f"{anomaly.kind}-{anomaly.attempt}-{start}",
            kind=anomaly.kind,
            family=FAMILIES.get(anomaly.kind, anomaly.kind),
            attempt=anomaly.attempt,
            severity=anomaly.severity,
            opened_at=anomaly.at,
            start_step=start,
            end_step=anomaly.step,
            anomalies=count + 1,
            reason=anomaly.reason,
            message=anomaly.message,
            metric=anomaly.metric,
            value=anomaly.value,
            expected=anomaly.expected,
            onset_step=anomaly.onset_step,
            last_good_step=anomaly.last_good_step,
            historic=anomaly.historic,
        )
        earlier = self.by_kind.get(anomaly.kind)
        if earlier is not None and earlier.key == incident.key:
            # A second one of the kind at the same step, as stalls can be: its key must be its own.
            incident.key += f"-{self.points}"
        self.by_kind[anomaly.kind] = incident
        return self._change(incident, Change.OPENED, anomaly, notify=self._may_tell(incident, anomaly.historic))

    def _join(self, incident: Incident, anomaly: Anomaly) -> IncidentChange:
        incident.anomalies += 1
        incident.end_step = max(incident.end_step, anomaly.step)
        if anomaly.severity is not Severity.INFO:
            incident.calm = 0
        if anomaly.severity.rank <= incident.severity.rank:
            return self._change(incident, Change.UPDATED, anomaly, notify=False)
        incident.severity = anomaly.severity
        incident.anomalies -= 1
        self._take(incident, anomaly)
        return self._change(incident, Change.ESCALATED, anomaly, notify=self._may_tell(incident, anomaly.historic))

    @staticmethod
    def _take(incident: Incident, anomaly: Anomaly) -> None:
        """Make the anomaly the one that the incident shows."""
        incident.anomalies += 1
        incident.end_step = max(incident.end_step, anomaly.step)
        incident.reason, incident.message = anomaly.reason, anomaly.message
        incident.metric, incident.value, incident.expected = anomaly.metric, anomaly.value, anomaly.expected
        if anomaly.onset_step is not None:
            incident.onset_step, incident.last_good_step = anomaly.onset_step, anomaly.last_good_step
        incident.historic = incident.historic and anomaly.historic

    def _may_tell(self, incident: Incident, historic: bool) -> bool:
        if historic or (incident.family in SILENCED and self.open("nonfinite") is not None):
            return False
        family = [i for i in self.by_kind.values() if i.family == incident.family and (i.open or i is incident)]
        return all(i.told is None or i.told.rank < incident.severity.rank for i in family)

    def _change(
        self, incident: Incident, change: Change, anomaly: Anomaly | None, *, notify: bool, at: float = 0.0,
        step: int = 0, resolution: str = "",
    ) -> IncidentChange:  # fmt: skip
        at, step = (at, step) if anomaly is None else (anomaly.at, anomaly.step)
        if notify:
            incident.told = max(incident.told or incident.severity, incident.severity, key=lambda s: s.rank)
            incident.told_open = change is not Change.RESOLVED
            incident.told_at = at
        context: Mapping[str, Json] = {}
        if anomaly is not None and change is not Change.UPDATED:
            context = anomaly.context
        return IncidentChange(
            key=incident.key,
            kind=incident.kind,
            family=incident.family,
            change=change,
            severity=incident.severity,
            at=at,
            step=step,
            start_step=incident.start_step,
            end_step=incident.end_step,
            anomalies=incident.anomalies,
            reason=incident.reason,
            message=incident.message,
            attempt=incident.attempt,
            notify=notify,
            historic=incident.historic if anomaly is None else anomaly.historic,
            onset_step=incident.onset_step,
            last_good_step=incident.last_good_step,
            metric=incident.metric,
            value=incident.value,
            expected=incident.expected,
            resolution=resolution,
            context=context,
        )

    def calm(self, kind: str, needed: int, *, calm: bool) -> bool:
        """Count one calm or restless observation for a kind; return True when it has been calm for long enough."""
        incident = self.open(kind)
        if incident is None:
            return False
        incident.calm = incident.calm + 1 if calm else 0
        return incident.calm >= needed

    def resolve(self, kind: str, at: float, step: int, text: str, *, tell: bool = True) -> list[IncidentChange]:
        """Close the open incident of a kind. Told if its opening was, once the last of its family is closed."""
        incident = self.open(kind)
        if incident is None:
            return []
        incident.open, incident.calm, incident.closed_point = False, 0, self.points
        self.pending.pop(kind, None)
        others = [i for i in self.by_kind.values() if i.open and i.family == incident.family]
        notify = incident.told_open and tell and not others
        if incident.told_open and others:
            others[0].told_open = True
            others[0].told = others[0].told or incident.told
        incident.told_open = False
        return [self._change(incident, Change.RESOLVED, None, notify=notify, at=at, step=step, resolution=text)]

    def new_attempt(self) -> None:
        """Forget what was pending: steps of the attempt before begin nothing in this one."""
        self.pending.clear()

    def remind(self, now: float, every: float) -> list[IncidentChange]:
        """Return a reminder for each critical incident that was last told of so long ago."""
        found = []
        for incident in self.all_open:
            due = incident.severity is Severity.CRITICAL and incident.told_open and now - incident.told_at >= every
            if due and incident.reminders < MAX_REMINDERS:
                incident.reminders += 1
                change = self._change(incident, Change.REMINDER, None, notify=True, at=now, step=incident.end_step)
                found.append(change)
        return found

    def summary(self, now: float) -> list[IncidentChange]:
        """Return what is still open from a history that nobody was told of, the gravest first."""
        found = []
        for incident in sorted(self.all_open, key=lambda i: -i.severity.rank):
            if incident.historic and incident.told is None:
                notify = self._may_tell(incident, historic=False)
                change = self._change(incident, Change.SUMMARY, None, notify=notify, at=now, step=incident.end_step)
                found.append(replace(change, historic=False))
        return found

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "points": self.points,
            "pending": {kind: list(value) for kind, value in self.pending.items()},
            "incidents": [asdict(i) for i in self.by_kind.values()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.points = state["points"]
        self.pending = {kind: (v[0], v[1], v[2]) for kind, v in state["pending"].items()}
        self.by_kind = {}
        for row in state["incidents"]:
            told = None if row["told"] is None else Severity(row["told"])
            incident = Incident(**{**row, "severity": Severity(row["severity"]), "told": told})
            self.by_kind[incident.kind] = incident
