"""Drawing in a process of its own: matplotlib takes 90 MB and a core, which a server should not keep or share.

The process is `python -m smartmon.figures.child`, at low priority and with one thread: one JSON object
`{database, run, names}` in, one `{plots: {name: base64}}` or `{missing: package}` out.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import smartmon
from smartmon.errors import SmartmonError, UsageError
from smartmon.figures import page
from smartmon.figures.portraits import portrait
from smartmon.store import Store

LIMIT = 60.0
"""Seconds: the first picture on a machine may have to look through all its fonts."""
_HOME = Path(smartmon.__file__).resolve().parents[1]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""numpy would else start a thread, with its memory, for each core of the training's machine."""
_PR_SET_PDEATHSIG = 1


class Child:
    """One process that draws some pictures of the run with this id. Raises UsageError for an unknown name."""

    def __init__(self, database: Path, run: int, names: Sequence[str]) -> None:
        wanted = page.known(names)
        self._request = json.dumps({"database": str(database.absolute()), "run": run, "names": wanted}).encode()
        argv = [sys.executable, "-W", "ignore", "-m", "smartmon.figures.child"]
        try:
            # `-m` looks into the working folder first: not in a training directory, where a `json.py` may lie.
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=_HOME,
                env={**os.environ, **_ONE_THREAD},
            )
        except OSError as error:
            raise SmartmonError(f"drawing cannot start: {error.strerror}") from None

    def pictures(self, limit: float = LIMIT) -> dict[str, bytes]:
        """Wait for the pictures: PNG by name.

        Raises ModuleNotFoundError where there is no matplotlib, SmartmonError when nothing was drawn.
        """
        try:
            out, errors = self._process.communicate(self._request, timeout=limit)
            answer = json.loads(out)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.communicate()
            raise SmartmonError(f"drawing took longer than {limit:.0f} s and was given up") from None
        except ValueError:
            told = errors.decode(errors="replace").strip().splitlines() or [f"exit status {self._process.returncode}"]
            raise SmartmonError(f"drawing failed: {told[-1][:300]}") from None
        if "missing" in answer:
            raise ModuleNotFoundError(f"no module named {answer['missing']}", name=answer["missing"])
        return {name: base64.b64decode(picture) for name, picture in answer["plots"].items()}

    def kill(self) -> None:
        """End it, from whatever thread; who waits for its pictures hears that there are none."""
        self._process.kill()


def main() -> None:
    """Draw what standard input asks for."""
    if sys.platform.startswith("linux"):
        # Not without the server that asked, however that ended.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    request = json.loads(sys.stdin.buffer.read())
    with suppress(OSError):
        os.nice(10)
    try:
        with Store.open(Path(request["database"]), readonly=True) as store:
            run = store.run_by_id(request["run"])
            if run is None:
                raise UsageError(f"there is no run {request['run']}")
            told = portrait(store, run)
        drawn = page.plots_of(told, request["names"])
        answer: dict[str, object] = {"plots": {name: base64.b64encode(png).decode() for name, png in drawn.items()}}
    except ModuleNotFoundError as error:
        answer = {"missing": error.name or "matplotlib"}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
