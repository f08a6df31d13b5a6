"""The dashboard as people start it: by its own command, or with the daemon."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from smartmon.config import Config, load
from smartmon.daemon.dashboard import Dashboard, DashboardError


def config_of(base: Path, port: int) -> Config:
    return load(None, base_dirs=[base], overrides={"dashboard.port": port}, environ={})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def health(port: int) -> str:
    return str(httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).json()["status"])


def address(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}/{path}"


def listens(port: int) -> None:
    """Wait until a daemon's page is there."""
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline
        with contextlib.suppress(httpx.TransportError):
            assert health(port) == "ok"
            return
        time.sleep(0.02)


def gone(port: int) -> bool:
    """Whether nobody listens there within a few seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
            time.sleep(0.02)
            continue
        return True
    return False


@contextlib.contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command of ours while the body runs."""
    argv = [sys.executable, "-m", "smartmon", *words]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def test_the_command_says_where_it_is_and_ends_well(base: Path) -> None:
    port = free_port()
    with started("dashboard", "--base-dir", str(base), "--port", str(port)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == f"smartmon dashboard at http://127.0.0.1:{port}/\n"
        assert f"ssh -N -L {port}:127.0.0.1:{port}" in child.stdout.readline()
        assert health(port) == "ok"
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
        assert child.stderr is not None
        assert child.stderr.read() == ""


def test_for_others_the_command_prints_the_token(base: Path) -> None:
    port = free_port()
    with started("dashboard", "--base-dir", str(base), "--port", str(port), "--host", "0.0.0.0") as child:
        assert child.stdout is not None
        link = child.stdout.readline().split()[-1]
        assert link.startswith(f"http://127.0.0.1:{port}/?token=")
        with httpx.Client(trust_env=False, follow_redirects=True) as client:
            assert client.get(f"http://127.0.0.1:{port}/api/runs").status_code == 401
            assert "token" not in str(client.get(link).url)
            assert client.get(f"http://127.0.0.1:{port}/api/runs").status_code == 200


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with started("dashboard", "--base-dir", str(tmp_path / "none"), "--host", "0.0.0.0", "--port", "0") as child:
        assert child.wait(30) == 4
        assert child.stderr is not None
        assert "there is no folder" in child.stderr.read()
    assert not (tmp_path / "none").exists()


def test_the_daemons_page_ends_with_it(base: Path) -> None:
    port = free_port()
    page = Dashboard(config_of(base, port))
    assert page.step() > 0
    assert health(port) == "ok"
    page.close()
    assert gone(port)


def test_a_page_that_dies_is_started_again(base: Path) -> None:
    port = free_port()
    page = Dashboard(config_of(base, port))
    try:
        page.step()
        assert page._child is not None
        page._child.kill()
        page._child.wait()
        with pytest.raises(DashboardError, match="exit status -9"):
            page.step()
        page.step()
        assert health(port) == "ok"
    finally:
        page.close()


def test_a_taken_port_is_one_sentence_for_the_daemon(base: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        page = Dashboard(config_of(base, taken.getsockname()[1]))
        with pytest.raises(DashboardError, match="something serves there already; give another port"):
            page.step()
        page.close()


def test_the_page_moves_with_the_config_and_ends_with_open_streams(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    config, before, after = tmp_path / "smartmon.toml", free_port(), free_port()
    text = f'base_dirs = ["{tmp_path / "train"}"]\n[dashboard]\nenabled = true\nport = '
    config.write_text(f"{text}{before}\n")
    with started("run", "--config", str(config)) as daemon:
        listens(before)
        with httpx.Client(trust_env=False) as client, client.stream("GET", address(before, "api/stream")) as stream:
            lines = stream.iter_lines()
            next(lines)
            config.write_text(f"{text}{after}\n")
            daemon.send_signal(signal.SIGHUP)
            # The browser hears at once that it is over.
            assert list(lines)
        listens(after)
        assert gone(before)
        with httpx.Client(trust_env=False) as client, client.stream("GET", address(after, "api/stream")) as stream:
            next(stream.iter_lines())
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(10) == 0
        assert gone(after)
        assert daemon.stderr is not None
        assert "Traceback" not in daemon.stderr.read()


def test_a_killed_daemon_leaves_no_server_behind(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    port = free_port()
    words = ("run", "--base-dir", str(tmp_path / "train"), "--dashboard", "--port", str(port))
    with started(*words) as daemon:
        listens(port)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait()
        assert gone(port)
