"""`smartmon exec` as people start it: in a folder, with pipes or at a terminal of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE = 30.0
_AT_TERMINAL = "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


def words(*given: str, options: tuple[str, ...] = ("--no-daemon",)) -> list[str]:
    """The words of an exec of a command."""
    return [sys.executable, "-m", "smartmon", "exec", *options, "--", *given]


def python(code: str, *arguments: str) -> list[str]:
    """A quick Python that runs this, as a command."""
    return [sys.executable, "-S", "-u", "-c", code, *arguments]


def run(base: Path, *given: str, options: tuple[str, ...] = ("--no-daemon",), **settings: Any) -> Any:
    """Run a command under exec to its end."""
    settings = {"capture_output": True, "timeout": PATIENCE, "cwd": base} | settings
    return subprocess.run(words(*given, options=options), check=False, **settings)


def status(run_dir: Path) -> dict[str, Any]:
    """The status file of a run; empty while there is none."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((run_dir / "status" / "training_status.json").read_text())
        return found
    return {}


def wait_for(condition: Callable[[], Any], what: str = "it") -> Any:
    """Return the first true answer; fail when none comes in time."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Screen:
    """A terminal with one process at it: what it shows, and keys to press."""

    def __init__(self, base: Path, *argv: str, rows: int = 40, columns: int = 100) -> None:
        self.inner, end = os.openpty()
        termios.tcsetwinsize(self.inner, (rows, columns))
        launch = [sys.executable, "-S", "-E", "-c", _AT_TERMINAL, *argv]
        self.process = subprocess.Popen(
            launch, stdin=end, stdout=end, stderr=end, cwd=base, start_new_session=True, close_fds=True
        )
        os.close(end)
        self.shown = b""

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self.inner, keys)

    def read(self) -> bytes:
        """Take what is shown by now."""
        while select.select([self.inner], [], [], 0)[0]:
            try:
                data = os.read(self.inner, 65536)
            except OSError:
                break
            if not data:
                break
            self.shown += data
        return self.shown

    def until(self, text: bytes) -> None:
        """Wait until this is on the screen."""
        wait_for(lambda: text in self.read(), f"{text!r} on the screen")

    def end(self) -> int:
        """Wait for the end and return its code."""
        wait_for(lambda: (self.read(), self.process.poll() is not None)[1], "the end")
        self.read()
        return self.process.returncode

    def close(self) -> None:
        """Close the window."""
        if self.inner >= 0:
            os.close(self.inner)
            self.inner = -1


@contextlib.contextmanager
def screen(base: Path, *argv: str, **size: int) -> Iterator[Screen]:
    """A terminal that is gone at the end, and its process with it."""
    shown = Screen(base, *argv, **size)
    try:
        yield shown
    finally:
        shown.close()
        if shown.process.poll() is None:
            shown.process.kill()
        shown.process.wait()
