"""The outbox: messages that must go out, and what became of each."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smartmon.records import Json, Severity
from smartmon.store.database import Database, Row
from smartmon.store.rows import DeliveryRow
from smartmon.store.values import dump, integer, load, moment, real, text, untext

_DELIVERY = (
    "seq, id, notifier, kind, severity, state, run_id, incident_id, event_id, created_at, next_at, attempts, "
    "last_error, sent_at, payload"
)
_INTO: dict[str, Callable[[Any], Any]] = {
    "state": str,
    "next_at": moment,
    "attempts": integer,
    "last_error": text,
    "sent_at": real,
    "payload": dump,
    "event_id": lambda event_id: event_id,
    "incident_id": lambda incident_id: incident_id,
}


class OutboxTables(Database):
    """The delivery table."""

    def add_delivery(
        self,
        *,
        notifier: str,
        kind: str,
        severity: str,
        created_at: float,
        run_id: int | None = None,
        incident_id: int | None = None,
        event_id: int | None = None,
        next_at: float | None = None,
        payload: Mapping[str, Json],
    ) -> str:
        """Put a message into the outbox; returns its id, 16 hex characters that go into the message."""
        delivery_id = secrets.token_hex(8)
        self._write(
            "INSERT INTO deliveries VALUES (NULL, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?, 0, '', NULL, ?)",
            (
                delivery_id,
                text(notifier),
                text(kind),
                Severity(severity).value,
                run_id,
                incident_id,
                event_id,
                moment(created_at),
                moment(created_at if next_at is None else next_at),
                dump(payload),
            ),
        )
        return delivery_id

    def due_deliveries(self, now: float, limit: int = 50) -> list[DeliveryRow]:
        """Pending messages whose time has come, in the order in which they were put in."""
        rows = self._all(
            f"SELECT {_DELIVERY} FROM deliveries INDEXED BY delivery_pending "  # noqa: S608
            "WHERE state = 'pending' AND next_at <= ? ORDER BY seq LIMIT ?",
            (real(now), limit),
        )
        return [_delivery(row) for row in rows]

    def deliveries(
        self, *, states: Sequence[str] = (), incident_id: int | None = None, limit: int = 50
    ) -> list[DeliveryRow]:
        """The newest `limit` messages, oldest first; of one incident, or of all."""
        where = f"state IN ({', '.join('?' * len(states))})" if states else "1"
        where += "" if incident_id is None else " AND incident_id = ?"
        rows = self._all(
            f"SELECT {_DELIVERY} FROM deliveries WHERE {where} ORDER BY seq DESC LIMIT ?",  # noqa: S608
            [*states, *([] if incident_id is None else [incident_id]), limit],
        )
        return [_delivery(row) for row in reversed(rows)]

    def delivery(self, delivery_id: str) -> DeliveryRow | None:
        """The message with this id."""
        row = self._one(f"SELECT {_DELIVERY} FROM deliveries WHERE id = ?", (delivery_id,))  # noqa: S608
        return _delivery(row) if row else None

    def count_deliveries(self, *states: str) -> int:
        """How many messages are in these states."""
        row = self._one(f"SELECT count(*) FROM deliveries WHERE state IN ({', '.join('?' * len(states))})", states)  # noqa: S608
        assert row is not None
        count: int = row[0]
        return count

    def update_delivery(self, delivery_id: str, **columns: Any) -> None:
        """Set columns of a message."""
        self._update("deliveries", "id", delivery_id, {key: _INTO[key](value) for key, value in columns.items()})

    def next_delivery_at(self) -> float | None:
        """When the next pending message is due."""
        row = self._one("SELECT min(next_at) FROM deliveries INDEXED BY delivery_pending WHERE state = 'pending'")
        return row[0] if row else None


def _delivery(row: Row) -> DeliveryRow:
    values: dict[str, Any] = dict(zip(DeliveryRow.__dataclass_fields__, row))
    for name in ("notifier", "kind", "last_error"):
        values[name] = untext(values[name])
    values["severity"] = Severity(values["severity"])
    values["payload"] = load(values["payload"])
    return DeliveryRow(**values)
