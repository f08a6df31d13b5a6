"""A thread that does one unit of work at a time, survives what the unit raises, and shows that it is alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from smartmon.errors import SmartmonError, StoreError

log = structlog.get_logger(__name__)

FRESH = 45.0
"""Seconds after its last beat at which a worker counts as stuck. Long units beat while they work."""
_BACKOFF_MOST = 30.0


class Worker(threading.Thread):
    """Calls `step` until halted. `step` returns the seconds to wait, 0 where there is more to do at once."""

    def __init__(
        self,
        name: str,
        step: Callable[[], float],
        halted: threading.Event,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._step = step
        self._close = close
        self._halted = halted
        self._awake = threading.Event()
        self._beat = time.monotonic()
        self._waiting_until = 0.0
        self._failures = 0
        self._trouble = ""

    def wake(self) -> None:
        """There may be work: end the wait."""
        self._awake.set()

    def beat(self) -> None:
        """Called from within a long unit: still alive."""
        self._beat = time.monotonic()

    def healthy(self, mono: float) -> bool:
        """Whether the worker beat, or went to sleep for a known time, recently enough (`mono`: monotonic seconds)."""
        return self.is_alive() and mono <= max(self._beat, self._waiting_until) + FRESH

    def halt(self) -> None:
        """Finish the unit at hand and end."""
        self._halted.set()
        self._awake.set()

    def run(self) -> None:
        """The loop; ends when halted."""
        while not self._halted.is_set():
            wait = self._one()
            self.beat()
            if wait > 0:
                self._waiting_until = time.monotonic() + wait
                self._awake.wait(wait)
                self._awake.clear()
                self._waiting_until = 0.0
                self.beat()
        self._close()

    def _one(self) -> float:
        try:
            wait = self._step()
        except Exception as error:  # noqa: BLE001 - the one place where the daemon outlives a bug
            return self._failed(error)
        if self._failures:
            log.info("daemon.step_recovered", worker=self.name, failures=self._failures)
            self._failures, self._trouble = 0, ""
        return wait

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        trouble = f"{type(error).__name__}: {error}"
        if trouble != self._trouble:
            # Told when it starts and when it changes, not on every try.
            self._trouble = trouble
            # A full disk is no bug: its message says all, a traceback would only frighten.
            log.error(
                "daemon.step_failed", worker=self.name, error=trouble, exc_info=not isinstance(error, SmartmonError)
            )
        most = 5.0 if isinstance(error, StoreError) else _BACKOFF_MOST
        return min(most, 0.5 * 2.0 ** min(self._failures, 8))
