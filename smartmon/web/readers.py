"""Read-only connections to the database, lent to one request each; the file may come, go and be replaced meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from smartmon.errors import StoreError, UsageError
from smartmon.store import Store

KEPT = 4
"""Connections that wait for the next request: more than that read at once only on a busy day."""


class NoStoreError(StoreError):
    """There is no database: no daemon has run here yet."""


class Readers:
    """Lends stores. Threads may share it."""

    def __init__(self, locate: Callable[[], Path]) -> None:
        """`locate` says where the database is now: it may have been begun since, or moved to another base dir."""
        self._locate = locate
        self._idle: list[Store] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def lend(self) -> Iterator[Store]:
        """Lend a store. NoStoreError where there is none yet; StoreError where it cannot be read."""
        store = self._take()
        try:
            yield store
        except UsageError:
            self._give_back(store)
            raise
        except BaseException:
            # Whatever it stumbled over, the next one begins afresh.
            store.close()
            raise
        else:
            self._give_back(store)

    def open(self) -> Store:
        """Open a store for somebody who keeps it. Raises as `lend` does."""
        path = self._locate()
        if not path.exists():
            raise NoStoreError("no daemon has run here yet; start one with: smartmon run")
        return Store.open(path, readonly=True)

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for store in idle:
            store.close()

    def _take(self) -> Store:
        path = self._locate()
        while True:
            with self._lock:
                store = self._idle.pop() if self._idle else None
            if store is None:
                return self.open()
            if store.path == path and not store.lost:
                return store
            store.close()

    def _give_back(self, store: Store) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < KEPT:
                self._idle.append(store)
                return
        store.close()
