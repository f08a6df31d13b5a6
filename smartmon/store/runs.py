"""Runs and their attempts; cursors, judge states and the daemon's own notes (`meta`)."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smartmon.records import Json, RunState
from smartmon.store.database import Database, Row
from smartmon.store.rows import AttemptRow, RunRow
from smartmon.store.values import dump, integer, load, maybe_integer, moment, path_blob, real, text, unpath, untext

_COLUMNS = (
    "id, name, path, base_dir, first_seen, last_seen, state, attempt, step, total_steps, epoch, started_at, "
    "finished_at, data"
)
_INTO: dict[str, Callable[[Any], Any]] = {
    "name": text,
    "path": path_blob,
    "base_dir": path_blob,
    "last_seen": moment,
    "state": lambda state: RunState(state).value,
    "attempt": integer,
    "step": maybe_integer,
    "total_steps": maybe_integer,
    "epoch": real,
    "started_at": real,
    "finished_at": real,
}


class RunTables(Database):
    """Everything that has one row for each run, or a few."""

    def ensure_run(self, name: str, path: Path, base_dir: Path, now: float) -> RunRow:
        """The run whose folder is `path`, made if it is new; `last_seen` becomes `now`.

        A run of the same name at another place is the same run when its base dir is the same, or when its old folder
        is gone (the training directory was moved). Else two base dirs hold a run of one name, and the second gets
        its base dir's name in front.
        """
        with self.transaction():
            known = self._run_where("path = ?", path_blob(path))
            if known is None:
                known = self._run_where("name = ?", text(name))
                if known is not None and known.base_dir != base_dir and os.path.lexists(known.path):
                    name, known = self._free_name(name, base_dir), None
            if known is None:
                self._execute(
                    "INSERT INTO runs (name, path, base_dir, first_seen, last_seen) VALUES (?, ?, ?, ?, ?)",
                    (text(name), path_blob(path), path_blob(base_dir), moment(now), moment(now)),
                )
                known = self._run_where("path = ?", path_blob(path))
                assert known is not None
                return known
            if name != known.name and self._run_where("name = ?", text(name)) is not None:
                name = known.name
            self.update_run(known.id, name=name, path=path, base_dir=base_dir, last_seen=now)
            return self._run_by_id(known.id)

    def run(self, name: str) -> RunRow | None:
        """The run of exactly this name."""
        return self._run_where("name = ?", text(name))

    def run_by_id(self, run_id: int) -> RunRow | None:
        """The run with this id."""
        return self._run_where("id = ?", run_id)

    def runs(self) -> list[RunRow]:
        """All runs, in the order in which they were first seen."""
        return [_run(row) for row in self._all(f"SELECT {_COLUMNS} FROM runs ORDER BY id")]  # noqa: S608

    def update_run(self, run_id: int, **columns: Any) -> None:
        """Set columns of a run. `data` is merged into what is there, key by key."""
        data = columns.pop("data", None)
        with self.transaction():
            values: dict[str, Any] = {key: _INTO[key](value) for key, value in columns.items()}
            if data:
                values["data"] = dump({**self._run_by_id(run_id).data, **data})
            self._update("runs", "id", run_id, values)

    def begin_attempt(self, run_id: int, attempt: int, step: int, at: float, reason: str) -> None:
        """Note where an attempt began; the run is in that attempt from now on."""
        with self.transaction():
            self._execute(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "step = excluded.step, at = excluded.at, reason = excluded.reason",
                (run_id, integer(attempt), integer(step), moment(at), text(reason)),
            )
            self._execute("UPDATE runs SET attempt = max(attempt, ?) WHERE id = ?", (integer(attempt), run_id))

    def attempts(self, run_id: int) -> list[AttemptRow]:
        """The attempts of a run, oldest first."""
        rows = self._all("SELECT attempt, step, at, reason FROM attempts WHERE run_id = ? ORDER BY attempt", (run_id,))
        return [AttemptRow(attempt, step, at, untext(reason)) for attempt, step, at, reason in rows]

    def cursor(self, run_id: int, source_id: str) -> dict[str, Json] | None:
        """How far a source of a run has been read."""
        row = self._one("SELECT data FROM cursors WHERE run_id = ? AND source_id = ?", (run_id, text(source_id)))
        return load(row[0]) if row else None

    def sources(self, run_id: int) -> list[str]:
        """The ids of all sources of a run that were ever read."""
        rows = self._all("SELECT source_id FROM cursors WHERE run_id = ? ORDER BY source_id", (run_id,))
        return [untext(row[0]) for row in rows]

    def set_cursor(self, run_id: int, source_id: str, data: Mapping[str, Json]) -> None:
        """Note how far a source of a run has been read."""
        self._write("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (run_id, text(source_id), dump(data)))

    def judge_state(self, run_id: int) -> dict[str, Json] | None:
        """What the detectors knew of a run when last saved."""
        row = self._one("SELECT body FROM judges WHERE run_id = ?", (run_id,))
        return load(zlib.decompress(row[0]).decode()) if row else None

    def save_judge_state(self, run_id: int, state: Mapping[str, Json]) -> None:
        """Store what the detectors know of a run."""
        body = zlib.compress(dump(state).encode(), 1)
        self._write("INSERT OR REPLACE INTO judges VALUES (?, ?)", (run_id, body))

    def meta(self, key: str) -> str | None:
        """A note of the daemon's own."""
        row = self._one("SELECT value FROM meta WHERE key = ?", (text(key),))
        return untext(row[0]) if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Write a note of the daemon's own."""
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (text(key), text(value)))

    def _run_where(self, condition: str, value: Any) -> RunRow | None:
        row = self._one(f"SELECT {_COLUMNS} FROM runs WHERE {condition}", (value,))  # noqa: S608
        return _run(row) if row else None

    def _run_by_id(self, run_id: int) -> RunRow:
        run = self.run_by_id(run_id)
        if run is None:
            raise KeyError(run_id)
        return run

    def _free_name(self, name: str, base_dir: Path) -> str:
        stem = f"{base_dir.name}/{name}"
        candidate, number = stem, 1
        while self._run_where("name = ?", text(candidate)) is not None:
            number += 1
            candidate = f"{stem}-{number}"
        return candidate


def _run(row: Row) -> RunRow:
    values: dict[str, Any] = dict(zip(RunRow.__dataclass_fields__, row))
    values["name"] = untext(values["name"])
    values["path"], values["base_dir"] = unpath(values["path"]), unpath(values["base_dir"])
    values["state"] = RunState(values["state"])
    values["data"] = load(values["data"])
    return RunRow(**values)
