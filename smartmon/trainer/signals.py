"""SIGTERM, Ctrl-C and a closed terminal: the first asks a training to save and end, the second ends it at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

_ECHO, _TORCHRUN_ECHO = 0.3, 5.0
"""Seconds in which whoever started it, or torchrun, passes on the Ctrl-C that the terminal gave to it directly."""


class Interrupted(KeyboardInterrupt):
    """A signal came before the first step, when there is nothing to save yet."""


class Signals:
    """Takes the signals from process start on, so that none ends the process while the model is being loaded."""

    def __init__(self, *, echo: float | None = None) -> None:
        """A signal up to `echo` seconds after the first counts as the same one; a moment if unset."""
        self._echo = echo if echo is not None else _TORCHRUN_ECHO if "TORCHELASTIC_RUN_ID" in os.environ else _ECHO
        self.number = 0
        """The first signal that came; 0 while none has."""
        self._at = 0.0
        self._obey: Callable[[], None] | None = None
        self._before: dict[int, object] = {}

    def take(self) -> None:
        """Take the signals from now on. Main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Under nohup a closed terminal is to be ignored, and in the background of a script Ctrl-C.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)

    def give_back(self) -> None:
        """Let the signals do what they did before. Main thread only."""
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]
        self._before.clear()

    def during(self, obey: Callable[[], None]) -> None:
        """From now on the first signal calls `obey` instead of raising Interrupted; one that came before counts."""
        self._obey = obey
        if self.number:
            obey()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number:
            if now - self._at < self._echo:
                return
            # Asked twice: whoever asks does not want to wait. The last whole checkpoint is what remains.
            os._exit(128 + number)
        self.number, self._at = number, now
        if self._obey is None:
            raise Interrupted
        self._obey()
