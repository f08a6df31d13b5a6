"""Gather from the store what a message tells, at the moment of sending, and have it worded."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from smartmon.config import Config
from smartmon.notify import chart, render, routing
from smartmon.notify.queue import Pending, Send
from smartmon.records import Change, IncidentChange, Json, SnapshotState

UNSETTLED = frozenset({"pending", "waiting", "copying"})
"""States of a snapshot request whose outcome is worth waiting for."""


class Row(Pending, Protocol):
    """What is read of an outbox row here: what the queue reads, and the incident."""

    @property
    def incident_id(self) -> int | None: ...


class Tables(chart.Tables, Protocol):
    """What is read of the store here."""

    def runs(self) -> Sequence[Any]:
        """All runs."""

    def keep_for_incident(self, run_id: int, key: str) -> Any:
        """The newest snapshot request of an incident."""

    def keeps(self, *, run_id: int | None = None, limit: int | None = None) -> Sequence[Any]:
        """Snapshot requests."""

    def snapshots(self, *, run: str | None = None, limit: int | None = None) -> Sequence[Any]:
        """The index of snapshots."""

    def incidents(self, *, run_id: int | None = None, limit: int = 50) -> Sequence[Any]:
        """Incidents."""


class Composer:
    """Words deliveries. One per batch of sending: it looks each run up once."""

    def __init__(self, store: Tables, config: Config, host: str = "") -> None:
        self._store = store
        self._config = config
        self._host = host or socket.gethostname()
        self._runs: dict[int, Any] | None = None

    def run(self, run_id: int | None) -> Any:
        """Return the run's row, or None."""
        if self._runs is None:
            self._runs = {row.id: row for row in self._store.runs()}
        return self._runs.get(run_id) if run_id is not None else None

    def ready(self, row: Row) -> bool:
        """Whether the outcome of the snapshot is known that the row's message would tell of, or none was asked for."""
        if row.kind not in ("opened", "escalated", "summary", "event"):
            return True
        keep = self._keep(row)
        return keep is None or keep.state not in UNSETTLED

    def _keep(self, row: Row) -> Any:
        if row.run_id is None:
            return None
        change = row.payload.get("change")
        if change:
            return self._store.keep_for_incident(row.run_id, str(change["key"]))
        event = row.payload.get("event") or {}
        same = [
            keep
            for keep in self._store.keeps(run_id=row.run_id, limit=50)
            if event.get("kind") in keep.kinds
            and (keep.attempt, keep.step) == (event.get("attempt"), event.get("step"))
        ]
        return same[-1] if same else None

    def _kept(self, row: Row) -> render.Kept | None:
        keep, run = self._keep(row), self.run(row.run_id)
        if keep is None or run is None:
            return None
        path: Path | None = self._config.snapshots_dir(run.base_dir) / keep.snapshot if keep.snapshot else None
        known = next((one for one in self._store.snapshots(run=run.name, limit=200) if one.path == path), None)
        return render.Kept(
            state=keep.state,
            note=keep.note,
            path=path,
            name=keep.snapshot,
            checkpoint_step=known.checkpoint_step if known is not None else None,
            last_good_step=known.metadata.get("last_good_checkpoint_step") if known is not None else None,
            has_checkpoint=known is None or known.state is not SnapshotState.NO_CHECKPOINT,
        )

    def _opened_at(self, row: Row) -> float | None:
        if row.incident_id is None:
            return None
        found = self._store.incidents(run_id=row.run_id, limit=200)
        return next((incident.opened_at for incident in found if incident.id == row.incident_id), None)

    def _facts(self, row: Row, now: float, delivery_id: str, suppressed: tuple[str, ...] = ()) -> render.Facts:
        run = self.run(row.run_id)
        return render.Facts(
            id=delivery_id,
            run=str(row.payload.get("run") or (run.name if run is not None else "unknown run")),
            change=change_of(row),
            created_at=row.created_at,
            now=now,
            base_dir=run.base_dir if run is not None else None,
            opened_at=self._opened_at(row),
            kept=self._kept(row),
            latest=(run.data.get("latest") or {}) if run is not None else {},
            suppressed=suppressed,
            public_url=self._config.dashboard.public_url or "",
            incident_id=row.incident_id,
            host=self._host,
        )

    def message(self, send: Send[Any], now: float) -> render.Message:
        """Word one delivery, a digest of many, or the last of several that the rate cap held."""
        told = send.told
        if send.digest:
            return render.digest([self._facts(row, now, told.id) for row in send.rows])
        titles = tuple(self._title(row, now) for row in send.rows if row is not told)
        facts = self._facts(told, now, told.id, titles)
        event = told.payload.get("event")
        if event:
            return render.event(facts, str(event["kind"]), str(event["message"]), event.get("step"))
        return render.message(facts)

    def chart(self, send: Send[Any]) -> dict[str, Json] | None:
        """Return what the picture beside the message shows; None where none is wanted, and after some tries.

        A service that takes the words but not the picture must not be asked for both for ever.
        """
        told = send.told
        run = self.run(told.run_id) if self._config.alerts.charts else None
        if send.digest or run is None or told.attempts >= chart.TRIES or "change" not in told.payload:
            return None
        return chart.describe(self._store, run.id, run.name, change_of(told))

    def _title(self, row: Row, now: float) -> str:
        event = row.payload.get("event")
        return str(event["message"]) if event else render.title(self._facts(row, now, row.id))


def change_of(row: Row) -> IncidentChange:
    """Return the change that a row carries; for a plain event one that stands in its place."""
    packed = row.payload.get("change")
    if packed:
        return routing.unpack(packed)
    event = row.payload.get("event") or {}
    kind, step = str(event.get("kind", "")), int(event.get("step") or 0)
    return IncidentChange(
        key="",
        kind=kind,
        family=kind,
        change=Change.OPENED,
        severity=row.severity,
        at=float(event.get("at") or row.created_at),
        step=step,
        start_step=step,
        end_step=step,
        anomalies=1,
        reason=kind,
        message=str(event.get("message", "")),
    )
