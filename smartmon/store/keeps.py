"""Requests for snapshots, and the index of the snapshots on disk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smartmon.records import Json, Severity, Snapshot, SnapshotState
from smartmon.store.database import Database, Row
from smartmon.store.rows import KeepRow
from smartmon.store.values import dump, integer, load, moment, path_blob, text, untext

_KEEP = (
    "id, uid, run_id, attempt, step, created_at, state, due_at, kinds, reasons, severity, hold, incident_keys, "
    "payload, snapshot, note"
)
_INTO: dict[str, Callable[[Any], Any]] = {
    "state": str,
    "due_at": moment,
    "kinds": lambda kinds: dump(list(kinds)),
    "reasons": lambda reasons: dump(list(reasons)),
    "severity": lambda severity: Severity(severity).value,
    "hold": bool,
    "incident_keys": lambda keys: dump(list(keys)),
    "payload": dump,
    "snapshot": text,
    "note": text,
    "attempt": integer,
    "step": integer,
}


class KeepTables(Database):
    """The keep and snapshot tables."""

    def request_keep(
        self,
        run_id: int,
        attempt: int,
        step: int,
        *,
        at: float,
        kinds: Sequence[str],
        reasons: Sequence[str],
        severity: str,
        hold: bool,
        incident_keys: Sequence[str],
        payload: Mapping[str, Json],
    ) -> int:
        """Ask for a snapshot; returns the request's id.

        A request of the same step that nobody has begun to copy takes this one in: kinds, reasons and incidents are
        joined, the higher severity holds, what one wants at once is done at once, and the first evidence stays.
        """
        with self.transaction():
            row = self._one(
                f"SELECT {_KEEP} FROM keeps WHERE run_id = ? AND attempt = ? AND step = ? "  # noqa: S608
                "AND state IN ('pending', 'waiting') ORDER BY id LIMIT 1",
                (run_id, integer(attempt), integer(step)),
            )
            if row is not None:
                keep = _keep(row)
                self.update_keep(
                    keep.id,
                    kinds=_join(keep.kinds, kinds),
                    reasons=_join(keep.reasons, reasons),
                    incident_keys=_join(keep.incident_keys, incident_keys),
                    severity=max(keep.severity, Severity(severity), key=lambda one: one.rank),
                    hold=keep.hold and hold,
                    due_at=keep.due_at if keep.state == "waiting" else min(keep.due_at, moment(at)),
                    payload=_joined_payload(keep.payload, payload),
                )
                return keep.id
            cursor = self._execute(
                "INSERT INTO keeps VALUES (NULL, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?, '', '')",
                (
                    uuid.uuid4().hex,
                    run_id,
                    integer(attempt),
                    integer(step),
                    moment(at),
                    moment(at),
                    dump(list(kinds)),
                    dump(list(reasons)),
                    Severity(severity).value,
                    hold,
                    dump(list(incident_keys)),
                    dump(payload),
                ),
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def keeps(
        self, *, states: Sequence[str] = (), run_id: int | None = None, limit: int | None = None
    ) -> list[KeepRow]:
        """Requests for snapshots, oldest first; with `limit`, the newest so many."""
        where: list[str] = ["1"]
        values: list[Any] = []
        if states:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            values.extend(states)
        if run_id is not None:
            where.append("run_id = ?")
            values.append(run_id)
        rows = self._all(
            f"SELECT {_KEEP} FROM keeps WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",  # noqa: S608
            [*values, -1 if limit is None else limit],
        )
        return [_keep(row) for row in reversed(rows)]

    def keep(self, keep_id: int) -> KeepRow | None:
        """The request with this id."""
        row = self._one(f"SELECT {_KEEP} FROM keeps WHERE id = ?", (keep_id,))  # noqa: S608
        return _keep(row) if row else None

    def update_keep(self, keep_id: int, **columns: Any) -> None:
        """Set columns of a request."""
        self._update("keeps", "id", keep_id, {key: _INTO[key](value) for key, value in columns.items()})

    def keep_for_incident(self, run_id: int, key: str) -> KeepRow | None:
        """The newest request that an incident has made."""
        rows = self._all("SELECT id, incident_keys FROM keeps WHERE run_id = ? ORDER BY id DESC", (run_id,))
        return next((self.keep(keep_id) for keep_id, keys in rows if key in load(keys)), None)

    def index_snapshots(self, base_dir: Path, snapshots: Sequence[Snapshot]) -> None:
        """Make the index of a base dir what a scan of its snapshots saw. Writes only if something changed."""
        base = path_blob(base_dir)
        seen = {_snapshot_row(base, snapshot) for snapshot in snapshots}
        with self.transaction():
            known = set(
                self._all("SELECT base_dir, name, run, created_at, data FROM snapshots WHERE base_dir = ?", (base,))
            )
            gone = known - seen
            self._execute_many("DELETE FROM snapshots WHERE base_dir = ? AND name = ?", [row[:2] for row in gone])
            self._execute_many("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)", sorted(seen - known, key=repr))

    def snapshots(self, *, run: str | None = None, limit: int | None = None) -> list[Snapshot]:
        """The index: the newest `limit` snapshots, oldest first."""
        where, values = ("1", []) if run is None else ("run = ?", [text(run)])
        rows = self._all(
            f"SELECT data FROM snapshots WHERE {where} ORDER BY created_at DESC, name DESC LIMIT ?",  # noqa: S608
            [*values, -1 if limit is None else limit],
        )
        return [_snapshot(load(row[0])) for row in reversed(rows)]


def _joined_payload(first: Mapping[str, Json], second: Mapping[str, Json]) -> dict[str, Json]:
    joined = {**first, **{key: value for key, value in second.items() if first.get(key) is None}}
    old, new = first.get("anomalies") or (), second.get("anomalies") or ()
    if old or new:
        joined["anomalies"] = [*old, *(anomaly for anomaly in new if anomaly not in old)]
    return joined


def _join(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _keep(row: Row) -> KeepRow:
    values: dict[str, Any] = dict(zip(KeepRow.__dataclass_fields__, row))
    for name in ("kinds", "reasons", "incident_keys"):
        values[name] = tuple(load(values[name]))
    values["severity"] = Severity(values["severity"])
    values["hold"] = bool(values["hold"])
    values["payload"] = load(values["payload"])
    for name in ("snapshot", "note"):
        values[name] = untext(values[name])
    return KeepRow(**values)


def _snapshot_row(base: bytes, snapshot: Snapshot) -> Row:
    data = asdict(snapshot)
    data["path"] = str(snapshot.path)
    return base, text(snapshot.name), text(snapshot.run), text(snapshot.created_at), dump(data)


def _snapshot(data: dict[str, Any]) -> Snapshot:
    data["path"] = Path(data["path"])
    data["triggers"] = tuple(data["triggers"])
    data["state"] = SnapshotState(data["state"])
    data["severity"] = Severity(data["severity"])
    return Snapshot(**data)
