"""Events and incidents: what happened, and what people see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smartmon.records import Change, IncidentChange, Json, Severity
from smartmon.store.database import Database, Row
from smartmon.store.rows import EventRow, IncidentRow
from smartmon.store.values import dump, integer, load, maybe_integer, moment, real, text, untext

_EVENT = "e.id, e.at, e.run_id, e.attempt, e.kind, e.severity, e.step, e.message, e.historic, e.data, r.name"
_INCIDENT = (
    "id, run_id, key, kind, family, attempt, state, severity, opened_at, updated_at, resolved_at, step, start_step, "
    "end_step, anomalies, reason, message, onset_step, last_good_step, metric, value, expected, resolution, historic, "
    "context"
)
_UPSERT = """
INSERT INTO incidents VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id, key) DO UPDATE SET
    state = excluded.state, severity = excluded.severity, updated_at = excluded.updated_at,
    resolved_at = excluded.resolved_at, step = excluded.step,
    start_step = min(start_step, excluded.start_step), end_step = max(end_step, excluded.end_step),
    anomalies = max(anomalies, excluded.anomalies), resolution = excluded.resolution,
    reason = CASE excluded.state WHEN 'open' THEN excluded.reason ELSE reason END,
    message = CASE excluded.state WHEN 'open' THEN excluded.message ELSE message END,
    onset_step = coalesce(excluded.onset_step, onset_step),
    last_good_step = coalesce(excluded.last_good_step, last_good_step),
    metric = CASE excluded.metric WHEN '' THEN metric ELSE excluded.metric END,
    value = coalesce(excluded.value, value), expected = coalesce(excluded.expected, expected),
    historic = excluded.historic, context = CASE excluded.context WHEN '{}' THEN context ELSE excluded.context END
