"""Drawing in a process of its own: matplotlib takes 90 MB and a core, which a server should not keep or share.

`plots` of this file is that of `page.py` for whoever goes on living. The process is `python -m smartmon.figures.child`:
one JSON object `{database, run, names}` in, one `{plots: {name: base64}}` or `{missing: package}` out.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable
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


def plots(database: Path, run: int, names: Iterable[str] = page.PLOTS, *, limit: float = LIMIT) -> dict[str, bytes]:
    """Pictures of the run with this id as PNG by name, drawn by a child at low priority.

    Raises UsageError for an unknown name, ModuleNotFoundError where there is no matplotlib, SmartmonError when nothing
    was drawn.
    """
    wanted = page.known(names)
    request = {"database": str(database.absolute()), "run": run, "names": wanted}
    argv = [sys.executable, "-W", "ignore", "-m", "smartmon.figures.child"]
    try:
        # `-m` looks into the working folder first: not in a training directory, where a `json.py` may lie.
        done = subprocess.run(
            argv, input=json.dumps(request).encode(), capture_output=True, timeout=limit, check=False, cwd=_HOME
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise SmartmonError(f"drawing took longer than {limit:.0f} s and was given up") from None
    except ValueError:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise SmartmonError(f"drawing failed: {lines[-1][:300]}") from None
    if "missing" in answer:
        raise ModuleNotFoundError(f"no module named {answer['missing']}", name=answer["missing"])
    return {name: base64.b64decode(picture) for name, picture in answer["plots"].items()}


def main() -> None:
    """Draw what standard input asks for."""
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
