"""Run a short-lived program beside the daemon: bounded in time and output, killed as a group, never waited for."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_CHUNK = 65536
_SLICE = 0.1
"""Seconds: how soon an exit is noticed when a grandchild still holds the pipes."""


class Process:
    """One program in a session of its own, fed `data` on standard input. Raises OSError when it cannot start.

    What it writes beyond `cap` bytes is read and thrown away, so that it never blocks on a full pipe.
    """

    def __init__(
        self,
        argv: Sequence[str],
        data: bytes,
        *,
        limit: float,
        cap: int = 65536,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._popen = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environ is None else dict(environ),
            cwd=folder,
            start_new_session=True,
        )
        self._data = memoryview(data)
        self._cap = cap
        self._deadline = time.monotonic() + limit
        self._output: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._open: dict[str, IO[bytes]] = {}
        self.timed_out = False
        self.killed = False
        for name in ("stdin", "stdout", "stderr"):
            stream = getattr(self._popen, name)
            os.set_blocking(stream.fileno(), False)
            self._open[name] = stream

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs."""
        return self._popen.returncode

    @property
    def done(self) -> bool:
        """Whether it has ended and all its output is here."""
        return self._popen.returncode is not None and not self._open

    @property
    def output(self) -> bytes:
        """What it wrote to standard output, at most `cap` bytes."""
        return bytes(self._output["stdout"])

    @property
    def errors(self) -> bytes:
        """What it wrote to standard error, at most `cap` bytes."""
        return bytes(self._output["stderr"])

    def kill(self) -> None:
        """End it and all it started, and reap it."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        # The program may have gone without reading its input.
        with contextlib.suppress(BrokenPipeError):
            self._open.pop(name).close()

    def streams(self) -> dict[str, IO[bytes]]:
        """Return the pipes that are still open, by name."""
        return dict(self._open)

    def move(self, name: str) -> None:
        """Move what can be moved through one pipe that is ready."""
        stream = self._open.get(name)
        if stream is None:
            return
        try:
            if name == "stdin":
                self._data = self._data[os.write(stream.fileno(), self._data[:_CHUNK]) :]
                if not self._data:
                    self._close(name)
                return
            chunk = os.read(stream.fileno(), _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        kept = self._output.get(name)
        if kept is not None:
            kept += chunk[: self._cap - len(kept)]
        if not chunk:
            self._close(name)

    def check(self) -> None:
        """Notice an exit, and end a program that is over its time."""
        if self._popen.poll() is not None:
            for name in list(self._open):
                self.move(name)
            for name in list(self._open):
                self._close(name)
        elif time.monotonic() >= self._deadline:
            self.timed_out = True
            self.kill()


def wait(processes: Sequence[Process], timeout: float) -> list[Process]:
    """Move bytes for at most `timeout` seconds, and return those that are done as soon as there is one."""
    end = time.monotonic() + timeout
    while True:
        for process in processes:
            process.check()
        done = [process for process in processes if process.done]
        left = end - time.monotonic()
        if done or left <= 0 or not processes:
            return done
        with selectors.DefaultSelector() as selector:
            for process in processes:
                for name, stream in process.streams().items():
                    events = selectors.EVENT_WRITE if name == "stdin" else selectors.EVENT_READ
                    selector.register(stream, events, (process, name))
            if not selector.get_map():
                time.sleep(min(left, _SLICE / 5))
            for key, _ in selector.select(min(left, _SLICE)) if selector.get_map() else ():
                ready, pipe = key.data
                ready.move(pipe)


def run(process: Process) -> Process:
    """Wait until it is done, and return it."""
    try:
        while not process.done:
            wait([process], 1.0)
    except BaseException:
        process.kill()
        raise
    return process