RETURNING id
"""


class TimelineTables(Database):
    """The event and incident tables."""

    def add_event(
        self,
        *,
        at: float,
        kind: str,
        message: str,
        run_id: int | None = None,
        attempt: int | None = None,
        severity: str = "info",
        step: int | None = None,
        historic: bool = False,
        data: Mapping[str, Json] | None = None,
    ) -> int:
        """Add a line to the timeline; returns its id. Ids only grow."""
        severity = Severity(severity).value
        cursor = self._write(
            "INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                moment(at),
                run_id,
                maybe_integer(attempt),
                text(kind),
                severity,
                maybe_integer(step),
                text(message),
                historic,
                dump(data or {}),
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def events(
        self,
        *,
        run_id: int | None = None,
        kinds: Sequence[str] = (),
        since: float | None = None,
        limit: int = 50,
        after_id: int | None = None,
        before_id: int | None = None,
        min_severity: str | None = None,
    ) -> list[EventRow]:
        """The newest `limit` events that match, oldest first; with `before_id`, those that come before that event.

        With `after_id`, the next `limit` ones added after that event instead, in the order in which they were added:
        a follower that goes on from the last id it saw misses none.
        """
        if after_id is not None:
            where, values = _conditions(run_id, kinds, since, min_severity)
            # The plus keeps SQLite from walking through all events of a kind to find the few new ones.
            where = ["e.id > ?", *(f"+{condition}" for condition in where)]
            return self._events(where, [after_id, *values], "e.id", limit)
        found: list[EventRow] = []
        # Kind by kind, each from its index: for several at once SQLite would sort all that there ever were.
        for kind in dict.fromkeys(kinds) or [None]:
            where, values = _conditions(run_id, [kind] if kind is not None else [], since, min_severity)
            if before_id is not None:
                where.append("(e.at, e.id) < (SELECT at, id FROM events WHERE id = ?)")
                values.append(before_id)
            found += self._events(where, values, "e.at DESC, e.id DESC", limit)
        return sorted(found, key=lambda event: (event.at, event.id))[-limit:]

    def _events(self, where: list[str], values: list[Any], order: str, limit: int) -> list[EventRow]:
        rows = self._all(
            f"SELECT {_EVENT} FROM events e LEFT JOIN runs r ON r.id = e.run_id "  # noqa: S608
            f"WHERE {' AND '.join(where) or '1'} ORDER BY {order} LIMIT ?",
            [*values, limit],
        )
        return [_event(row) for row in rows]

    def last_event_id(self) -> int:
        """The id of the event added last, 0 before the first."""
        row = self._one("SELECT max(id) FROM events")
        return (row and row[0]) or 0

    def save_incident(self, run_id: int, change: IncidentChange) -> int:
        """Store an incident as it is after a change; returns its id. The moment of opening is kept."""
        resolved = change.change is Change.RESOLVED
        values: list[Any] = [
            run_id,
            text(change.key),
            text(change.kind),
            text(change.family),
            integer(change.attempt),
            "resolved" if resolved else "open",
            change.severity.value,
            moment(change.at),
            moment(change.at),
            moment(change.at) if resolved else None,
            integer(change.step),
            integer(change.start_step),
            integer(change.end_step),
            integer(change.anomalies),
            text(change.reason),
            text(change.message),
            maybe_integer(change.onset_step),
            maybe_integer(change.last_good_step),
            text(change.metric),
            real(change.value),
            real(change.expected),
            text(change.resolution),
            change.historic,
            dump(change.context),
        ]
        with self.transaction():
            row = self._one(_UPSERT, values)
        assert row is not None
        incident_id: int = row[0]
        return incident_id

    def incidents(self, *, run_id: int | None = None, open_only: bool = False, limit: int = 50) -> list[IncidentRow]:
        """The newest `limit` incidents, oldest first."""
        where: list[str] = ["1"]
        values: list[Any] = []
        if run_id is not None:
            where.append("run_id = ?")
            values.append(run_id)
        if open_only:
            where.append("state = 'open'")
        rows = self._all(
            f"SELECT {_INCIDENT} FROM incidents WHERE {' AND '.join(where)} "  # noqa: S608
            "ORDER BY opened_at DESC, id DESC LIMIT ?",
            [*values, limit],
        )
        return [_incident(row) for row in reversed(rows)]

    def incident_of(self, run_id: int, key: str) -> IncidentRow | None:
        """The incident of a run with this key."""
        row = self._one(f"SELECT {_INCIDENT} FROM incidents WHERE run_id = ? AND key = ?", (run_id, text(key)))  # noqa: S608
        return _incident(row) if row else None

    def incident(self, incident_id: int) -> IncidentRow | None:
        """The incident with this id."""
        row = self._one(f"SELECT {_INCIDENT} FROM incidents WHERE id = ?", (incident_id,))  # noqa: S608
        return _incident(row) if row else None


def _conditions(
    run_id: int | None, kinds: Sequence[str], since: float | None, min_severity: str | None
) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    values: list[Any] = []
    if run_id is not None:
        where.append("e.run_id = ?")
        values.append(run_id)
    if kinds:
        where.append(f"e.kind IN ({', '.join('?' * len(kinds))})")
        values.extend(text(kind) for kind in kinds)
    if since is not None:
        where.append("e.at >= ?")
        values.append(moment(since))
    if min_severity is not None and Severity(min_severity) is not Severity.INFO:
        # Spelled as in the partial index, so that SQLite uses it.
        where.append("e.severity <> 'info'")
        if Severity(min_severity) is Severity.CRITICAL:
            where.append("e.severity = 'critical'")
    return where, values


def _event(row: Row) -> EventRow:
    event_id, at, run_id, attempt, kind, severity, step, message, historic, data, run = row
    return EventRow(
        event_id,
        at,
        run_id,
        attempt,
        untext(kind),
        Severity(severity),
        step,
        untext(message),
        bool(historic),
        load(data),
        None if run is None else untext(run),
    )


def _incident(row: Row) -> IncidentRow:
    values: dict[str, Any] = dict(zip(IncidentRow.__dataclass_fields__, row))
    for name in ("key", "kind", "family", "reason", "message", "metric", "resolution"):
        values[name] = untext(values[name])
    values["severity"] = Severity(values["severity"])
    values["historic"] = bool(values["historic"])
    values["context"] = load(values["context"])
    return IncidentRow(**values)
