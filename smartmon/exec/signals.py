"""The signals that `exec` gets, as facts that its one loop waits for."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from types import FrameType

PASSED_ON = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGHUP", "SIGTSTP", "SIGCONT")
    if (number := getattr(signal, name, None)) is not None
)
ASK_TO_END = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP})
OURS = (signal.SIGCHLD, signal.SIGWINCH)


class Signals:
    """What arrived and was not looked at yet. Signals that were ignored when we began stay so, for the command too."""

    def __init__(self) -> None:
        self._ear, self._mouth = os.pipe()
        os.set_blocking(self._ear, False)
        os.set_blocking(self._mouth, False)
        self._arrived: deque[int] = deque()

    @property
    def ear(self) -> int:
        """A descriptor that becomes readable when something happened."""
        return self._ear

    def take_over(self) -> None:
        """Take the signals from now on. Main thread only."""
        signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        for number in (*PASSED_ON, *OURS):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def take(self) -> list[int]:
        """Return what arrived since the last call, and empty the ear."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._ear, 4096)) == 4096:
                continue
        return [self._arrived.popleft() for _ in range(len(self._arrived))]

    def wake(self) -> None:
        """Make the ear readable, from any thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._mouth, b"\0")

    def stop_ourselves(self) -> None:
        """Stop as a job does that Ctrl-Z was pressed for, and return once it is continued."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._arrived.append(number)


def die_of(number: int) -> None:
    """End by this signal, so that whoever waits for us sees what it would have seen of the command itself."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        # The command has dumped its core, if any.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.kill(os.getpid(), number)
