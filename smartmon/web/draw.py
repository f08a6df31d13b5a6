"""A run's pictures for the page: drawn by a child, one run at a time, remembered, and not drawn anew each second."""

from __future__ import annotations

import base64
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from smartmon.errors import SmartmonError
from smartmon.figures.child import Child

FRESH = 15.0
"""Seconds for which a picture is good enough, though the run has gone on: drawing takes seconds of a core."""
WAIT = 20.0
"""Seconds that a request waits for its turn."""
WAITING = 4
"""Requests that wait: each holds a thread of the server, which has others to answer."""
KEPT = 70
"""Pictures that are remembered: those of ten runs, some 10 MB."""


class DrawError(SmartmonError):
    """There are no pictures; the message says why, and what to do."""


class Pictures:
    """Gives pictures. Threads may share it; `clock` only ever goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[Hashable, str], tuple[Hashable, float, str]] = OrderedDict()
        self._places = threading.Semaphore(1 + WAITING)
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._closed = False

    def get(
        self, database: Path, run_id: int, names: Sequence[str], *, run: Hashable, version: Hashable
    ) -> dict[str, str]:
        """Return pictures by name, as PNG in base64. Raises DrawError.

        `run` is what they are remembered by; those of another `version` are good for `FRESH` seconds.
        """
        if self._missing(run, version, names):
            if not self._places.acquire(blocking=False):
                raise DrawError("too many pictures are asked for at once; try again in some seconds")
            try:
                self._draw(database, run_id, names, run, version)
            finally:
                self._places.release()
        with self._lock:
            return {name: self._kept[run, name][2] for name in names if (run, name) in self._kept}

    def close(self) -> None:
        """Draw no more; whoever waits for a picture hears so."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.kill()

    def _draw(self, database: Path, run_id: int, names: Sequence[str], run: Hashable, version: Hashable) -> None:
        """Draw what is missing, once it is this thread's turn: whoever had it before may have drawn the same."""
        if not self._turn.acquire(timeout=WAIT):
            raise DrawError("other pictures are being drawn; try again in some seconds")
        try:
            missing = self._missing(run, version, names)
            drawn = self._drawn(database, run_id, missing) if missing else {}
            with self._lock:
                for name, png in drawn.items():
                    self._kept[run, name] = version, self._clock(), base64.b64encode(png).decode("ascii")
                    self._kept.move_to_end((run, name))
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        finally:
            self._turn.release()

    def _missing(self, run: Hashable, version: Hashable, names: Sequence[str]) -> list[str]:
        with self._lock:
            now = self._clock()
            found = {name: self._kept.get((run, name)) for name in names}
        return [
            name for name, known in found.items() if known is None or (known[0] != version and now - known[1] >= FRESH)
        ]

    def _drawn(self, database: Path, run_id: int, names: Sequence[str]) -> dict[str, bytes]:
        try:
            with self._lock:
                if self._closed:
                    raise DrawError("the dashboard ends")
                self._child = Child(database, run_id, names)
            return self._child.pictures()
        except ModuleNotFoundError as error:
            raise DrawError(
                f"drawing needs a package that is not installed here ({error.name}); pip install 'smartmon[plots]'"
            ) from None
        except SmartmonError as error:
            raise DrawError(f"{error}; `smartmon report` says more") from None
        finally:
            with self._lock:
                self._child = None
