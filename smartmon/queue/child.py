"""A training as a process: started, asked to stop, and found again by a queue that was killed meanwhile.

Its output goes straight into its log: a queue that dies breaks no pipe, and the training goes on.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Child:
    """One training process, ours or one that an earlier queue started."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.birth = birth(pid)
        self._process = process
        self._asked = False

    @classmethod
    def start(cls, command: Sequence[str], log: Path, env: Mapping[str, str]) -> Child:
        """Start it in a process group of its own, so that a Ctrl-C at our terminal reaches it through us alone.

        Raises OSError when the program cannot be started.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
                process_group=0,
            )
        return cls(process.pid, process)

    @classmethod
    def find(cls, pid: int, born: str) -> Child | None:
        """Return the process that an earlier queue started, if it still lives."""
        return cls(pid) if pid and born and birth(pid) == born else None

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most so long; return whether it has."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            return self._process.returncode is not None
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        except OSError:  # a kernel without them
            time.sleep(seconds)
            return birth(self.pid) != self.birth
        try:
            return bool(select.select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None when it was not our child and nobody told us."""
        return self._process.returncode if self._process is not None else None

    @property
    def asked(self) -> bool:
        """Whether it was asked to stop."""
        return self._asked

    def ask(self) -> None:
        """Ask it to save and end; once, for a second time would mean: at once."""
        if not self._asked:
            self._asked = True
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all it started, at once."""
        self._asked = True
        with contextlib.suppress(OSError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
        elif birth(self.pid) == self.birth:
            with contextlib.suppress(OSError):
                os.kill(self.pid, number)


def birth(pid: int) -> str:
    """Return what tells a process from every other one that had or will have its number; empty when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
    # State, and the start in ticks since boot: fields 3 and 22 of proc_pid_stat(5).
    return "" if fields[0] in "ZX" else f"{fields[19]}@{boot}"
