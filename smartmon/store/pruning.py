"""Retention of rows: what may be forgotten after a while. Incidents, runs and open requests stay."""

from __future__ import annotations

from smartmon.store.database import Database

_AT_ONCE = 20_000
"""Rows deleted in one call at most, so that nobody waits long for the lock; call again while it deletes as many."""
_VACUUM_PAGES = 2_000

_OLD_ROWS = (
    ("events", "id", "SELECT id FROM events WHERE at < ? ORDER BY at LIMIT ?"),
    ("deliveries", "seq", "SELECT seq FROM deliveries WHERE state IN ('sent', 'dead') AND created_at < ? LIMIT ?"),
    (
        "keeps",
        "id",
        "SELECT id FROM keeps WHERE state IN ('done', 'skipped', 'dropped') AND created_at < ? AND NOT EXISTS "
        "(SELECT 1 FROM incidents WHERE incidents.run_id = keeps.run_id AND incidents.state = 'open') LIMIT ?",
    ),
    ("series", "id", "SELECT series.id FROM series JOIN runs ON runs.id = run_id WHERE last_seen < ? LIMIT min(64, ?)"),
)


class Pruning(Database):
    """Deletes old rows and gives their space back."""

    def prune(self, now: float, *, max_age: float, max_events: int) -> int:
        """Delete what is older than `max_age`, and the oldest events beyond `max_events`; returns how many rows.

        Gone are events, finished deliveries and requests, and the observations of runs whose folder has not been
        seen for so long.
        """
        deleted = 0
        with self.transaction():
            for table, key, query in _OLD_ROWS:
                deleted += self._delete(table, key, query, (now - max_age, _AT_ONCE))
            deleted += self._delete(
                "events",
                "id",
                "SELECT id FROM events ORDER BY at DESC, id DESC LIMIT ? OFFSET ?",
                (_AT_ONCE, max(0, max_events)),
            )
            self._forget()
        if deleted and not self._depth:
            self.vacuum()
        return deleted

    def vacuum(self) -> None:
        """Give freed pages back to the file system, a bounded number at a time."""
        with self._lock:
            # One row for each page freed: only executescript steps through all of them.
            self._execute_script(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")

    def _delete(self, table: str, key: str, query: str, values: tuple[float, ...]) -> int:
        return self._execute(f"DELETE FROM {table} WHERE {key} IN ({query})", values).rowcount  # noqa: S608
