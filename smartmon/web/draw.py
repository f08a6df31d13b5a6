"""Draws a run's pictures in a process of its own, for the library that draws is larger than all the rest of the server.

`python -m smartmon.web.draw` takes what to draw on standard input and gives the pictures on standard output, in JSON.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smartmon.errors import SmartmonError

LIMIT = 60.0
"""Seconds that drawing may take: the first time, the library looks through the machine's fonts."""


MOST_WAITING = 4
"""Questions for pictures at once, one of which is drawn: it takes seconds of a core."""


class DrawError(SmartmonError):
    """There are no pictures; the message says why, and what to do."""


class Turns:
    """Lets one draw, and a few wait for their turn: who waits keeps a thread from all else."""

    def __init__(self) -> None:
        self._waiting = 0
        self._count = threading.Lock()
        self._one = threading.Lock()

    @property
    def room(self) -> bool:
        """Whether one more may wait."""
        return self._waiting < MOST_WAITING

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for a turn. Raises DrawError where too many wait already."""
        with self._count:
            if not self.room:
                raise DrawError("other pictures are being drawn; try again in a few seconds")
            self._waiting += 1
        try:
            with self._one:
                yield
        finally:
            with self._count:
                self._waiting -= 1


def draw(database: Path, run_id: int, names: Sequence[str]) -> dict[str, str]:
    """Return pictures by name, as PNG in base64. Raises DrawError."""
    told = json.dumps({"database": str(database), "run_id": run_id, "names": list(names)}).encode()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "smartmon.web.draw"],
            input=told,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise DrawError(f"drawing took longer than {LIMIT:.0f} s; try again when the machine is less busy") from None
    except (OSError, ValueError):
        raise DrawError("drawing failed; `smartmon report` says why") from None
    if "error" in answer:
        raise DrawError(str(answer["error"]))
    return {str(name): str(png) for name, png in answer["plots"].items()}


def main() -> None:
    """Draw what standard input asks for."""
    sys.stdout.write(json.dumps(_answer(json.loads(sys.stdin.buffer.read()))))


def _answer(told: Mapping[str, Any]) -> dict[str, Any]:
    try:
        from smartmon.figures import plots
        from smartmon.store import Store

        with Store.open(Path(told["database"]), readonly=True) as store:
            run = store.run_by_id(told["run_id"])
            drawn = plots(store, run, told["names"]) if run is not None else {}
    except ModuleNotFoundError as error:
        return {
            "error": f"drawing needs a package that is not installed here ({error.name}); pip install 'smartmon[plots]'"
        }
    except SmartmonError as error:
        return {"error": str(error)}
    return {"plots": {name: base64.b64encode(png).decode("ascii") for name, png in drawn.items()}}


if __name__ == "__main__":
    main()
