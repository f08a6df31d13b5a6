"""A queue with a thread behind it: whoever prints waits neither for a slow disk nor for a reader that sleeps."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

PIPE_ROOM = 32 * 2**20
"""Bytes that wait for a file or the reader of a pipe before the command has to: hours of progress bars."""
TERMINAL_ROOM = 2**20
"""Bytes that wait for a terminal; more would scroll past long after Ctrl-C."""
STUCK = 5.0
"""Seconds after which a terminal that takes nothing at all (Ctrl-S, a dead connection) is no longer waited for."""
_BATCH = 256 * 1024
_SLICE = 64 * 1024
"""Bytes of one write: progress is seen in between."""


class Outlet:
    """Takes bytes at once and hands them on in order, on a thread of its own.

    `lossy`: once nothing was taken for 5 seconds, what waits is dropped and counted, instead of holding up the
    command: right for eyes at a terminal, wrong for a program that reads a pipe.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        room: int = PIPE_ROOM,
        lossy: bool = False,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`write` blocks as long as it likes, and ends the outlet by raising OSError; `wake`: there is room again."""
        self._write = write
        self._room = room
        self._lossy = lossy
        self._wake = wake
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._closed = False
        self._busy = False
        """Whether the thread has bytes in its hands."""
        self._change = threading.Condition()
        self.moved = time.monotonic()
        """When bytes were handed on last, or the queue was empty."""
        self.dropped = 0
        """Bytes that a stuck terminal did not take."""
        self.error: OSError | None = None
        """Why nothing more is handed on."""
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Queue bytes; nothing is refused, so ask `full` first."""
        with self._change:
            if self.error is None and not self._closed:
                if not self._busy:
                    self.moved = time.monotonic()
                self._queue.append(data)
                self._queued += len(data)
                self._change.notify()

    def full(self) -> bool:
        """Whether the command must wait; a stuck terminal is emptied instead."""
        with self._change:
            if self._queued < self._room:
                return False
            if self._lossy and self.stuck:
                self.dropped += self._queued
                self._queue.clear()
                self._queued = 0
            return self._queued >= self._room

    @property
    def stuck(self) -> bool:
        """Whether bytes wait and none was taken for 5 seconds."""
        return self._busy and time.monotonic() - self.moved > STUCK

    def close(self) -> None:
        """Say that nothing more will come; what waits is still handed on."""
        with self._change:
            self._closed = True
            self._change.notify()

    def drained(self, timeout: float) -> bool:
        """Wait until everything was handed on, or cannot be, after `close`."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (data := self._take()) is not None:
            try:
                self._hand_on(data)
            except OSError as error:
                with self._change:
                    self.error = error
                    self._queue.clear()
                    self._queued = 0
                self._wake()
                return

    def _take(self) -> bytes | None:
        with self._change:
            self._busy = False
            while not self._queue:
                if self._closed:
                    return None
                self._change.wait()
            self._busy = True
            taken = [self._queue.popleft()]
            size = len(taken[0])
            while self._queue and size + len(self._queue[0]) <= _BATCH:
                size += len(self._queue[0])
                taken.append(self._queue.popleft())
            return b"".join(taken) if len(taken) > 1 else taken[0]

    def _hand_on(self, data: bytes) -> None:
        for start in range(0, len(data), _SLICE):
            piece = data[start : start + _SLICE] if len(data) > _SLICE else data
            self._write(piece)
            with self._change:
                was_full = self._queued >= self._room
                self._queued = max(0, self._queued - len(piece))
                self.moved = time.monotonic()
                room = was_full and self._queued < self._room
            if room:
                self._wake()


def to_descriptor(descriptor: int) -> Callable[[bytes], None]:
    """Return a function that writes all bytes to an open file, also to one that somebody made non-blocking."""

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                select.select([], [descriptor], [])

    return write
