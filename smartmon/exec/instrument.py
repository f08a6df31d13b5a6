"""The environment in which a Hugging Face trainer that knows nothing of smartmon gets our callback.

A folder with a `sitecustomize.py` comes first on PYTHONPATH; every Python below the command runs it at its start.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

INJECT = Path(__file__).with_name("inject")
RUN_DIR, ATTEMPT, WRAPT = "SMARTMON_RUN_DIR", "SMARTMON_ATTEMPT", "SMARTMON_WRAPT"
DETAIL_STEPS, INSTRUMENT = "SMARTMON_DETAIL_STEPS", "SMARTMON_INSTRUMENT"


def environment(
    environ: Mapping[str, str], run_dir: Path, attempt: int, *, instrument: bool | None = None, detail_steps: int = 0
) -> dict[str, str]:
    """Return the environment of the command: where its run is, and the way in for our callback.

    `instrument`: False leaves the way out, True lets the callback also into trainings on several machines.
    """
    given = {**environ, RUN_DIR: str(run_dir), ATTEMPT: str(attempt)}
    # Within another `exec` its folder is there already; the inner one counts.
    theirs = os.pathsep.join(path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path != str(INJECT))
    given["PYTHONPATH"] = theirs
    given.pop(WRAPT, None)
    wrapt = importlib.util.find_spec("wrapt")
    if instrument is not False and wrapt is not None and wrapt.submodule_search_locations:
        given[WRAPT] = wrapt.submodule_search_locations[0]
        given[DETAIL_STEPS] = str(detail_steps)
        given[INSTRUMENT] = "always" if instrument else "auto"
        given["PYTHONPATH"] = f"{INJECT}{os.pathsep}{theirs}" if theirs else str(INJECT)
    if not given["PYTHONPATH"]:
        del given["PYTHONPATH"]
    return given
