"""The folder that the demonstration plays in, and the processes that it starts there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from smartmon import text
from smartmon.errors import UsageError

MARK = ".smartmon-demo"
CONFIG = """\
# Written by `smartmon demo`. A real config can be as short as this.
[monitor]
poll_interval = "1s"

[snapshots]
settle = "300ms"           # this run saves every other second, so a checkpoint must not need long to count as finished

[[notifiers]]
name = "receiver"
url = "{url}"
"""
PAGE = """
[dashboard]
enabled = true
port = {port}
public_url = "http://127.0.0.1:{port}"   # alerts link there
"""


class Stage:
    """One demonstration's folder. Raises UsageError when it holds something that is not an earlier demonstration."""

    def __init__(self, folder: Path) -> None:
        _make_room(folder)
        self.folder, self.run = folder, folder / "run"
        self.config, self.log, self.alerts = folder / "smartmon.toml", folder / "output.log", folder / "alerts.txt"
        self.picture = folder / "run.png"
        self.run.mkdir()
        self._started: list[subprocess.Popen[bytes]] = []

    def configure(self, url: str, port: int | None) -> None:
        """Write the config, with an Apprise URL to send alerts to, and a port for the page."""
        self.config.write_text(CONFIG.format(url=url) + (PAGE.format(port=port) if port is not None else ""))

    @property
    def options(self) -> list[str]:
        """What every command of smartmon is told here."""
        return ["--base-dir", str(self.run), "--config", str(self.config)]

    def start(self, module: str, *words: str, listen: bool = False) -> subprocess.Popen[bytes]:
        """Start a module as a process. What it says goes into the log; what it prints to us, if we `listen`."""
        # On the CPU whatever else is there: a GPU may be at work, and the story is the same everywhere.
        quiet = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if listen else log,
                stderr=log,
                env={**os.environ, **quiet},
            )
        self._started.append(process)
        return process

    def ask(self, *words: str) -> str:
        """Run a command of smartmon to its end, and return what it prints."""
        process = self.start("smartmon", *words, *self.options, listen=True)
        return process.communicate()[0].decode()

    def close(self) -> None:
        """End what is still there, the last started first."""
        for process in reversed(self._started):
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, as systemd would, and then see to it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return
        process.kill()
        process.wait()


def _make_room(folder: Path) -> None:
    """Empty the folder of an earlier demonstration, or make it."""
    if folder.exists():
        if not folder.is_dir():
            raise UsageError(f"{text.clean(folder)} is no folder; name another: smartmon demo FOLDER")
        if not (folder / MARK).exists() and any(folder.iterdir()):
            raise UsageError(
                f"{text.clean(folder)} is not empty and no earlier demo made it; name another: smartmon demo FOLDER"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
