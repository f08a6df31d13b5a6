"""A connection with an end: uvicorn's own waits for ever for a request that trickles in, or a reader that dawdles."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from h11 import LocalProtocolError
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
"""At once: 20 viewers with six each, and as many again. For one more, the longest idle one goes."""
ASKING = 10.0
"""Seconds that a request's line and headers may take to arrive, and an idle connection is kept."""
READING = 30.0
"""Seconds for which somebody may read nothing of what is sent to them."""
ANSWERING = 120.0
"""Seconds that an answer may take in all; a stream of events may take for ever."""
_LOOK = 2.5


class Connection(H11Protocol):
    """Cuts what is too slow, and makes room for what is one too many, or turns it away."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch the clock."""
        super().connection_made(transport)
        self._since = self._read_at = time.monotonic()
        self._unread = 0
        self._seen: tuple[Any, bool] = (None, True)
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) > MOST_CONNECTIONS and not self._make_room():
            transport.abort()
            return
        self._timer = self.loop.call_later(_LOOK, self._look)

    def _make_room(self) -> bool:
        """Cut the connection that has asked for nothing the longest: silent ones must not keep everybody else out."""
        others = (one for one in self.connections if isinstance(one, Connection) and one is not self and one._waiting)
        idle = min(others, key=lambda one: one._since, default=None)
        if idle is None:
            return False
        idle.transport.abort()
        # It is told of its end only later, and may not be chosen twice until then.
        self.connections.discard(idle)
        return True

    @property
    def _waiting(self) -> bool:
        """Whether there is nothing to answer."""
        return self.cycle is None or self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Tell that what came is no HTTP, unless an answer is on its way already, and hang up."""
        with contextlib.suppress(LocalProtocolError):
            super().send_400_response(msg)
        self.transport.close()

    def _look(self) -> None:
        now = time.monotonic()
        if self._too_slow(now):
            # What is buffered would never be read: nothing to wait for.
            self.transport.abort()
            return
        self._timer = self.loop.call_later(_LOOK, self._look)

    def _too_slow(self, now: float) -> bool:
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread < self._unread:
            self._read_at = now
        self._unread = unread
        if now - self._read_at > READING:
            return True
        cycle = self.cycle
        waiting = self._waiting
        if (cycle, waiting) != self._seen:
            self._seen, self._since = (cycle, waiting), now
        if waiting:
            return now - self._since > ASKING
        return cycle.scope["path"] != "/api/stream" and now - self._since > ANSWERING
