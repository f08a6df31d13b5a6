"""One look at the database: which runs moved, and what happened, since the look before."""

from __future__ import annotations

import time
from collections.abc import Sequence

from smartmon.errors import StoreError
from smartmon.store import EventRow, RunRow, Store
from smartmon.web.models import Daemon
from smartmon.web.models_detail import Update
from smartmon.web.readers import NoStoreError
from smartmon.web.site import Site
from smartmon.web.views.cards import card, current_run, daemon, moved_at, no_daemon
from smartmon.web.views.timeline import event

MOST_EVENTS = 200
MOST_RUNS = 200
"""Runs that a viewer is told of when it comes, those that moved last: as many as the list of runs shows."""
_DAEMON_EVERY = 5.0
"""Seconds between two looks at whether the daemon lives: its silence writes nothing."""


class Look:
    """Remembers what was seen. Used by one thread at a time."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._store: Store | None = None
        self._version = -1
        self._marks: dict[int, object] | None = None
        self._event_id = 0
        self._daemon: Daemon | None = None
        self._daemon_at = 0.0

    def now(self) -> Update | None:
        """Return what is new since the call before; None where nothing is."""
        try:
            store = self._open()
            version = store.version if store is not None else 0
            if version == self._version and time.monotonic() < self._daemon_at + _DAEMON_EVERY:
                return None
            self._version, self._daemon_at = version, time.monotonic()
            return self._news(store)
        except StoreError:
            # Tried again at the next look; /health tells what is wrong.
            self.close()
            return None

    def since(self, event_id: int | None) -> Update:
        """Return how every run is, and what happened after an event: what somebody who comes back has missed."""
        with self._site.readers.lend() as store, store.transaction():
            missed = [] if event_id is None else store.events(after_id=event_id, limit=MOST_EVENTS + 1)
            rows = sorted(store.runs(), key=moved_at)[-MOST_RUNS:]
            return self._update(store, rows, missed, daemon(self._site, store))

    def nothing(self) -> Update:
        """Return that there is no database yet."""
        return Update(
            runs=[], events=[], more=False, incidents=[], daemon=no_daemon(self._site), current=None, last_event_id=0
        )

    def close(self) -> None:
        """Forget the database."""
        if self._store is not None:
            self._store.close()
        self._store, self._version = None, -1

    def _open(self) -> Store | None:
        if self._store is not None and self._store.lost:
            self.close()
            # All that is in the next one is news.
            self._marks, self._event_id = {}, 0
        if self._store is None:
            try:
                self._store = self._site.readers.open()
            except NoStoreError:
                self._marks, self._event_id = {}, 0
                return None
        return self._store

    def _news(self, store: Store | None) -> Update | None:
        if store is None:
            return None
        with store.transaction():
            rows = store.runs()
            marks: dict[int, object] = {row.id: _mark(row) for row in rows}
            told = daemon(self._site, store)
            if self._marks is None:
                # The first look: whoever comes is told how things are by `since`.
                self._marks, self._event_id, self._daemon = marks, store.last_event_id(), told
                return None
            moved = [row for row in rows if self._marks.get(row.id) != marks[row.id]]
            happened = store.events(after_id=self._event_id, limit=MOST_EVENTS + 1)
            changed = _changed(self._daemon, told)
            if not (moved or happened or changed):
                return None
            update = self._update(store, moved, happened, told)
            self._marks, self._event_id, self._daemon = marks, update.last_event_id, told
            return update

    def _update(self, store: Store, rows: Sequence[RunRow], happened: Sequence[EventRow], told: Daemon) -> Update:
        now, current = self._site.clock(), current_run(store)
        return Update(
            runs=[card(self._site, store, row, now=now, current=current) for row in rows],
            events=[event(one) for one in happened[:MOST_EVENTS]],
            more=len(happened) > MOST_EVENTS,
            incidents=_incidents(store, happened),
            daemon=told,
            current=current.name if current else None,
            last_event_id=store.last_event_id(),
        )


def _mark(row: RunRow) -> object:
    """Return what differs once there is something to show; `last_seen` moves with every scan."""
    told = row.data
    return (
        row.name,
        row.state,
        row.attempt,
        row.step,
        row.total_steps,
        repr(told.get("latest")),
        told.get("last_step_at"),
    )


def _changed(before: Daemon | None, now: Daemon) -> bool:
    def key(one: Daemon | None) -> object:
        return one and (one.running, one.state, one.since, one.workers, one.failed_deliveries, one.pending_deliveries)

    return key(before) != key(now)


def _incidents(store: Store, happened: Sequence[EventRow]) -> list[int]:
    keys = {(one.run_id, str(one.data.get("incident"))) for one in happened if one.kind.startswith("incident_")}
    found = (store.incident_of(run_id, key) for run_id, key in sorted(keys, key=repr) if run_id is not None)
    return [row.id for row in found if row is not None]
