"""A real daemon beside a command: it hears of the end, tells it, and is gone when nobody needs it any more."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon.demo.receiver import Receiver
from smartmon.errors import StoreError
from smartmon.store import Store
from tests.exec.world import PATIENCE, alive, python, run, status, wait_for, words

pytestmark = pytest.mark.timeout(120)

CONFIG = """
[monitor]
poll_interval = "300ms"
[detectors.stalled]
least = "1s"
first_step = "1500ms"
[alerts]
wait_for_snapshot = "500ms"
[[notifiers]]
name = "phone"
url = "json://127.0.0.1:{port}/"
"""
TRAIN = """
import itertools, os, time
for i in itertools.count(1):
    print(f"iter {i}: loss {2 + 1 / i:.4f}, time 50.00ms, mfu 41.20%")
    time.sleep(0.1)
    while os.path.exists("hang"): time.sleep(1)
"""


def daemon_of(base: Path) -> int:
    return int((base / ".smartmon/exec-daemon").read_text())


def steps_seen(base: Path) -> int:
    if not (base / ".smartmon/smartmon.db").exists():
        return 0
    with contextlib.suppress(StoreError), Store.open(base / ".smartmon/smartmon.db", readonly=True) as store:
        return max((row.step or 0 for row in store.runs()), default=0)
    return 0


@contextlib.contextmanager
def started(command: list[str], base: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end if the test has not seen to it."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=base, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def test_a_hang_and_a_kill_arrive_as_alerts_before_exec_ends(tmp_path: Path) -> None:
    told: list[str] = []
    base = tmp_path / "base"
    base.mkdir()
    with Receiver(lambda title, body: told.append(f"{title}\n{body}")) as receiver:
        (tmp_path / "smartmon.toml").write_text(CONFIG.format(port=receiver.url.rsplit(":", 1)[1].strip("/")))
        (base / "train.py").write_text(TRAIN)
        command = [sys.executable, "-u", "train.py"]
        options = ("--config", str(tmp_path / "smartmon.toml"))
        with started(words(*command, options=options), base) as process:
            first = wait_for(lambda: steps_seen(base), "the daemon sees the run")
            wait_for(lambda: steps_seen(base) > first + 3, "the daemon sees steps as they come")
            (base / "hang").touch()
            wait_for(
                lambda: [each for each in told if each.startswith("no progress at step")], "the alert of the stall"
            )
            os.kill(status(base / "train")["pid"], 9)
            assert process.wait(PATIENCE) == -9
    assert any("crashed" in each and "SIGKILL" in each for each in told)
    assert not alive(daemon_of(base))


def test_commands_in_one_base_dir_share_a_daemon_and_the_last_one_ends_it(tmp_path: Path) -> None:
    waits = python("import os,time\nwhile not os.path.exists('go'): time.sleep(0.02)")
    done = run(tmp_path, "true", options=("--config", "missing.toml"))
    assert (done.returncode, (tmp_path / "true").exists()) == (2, False)
    with started(words(*waits, options=("--name", "a")), tmp_path) as first:
        assert first.stderr is not None
        assert b"watched by a daemon started for it" in first.stderr.readline()
        pid = daemon_of(tmp_path)
        wait_for((tmp_path / ".smartmon/smartmon.db").exists, "the daemon")
        short = run(tmp_path, "true", options=("--name", "b"))
        assert f"watched by the daemon that is there (pid {pid})".encode() in short.stderr
        inner = tmp_path / "deep"
        inner.mkdir()
        assert f"watched by the daemon of {tmp_path}".encode() in run(inner, "true", options=()).stderr
        assert alive(pid)
        (tmp_path / "go").touch()
        assert first.wait(PATIENCE) == 0
    assert not alive(pid)
    listed = subprocess.run(
        [sys.executable, "-m", "smartmon", "runs", "list"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert [name for name in ("a ", "b ", "deep/true ") if name not in listed] == [], listed


def test_a_daemon_that_somebody_else_started_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "smartmon", "run"]
    with started(command, tmp_path) as daemon:
        wait_for((tmp_path / ".smartmon/smartmon.db").exists, "the daemon")
        done = run(tmp_path, "true", options=())
        assert f"watched by the daemon that is there (pid {daemon.pid})".encode() in done.stderr
        assert daemon.poll() is None
