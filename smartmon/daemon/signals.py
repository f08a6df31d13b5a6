"""SIGTERM, SIGINT and SIGHUP, as facts that the main thread waits for.

Nothing here takes a lock: a handler that did could run while the main thread holds that very lock, and wait for ever.
And the wait ends whichever thread the kernel gives the signal to, which a lock's wait does not: C code writes into a
socket at once, while Python's handlers run when the main thread comes round.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from types import FrameType


class Signals:
    """What was asked for by signal."""

    def __init__(self) -> None:
        self.stop = False
        """Whether to end."""
        self.reload = False
        """Whether to read the config again; whoever does sets it back."""
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)

    def take(self) -> None:
        """Take the signals from now on. Main thread only."""
        signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def close(self) -> None:
        """Close the sockets; for who takes the signals back."""
        self._ear.close()
        self._mouth.close()

    def stopping(self) -> bool:
        """Whether to end, as a function."""
        return self.stop

    def wait(self, seconds: float) -> None:
        """Wait for a signal. Main thread only."""
        select.select([self._ear], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._ear.recv(4096):
                continue

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if self.stop:
            # Asked twice: whoever asks does not want to wait. Nothing is lost, the next start redoes it.
            os._exit(130 if number == signal.SIGINT else 0)
        self.stop = True

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reload = True
