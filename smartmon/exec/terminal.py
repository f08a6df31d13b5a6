"""The terminal that a command is started at: who may read its keyboard, how large it is, whether it is still there."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from collections.abc import Iterator


class Terminal:
    """The controlling terminal of our session; every question has an answer where there is none."""

    def __init__(self) -> None:
        self._fd = -1
        with contextlib.suppress(OSError):
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        self._group = os.getpgrp()
        self._borrower = 0

    @property
    def lent(self) -> bool:
        """Whether the command has the keyboard."""
        return bool(self._borrower)

    def ours(self) -> bool:
        """Whether our own process group is in the foreground."""
        with contextlib.suppress(OSError):
            return self._fd >= 0 and os.tcgetpgrp(self._fd) == self._group
        return False

    def gone(self) -> bool:
        """Whether there was a terminal, and it was closed or its connection was lost."""
        if self._fd < 0:
            return False
        try:
            termios.tcgetattr(self._fd)
        except (OSError, termios.error):
            return True
        return False

    def lend(self, group: int) -> bool:
        """Give the keyboard to the command, which waits for it; False where it is not ours to give."""
        if not self.ours():
            return False
        with _unstoppable(), contextlib.suppress(OSError):
            os.tcsetpgrp(self._fd, group)
            self._borrower = group
        return self.lent

    def take_back(self) -> None:
        """Take the keyboard back from the command, if it has it."""
        if self._borrower:
            with _unstoppable(), contextlib.suppress(OSError):
                if os.tcgetpgrp(self._fd) == self._borrower:
                    os.tcsetpgrp(self._fd, self._group)
            self._borrower = 0


def open_like(outer: int) -> tuple[int, int]:
    """Return the two ends of a new terminal of the size and settings of the one behind `outer`.

    It changes no byte (no carriage returns are added): the outer one does what terminals do.
    """
    inner, end = os.openpty()
    with contextlib.suppress(OSError, termios.error):
        settings = termios.tcgetattr(outer)
        settings[1] &= ~termios.OPOST
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(end, termios.TCSANOW, settings)
    copy_size(outer, inner)
    return inner, end


def copy_size(outer: int, inner: int) -> None:
    """Make the inner terminal as large as the outer one."""
    with contextlib.suppress(OSError, termios.error):
        termios.tcsetwinsize(inner, termios.tcgetwinsize(outer))


@contextlib.contextmanager
def _unstoppable() -> Iterator[None]:
    """Whoever takes the foreground from the background is stopped by the kernel unless it ignores this signal."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTTOU, before)
