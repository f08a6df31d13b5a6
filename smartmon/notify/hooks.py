"""Run the programs that people attached to events: no shell, the event as JSON on standard input.

The JSON object has these keys, and more may be added: `event` (`opened`, `escalated`, `resolved`, `reminder`,
`summary`, or the kind of a plain event such as `run_finished`), `id`, `time` (ISO 8601 with zone), `run`, `run_path`,
`base_dir`, `attempt`, `kind`, `severity`, `step`, `reason`, `message`; of an incident also `incident`, `start_step`,
`end_step`, `onset_step`, `last_good_step`, `anomalies`, `metric`, `value`, `expected` (null where they are not
finite), `resolution`, `latest`; of a plain event `data`. The same id comes again only after a crash.

The environment has `SMARTMON_EVENT`, `SMARTMON_KIND`, `SMARTMON_RUN`, `SMARTMON_RUN_PATH`, `SMARTMON_SEVERITY`,
`SMARTMON_STEP`, `SMARTMON_REASON` and `SMARTMON_ID`, and no variable that holds a secret URL. The program runs in the
config file's folder.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from smartmon.notify.process import Process
from smartmon.notify.redact import Redactor
from smartmon.records import Json
from smartmon.text import clean, duration

OUTPUT_MOST = 4096
_LAST_LINE_MOST = 300


def _finite(value: Json) -> Json:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def document(
    payload: Mapping[str, Json],
    *,
    delivery_id: str,
    severity: str,
    created_at: float,
    run_path: Path | None,
    base_dir: Path | None,
) -> dict[str, Json]:
    """Return the JSON object that a hook reads."""
    change, event = payload.get("change"), payload.get("event")
    said: Mapping[str, Json] = change or event or {}
    at = float(said.get("at") or created_at)
    told: dict[str, Json] = {
        "event": said.get("change") or said.get("kind"),
        "id": delivery_id,
        "time": datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds"),
        "run": payload.get("run"),
        "run_path": str(run_path) if run_path is not None else None,
        "base_dir": str(base_dir) if base_dir is not None else None,
        "severity": severity,
    }
    if change:
        told["incident"] = change.get("key")
        told["latest"] = (change.get("context") or {}).get("latest") or {}
        for key in ("start_step", "end_step", "onset_step", "last_good_step", "anomalies", "metric", "resolution"):
            told[key] = change.get(key)
        told |= {"value": change.get("value"), "expected": change.get("expected")}
    else:
        told["data"] = said.get("data") or {}
    told |= {key: said.get(key) for key in ("attempt", "kind", "step", "message")}
    told["reason"] = said.get("reason") or (said.get("data") or {}).get("reason") or said.get("kind")
    shown = _finite(told)
    assert isinstance(shown, dict)
    return shown


def environment(told: Mapping[str, Json], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the hook's environment. Values are one clean line each: a NUL would make the start fail."""
    names = ("event", "kind", "run", "run_path", "severity", "step", "reason", "id")
    ours = {f"SMARTMON_{name.upper()}": clean("" if told.get(name) is None else told[name]) for name in names}
    return {**environ, **ours}


def command(argv: Sequence[str], folder: Path) -> list[str]:
    """Return the words to start. A program with a folder in its name is found from `folder`, else along PATH."""
    first = os.path.expanduser(argv[0])  # noqa: PTH111 - a Path would lose the leading `./`
    return [str(folder / first) if os.sep in first else first, *argv[1:]]


def start(hook: Any, told: Mapping[str, Json], folder: Path, redactor: Redactor) -> Process:
    """Start a hook in its own process group. Raises OSError when it cannot start."""
    return Process(
        command(hook.run, folder),
        (json.dumps(told) + "\n").encode(),
        limit=hook.timeout,
        cap=OUTPUT_MOST,
        environ=environment(told, redactor.environ(os.environ)),
        folder=folder,
    )


def outcome(process: Process, limit: float, redactor: Redactor) -> tuple[bool, str]:
    """Return whether it ended well, and one line: how it failed, or the last line that it wrote."""
    written = (process.output + b"\n" + process.errors).decode(errors="replace").strip()
    last = redactor.clean(clean(written.splitlines()[-1]))[:_LAST_LINE_MOST] if written else ""
    if process.timed_out:
        return False, f"killed after {duration(limit)}" + (f": {last}" if last else "")
    code = process.returncode or 0
    if code == 0:
        return True, last
    how = f"exit status {code}" if code > 0 else f"ended by signal {-code}"
    return False, f"{how}: {last}" if last else how
