"""`smartmon watch`: a real terminal, a small one, none at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from smartmon.cli.sparkline import draw
from smartmon.cli.watch_view import Frame, take_look
from smartmon.store import Point, Store


def frame(base: Path, columns: int = 80, lines: int = 24) -> list[str]:
    look = take_look(lambda: Store.open(base / ".smartmon" / "smartmon.db", readonly=True), base, None, now=time.time())
    console = Console(
        width=columns, height=lines, force_terminal=True, markup=False, color_system=None, legacy_windows=False
    )
    with console.capture() as shown:
        console.print(Frame(look))
    return shown.get().rstrip("\n").split("\n")


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 50), (40, 10), (20, 5)])
def test_a_frame_fits_its_terminal(watched: Path, columns: int, lines: int):
    shown = frame(watched, columns, lines)
    assert len(shown) <= lines
    assert max(len(line) for line in shown) <= columns


def test_a_frame_answers_what_a_person_asks(watched: Path):
    shown = "\n".join(frame(watched))
    for answer in ("1 open incident", "50 %", "done in about", "! WARNING loss spike", "kept  anomaly_", "Last events"):
        assert answer in shown


def test_data_is_never_taken_for_markup_or_control(watched: Path):
    shown = "\n".join(frame(watched, lines=60))
    assert r"sub/\x1b[31mevil [red]x[/red]" in shown
    assert "loss 50 at step 500 [bold]x" in shown
    assert "\x1b" not in shown


def points(values: list[float]) -> list[Point]:
    return [Point(1, step, step, value, value, value) for step, value in enumerate(values)]


@pytest.mark.parametrize("spike", [0, 37, 399])
def test_a_spike_of_one_step_shows_in_the_chart(spike: int):
    values = [1.0] * 400
    values[spike] = 9.0
    top, _, bottom = draw(points(values), 40, 3)
    assert top.strip(" ")
    assert len(top) == len(bottom) == 40
    assert "#" in draw(points(values), 40, 3, plain=True)[0]


def test_a_flat_or_empty_chart_is_no_trouble():
    assert [len(line) for line in draw(points([1.0] * 5), 10, 3)] == [10, 10, 10]
    assert draw(points([float("nan")]), 4, 2) == ["    ", "    "]


@contextlib.contextmanager
def terminal(base: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`smartmon watch` on a terminal of 80 by 24."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "smartmon", "watch", "-C", str(base), *words]
    # The size is the terminal's own, whatever the test runner says of its.
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    env |= {"TERM": "xterm", "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
    try:
        yield process, master
    finally:
        process.kill()
        process.wait()
        os.close(master)
        # Open until now: Linux may drop what was written last once the last writer is gone.
        os.close(slave)


def read_until(master: int, wanted: str) -> str:
    seen = b""
    while wanted.encode() not in seen:
        seen += os.read(master, 65536)
    return seen.decode(errors="replace")


def read_rest(master: int) -> str:
    seen = b""
    while select.select([master], [], [], 0.2)[0]:
        seen += os.read(master, 65536)
    return seen.decode(errors="replace")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_leaving_gives_the_terminal_its_screen_and_cursor_back(watched: Path, number: signal.Signals, code: int):
    with terminal(watched) as (process, master):
        assert "\x1b[?1049h" in read_until(master, "Last events")
        process.send_signal(number)
        assert process.wait(timeout=10) == code
        rest = read_rest(master)
    assert "\x1b[?1049l" in rest
    assert "\x1b[?25h" in rest
    assert "Traceback" not in rest


def test_a_resized_terminal_is_filled_anew(watched: Path):
    with terminal(watched) as (_, master):
        read_until(master, "─" * 80)
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        assert "─" * 100 in read_until(master, "─" * 100)


def test_watch_waits_for_a_daemon_and_says_how_to_start_one(tmp_path: Path):
    base = tmp_path / "train"
    base.mkdir()
    with terminal(base, "--interval", "0.2") as (_, master):
        read_until(master, "smartmon run")
        Store.open(base / ".smartmon" / "smartmon.db").close()
        read_until(master, "No run in")


def test_once_prints_one_block_of_plain_text_when_there_is_no_terminal(watched: Path):
    command = [sys.executable, "-m", "smartmon", "watch", "--once", "-C", str(watched)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"})
    assert done.stdout.startswith("1 open incident.")
    assert "\x1b" not in done.stdout


def test_once_has_nothing_to_wait_for(tmp_path: Path):
    command = [sys.executable, "-m", "smartmon", "watch", "--once", "-C", str(tmp_path / "gone")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("smartmon: there is no folder")


def test_without_a_terminal_a_change_is_told_at_once(watched: Path):
    command = [sys.executable, "-m", "smartmon", "watch", "--interval", "3600", "-C", str(watched)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "Last events" not in process.stdout.readline():
            pass
        with Store.open(watched / ".smartmon" / "smartmon.db") as store:
            store.add_event(at=time.time(), kind="warning", message="something new")
        while "something new" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(timeout=10) == 0
