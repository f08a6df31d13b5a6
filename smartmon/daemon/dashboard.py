"""The web page beside the daemon: a child process, so that the daemon stays small and no visitor can disturb it."""

from __future__ import annotations

import contextlib
import json
import selectors
import subprocess
import sys
import time
from typing import IO

import structlog

from smartmon.config import Config
from smartmon.errors import SmartmonError

log = structlog.get_logger(__name__)

START_WITHIN = 30.0
"""Seconds in which the child must say that it listens."""
_STOP_WITHIN = 2.0
_LOOK = 2.0
"""Seconds between two looks at whether it still runs."""
_LONGEST = 65536


class DashboardError(SmartmonError):
    """The page cannot be served; it is tried again, and the watch goes on."""


class Dashboard:
    """The child and its life; `step` is the unit of work of a worker of the daemon."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._child: subprocess.Popen[bytes] | None = None

    def step(self) -> float:
        """Start the child where there is none. Raises DashboardError where it will not run."""
        if self._child is None:
            self._start()
        elif (code := self._child.poll()) is not None:
            self.close()
            raise DashboardError(f"the dashboard ended with exit status {code}; it is started again")
        return _LOOK

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None:
            return
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if child.poll() is None:
            child.terminate()
        try:
            child.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _start(self) -> None:
        config = self._config
        told = {
            "config": str(config.file) if config.file else None,
            "base_dirs": [str(base) for base in config.base_dirs],
            "database": str(config.database),
            "overrides": {"dashboard.host": config.dashboard.host, "dashboard.port": config.dashboard.port},
        }
        # -P: a file called uvicorn.py in the training directory is not ours to run. A session of its own: Ctrl-C in
        # the terminal is for the daemon, which then ends the child.
        argv = [sys.executable, "-P", "-m", "smartmon.web"]
        self._child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, close_fds=True
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(told).encode() + b"\n")
            self._child.stdin.flush()
        said = _line(self._child.stdout)
        if "url" not in said:
            self.close()
            raise DashboardError(f"the dashboard does not start: {said.get('error') or 'it says nothing'}")
        log.info("dashboard.listening", url=said["url"])


def _line(stream: IO[bytes]) -> dict[str, str]:
    """Return what the child says of itself; nothing where it ends, or takes too long."""
    deadline, data = time.monotonic() + START_WITHIN, b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while b"\n" not in data and len(data) < _LONGEST and time.monotonic() < deadline:
            if selector.select(0.5):
                part = stream.read1(_LONGEST)  # type: ignore[attr-defined]
                if not part:
                    break
                data += part
    try:
        said = json.loads(data)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
