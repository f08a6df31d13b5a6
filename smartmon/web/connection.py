"""A connection with an end: uvicorn's own waits for ever for a request that trickles in, or a reader that dawdles."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
"""At once. 20 viewers with six each, and as many again."""
ASKING = 10.0
"""Seconds that a request's line and headers may take to arrive, and an idle connection is kept."""
READING = 30.0
"""Seconds for which somebody may read nothing of what is sent to them."""
ANSWERING = 120.0
"""Seconds that an answer may take in all; a stream of events may take for ever."""
_LOOK = 2.5


class Connection(H11Protocol):
    """Cuts what is too slow, and turns away what is one too many."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch the clock."""
        super().connection_made(transport)
        self._since = self._read_at = time.monotonic()
        self._unread = 0
        self._seen: tuple[Any, bool] = (None, True)
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._timer = self.loop.call_later(_LOOK, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

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
        waiting = cycle is None or cycle.response_complete
        if (cycle, waiting) != self._seen:
            self._seen, self._since = (cycle, waiting), now
        if waiting:
            return now - self._since > ASKING
        return cycle.scope["path"] != "/api/stream" and now - self._since > ANSWERING
