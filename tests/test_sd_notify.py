"""What the service manager hears."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from smartmon.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path: Path):
    """A notify socket, and the environment that names it."""
    address = f"\0smartmon-test-{tmp_path.name}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(5)
        yield sock, {"NOTIFY_SOCKET": address.replace("\0", "@")}


def test_ready_carries_the_status(manager):
    sock, environ = manager
    Notifier(environ).ready("watching /train")
    assert sock.recv(4096) == b"READY=1\nSTATUS=watching /train"


def test_a_reload_carries_the_monotonic_time(manager):
    sock, environ = manager
    Notifier(environ).reloading()
    first, second = sock.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    assert second.partition("=")[2].isdigit()


def test_a_status_stays_one_line(manager):
    sock, environ = manager
    Notifier(environ).status("a\nREADY=1")
    assert sock.recv(4096) == b"STATUS=a READY=1"


def test_the_watchdog_wants_a_ping_twice_in_its_time():
    assert Notifier({"WATCHDOG_USEC": "60000000"}).watchdog_interval == 30


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_manager_nothing_happens(environ):
    notifier = Notifier(environ)
    notifier.alive()
    assert notifier.watchdog_interval is None
