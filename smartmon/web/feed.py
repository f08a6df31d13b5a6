"""What happens, told as it happens: server-sent events with a cursor, so that a reload or a sleep misses nothing.

One look for all viewers, a few times a second, and only while there are any: where nothing was written, a look costs
one small question to SQLite.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import structlog

from smartmon.errors import SmartmonError
from smartmon.web.answers import encode
from smartmon.web.look import Look
from smartmon.web.models_detail import Update
from smartmon.web.readers import NoStoreError
from smartmon.web.site import Site

log = structlog.get_logger(__name__)

EVERY = 0.3
"""Seconds between two looks: what happens within is one message."""
HEARTBEAT = 15.0
"""Seconds after which a silent stream says that it lives."""
RETRY_MS = 2000
"""Milliseconds after which a browser comes back when the stream breaks."""
MOST_VIEWERS = 64
_BEHIND = 32
"""Messages that a viewer may lag behind; beyond, it is cut off, and comes back with its cursor."""

Viewer = asyncio.Queue[Update | None]


class FullError(SmartmonError):
    """There are as many viewers as there may be."""


class Feed:
    """The look and its viewers. Lives in the server's event loop."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._look = Look(site)
        self._viewers: set[Viewer] = set()
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        """Set once there was a look: what happens from then on reaches every viewer."""
        self._closed = False

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        self._looked.set()
        for viewer in self._viewers:
            _end(viewer)

    def join(self) -> Viewer:
        """Return a place among the viewers. FullError where there is none left."""
        if len(self._viewers) >= MOST_VIEWERS:
            raise FullError(f"{MOST_VIEWERS} pages are open already; close one")
        viewer: Viewer = asyncio.Queue(_BEHIND)
        self._viewers.add(viewer)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._watch())
        return viewer

    async def stream(self, viewer: Viewer, after: int | None, run: str | None) -> AsyncIterator[bytes]:
        """Tell a viewer what it missed after an event, and then what happens, as text/event-stream."""
        try:
            # Only then: else what happens between this and the first look would be told by neither.
            await self._looked.wait()
            first = await asyncio.to_thread(self._first, after)
            told = first.last_event_id
            yield b"retry: %d\n\n" % RETRY_MS + _message(_of(first, run))
            while not self._closed:
                try:
                    update = await asyncio.wait_for(viewer.get(), HEARTBEAT)
                except TimeoutError:
                    yield b": alive\n\n"
                    continue
                if update is None:
                    return
                fresh = [one for one in update.events if one.id > told]
                told = max(told, update.last_event_id)
                update = _of(update.model_copy(update={"events": fresh}), run)
                yield _message(update)
        finally:
            self._viewers.discard(viewer)

    def _first(self, after: int | None) -> Update:
        try:
            return self._look.since(after)
        except NoStoreError:
            return self._look.nothing()

    async def _watch(self) -> None:
        """Look while somebody watches. The first look only remembers how things are."""
        try:
            while self._viewers and not self._closed:
                begun = time.monotonic()
                update = await asyncio.to_thread(self._look.now)
                self._looked.set()
                if update is not None:
                    for viewer in list(self._viewers):
                        self._tell(viewer, update)
                await asyncio.sleep(max(0.05, EVERY - (time.monotonic() - begun)))
        except Exception as error:  # noqa: BLE001 - nobody awaits this task: its traceback would go to the terminal
            log.error("dashboard.look_failed", error=f"{type(error).__name__}: {error}"[:300])
        finally:
            # Nobody is left to tell, or looking failed: browsers come back, and it begins anew.
            self._looked.clear()
            self._look.close()
            for viewer in self._viewers:
                _end(viewer)

    def _tell(self, viewer: Viewer, update: Update) -> None:
        try:
            viewer.put_nowait(update)
        except asyncio.QueueFull:
            self._viewers.discard(viewer)
            _end(viewer)


def _end(viewer: Viewer) -> None:
    """Have a stream end now, whatever it still had to tell."""
    while not viewer.empty():
        viewer.get_nowait()
    viewer.put_nowait(None)


def _of(update: Update, run: str | None) -> Update:
    """Return what of an update concerns a run, and the daemon's own events."""
    if run is None:
        return update
    return update.model_copy(
        update={
            "runs": [one for one in update.runs if one.run == run],
            "events": [one for one in update.events if one.run in (run, None)],
        }
    )


def _message(update: Update) -> bytes:
    return b"event: update\nid: %d\ndata: %s\n\n" % (update.last_event_id, encode(update))


def cursor(given: str | None) -> int | None:
    """Return the event that a Last-Event-ID names; None for one that is not ours."""
    return int(given) if given and given.isascii() and given.isdigit() and len(given) < 19 else None
