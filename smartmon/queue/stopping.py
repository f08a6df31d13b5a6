"""SIGTERM and Ctrl-C of a running queue: counted, and waited for. Nothing here takes a lock."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from types import FrameType


class Stopping:
    """How often the queue was asked to end: once means to save and end, twice to end at once."""

    def __init__(self) -> None:
        self.count = 0
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._before: dict[int, object] = {}

    def take(self) -> None:
        """Take the signals from now on, but for those that are ignored, as `nohup` has it. Main thread only."""
        signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._on_signal)

    def give_back(self) -> None:
        """Let the signals do what they did before. Main thread only."""
        signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]
        self._before.clear()

    def close(self) -> None:
        """Close the sockets; for who has given the signals back."""
        self._ear.close()
        self._mouth.close()

    def ask(self) -> None:
        """Ask it to end."""
        self.count += 1

    def wait(self, seconds: float) -> None:
        """Wait, but not past a signal."""
        select.select([self._ear], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._ear.recv(4096):
                continue

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ask()
