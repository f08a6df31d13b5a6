"""Start the sending child and read its answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import smartmon
from smartmon.notify.process import Process, run
from smartmon.notify.redact import Redactor
from smartmon.records import Json
from smartmon.text import clean, duration

_HOME = Path(smartmon.__file__).resolve().parents[1]

_WORDS = {"info": "info", "warning": "warning", "critical": "failure", "success": "success"}
"""Our severities in Apprise's words, which give services their colours and icons."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one attempt to deliver."""

    ok: bool
    permanent: bool = False
    """Whether trying again cannot help."""
    error: str = ""
    retry_after: float | None = None
    """Seconds that the service asked us to wait."""
    status: int | None = None
    """The HTTP status, where there was one."""


def start(
    url: str, title: str, body: str, *, severity: str, limit: float, chart: Mapping[str, Json] | None = None
) -> Process:
    """Start a child that sends one message; `severity` may also be `success`. Raises OSError when none can start.

    `chart` describes a picture (`chart.py`) that the child draws and attaches, where it can and the service takes it.
    """
    kind = _WORDS.get(severity, "info")
    request = {"url": url, "title": title, "body": body, "severity": kind, "limit": limit, "chart": chart}
    argv = [sys.executable, "-W", "ignore", "-m", "smartmon.notify.child"]
    # `-m` looks for modules in the working folder first: not in a training directory, where a `json.py` may lie.
    return Process(argv, json.dumps(request).encode(), limit=limit, cap=8192, folder=_HOME, environ=_environ())


def _environ() -> dict[str, str]:
    """The environment, in which numpy, which draws, starts no thread for each core of the training's machine."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def result(process: Process, redactor: Redactor, limit: float) -> Result:
    """Read what a finished child answered."""
    if process.timed_out:
        return Result(False, error=f"no answer within {duration(limit)}")
    try:
        answer = json.loads(process.output)
        return Result(
            ok=answer["ok"] is True,
            permanent=answer["permanent"] is True,
            error=redactor.clean(str(answer["error"])),
            retry_after=answer["retry_after"],
            status=answer["status"],
        )
    except (ValueError, KeyError, TypeError):
        lines = process.errors.decode(errors="replace").strip().splitlines() or [f"exit status {process.returncode}"]
        return Result(False, error=redactor.clean(clean(f"the sending process failed: {lines[-1]}"))[:300])


def send(url: str, title: str, body: str, *, severity: str, limit: float, redactor: Redactor) -> Result:
    """Send one message now and wait for the result."""
    redactor.add(url)
    try:
        process = run(start(url, title, body, severity=severity, limit=limit))
    except OSError as error:
        return Result(False, error=f"the sending process could not start: {error.strerror}")
    return result(process, redactor, limit)
