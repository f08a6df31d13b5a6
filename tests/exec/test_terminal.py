"""At a terminal a command under exec behaves as a job of the shell: it looks the same, and the keys reach it."""

from __future__ import annotations

import os
import signal
import termios
from pathlib import Path

import pytest

from tests.exec.world import alive, python, screen, status, wait_for, words

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")

NAMED = ("--no-daemon", "--name", "t")


def test_a_command_sees_a_terminal_of_the_same_size_and_the_screen_its_bytes(tmp_path: Path) -> None:
    code = "import os,sys; print(*(os.isatty(n) for n in range(3)), *os.get_terminal_size(1)); print('bar 1\\rbar 2')"
    with screen(tmp_path, *words(*python(code), options=NAMED), rows=33, columns=77) as shown:
        assert shown.end() == 0
    assert b"True True True 77 33\r\nbar 1\rbar 2\r\n" in shown.shown
    assert (tmp_path / "t/logs/output.log").read_bytes() == b"True True True 77 33\nbar 1\rbar 2\n"


def test_a_new_size_of_the_window_reaches_the_command(tmp_path: Path) -> None:
    code = (
        "import os,signal,time; got = []; signal.signal(signal.SIGWINCH, lambda n, f: got.append(n)); print('ready')\n"
        "while not got: time.sleep(0.01)\nprint('now', *os.get_terminal_size(2))"
    )
    with screen(tmp_path, *words(*python(code), options=NAMED)) as shown:
        shown.until(b"ready")
        termios.tcsetwinsize(shown.inner, (11, 55))
        assert shown.end() == 0
    assert b"now 55 11" in shown.shown


def test_ctrl_c_reaches_the_command_once_and_a_second_one_as_well(tmp_path: Path) -> None:
    code = (
        "import signal,time,sys; got = []\n"
        "def on(n, f):\n    got.append(n); print('got', len(got))\n"
        "signal.signal(2, on); print('ready')\n"
        "while len(got) < 2: time.sleep(0.01)\ntime.sleep(0.3); print('in all', len(got)); sys.exit(7)"
    )
    with screen(tmp_path, *words(*python(code), options=NAMED)) as shown:
        shown.until(b"ready")
        shown.press(b"\x03")
        shown.until(b"got 1")
        shown.press(b"\x03")
        assert shown.end() == 7
    assert b"in all 2" in shown.shown
    told = status(tmp_path / "t")
    assert (told["status"], told["error_message"]) == ("stopped", "asked to end by SIGINT, and did, with exit code 7")


def test_a_command_that_dies_of_ctrl_c_is_stopped_and_no_crash(tmp_path: Path) -> None:
    with screen(tmp_path, *words("sleep", "30")) as shown:
        wait_for(lambda: status(tmp_path / "sleep").get("pid"))
        shown.press(b"\x03")
        assert shown.end() == -signal.SIGINT
    assert status(tmp_path / "sleep")["status"] == "stopped"


def test_a_command_that_asks_for_the_keyboard_gets_it(tmp_path: Path) -> None:
    code = "print('you said', input('your name? '))\ntry: input()\nexcept KeyboardInterrupt: print('interrupted once')"
    with screen(tmp_path, *words(*python(code), options=NAMED)) as shown:
        shown.until(b"your name? ")
        shown.press(b"Ada\r")
        shown.until(b"you said Ada")
        shown.press(b"\x03")
        assert shown.end() == 0
    assert shown.shown.count(b"interrupted once") == 1


def test_ctrl_z_stops_the_job_and_fg_continues_it(tmp_path: Path) -> None:
    code = "import time\nfor i in range(4000):\n    print('tick', i); time.sleep(0.01)"
    (tmp_path / "ticks.py").write_text(code)
    with screen(tmp_path, "/bin/bash", "--norc", "--noprofile", "-i") as shown:
        shown.press(" ".join(words("python3", "ticks.py")).encode() + b"\r")
        shown.until(b"tick 3")
        shown.press(b"\x1a")
        shown.until(b"Stopped")
        pid = status(tmp_path / "ticks")["pid"]
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        seen = len(shown.read())
        shown.press(b"fg\r")
        wait_for(lambda: b"tick" in shown.read()[seen + 200 :], "a tick after fg")
        shown.press(b"\x03")
        wait_for(lambda: status(tmp_path / "ticks").get("status") == "stopped", "the end")
        shown.press(b"echo code $?\r")
        shown.until(b"code 130")


def test_a_training_survives_the_closing_of_its_terminal(tmp_path: Path) -> None:
    code = (
        "import os,time\nprint('ready')\nwhile not os.path.exists('go'): print('.'); time.sleep(0.02)\nprint('the end')"
    )
    with screen(tmp_path, *words(*python(code), options=NAMED)) as shown:
        shown.until(b"ready")
        pid = status(tmp_path / "t")["pid"]
        shown.close()
        size = (tmp_path / "t/logs/output.log").stat().st_size
        wait_for(lambda: (tmp_path / "t/logs/output.log").stat().st_size > size + 20, "more output in the log")
        assert alive(pid)
        (tmp_path / "go").touch()
        wait_for(lambda: shown.process.poll() is not None, "the end")
        assert shown.process.returncode == 0
    assert (tmp_path / "t/logs/output.log").read_bytes().endswith(b"the end\n")
    assert status(tmp_path / "t")["status"] == "completed"


def test_a_terminal_that_takes_nothing_does_not_hold_up_the_training(tmp_path: Path) -> None:
    code = "for i in range(40000): print(i, 'x' * 80)\nopen('finished', 'w')"
    with screen(tmp_path, *words(*python(code), options=NAMED)) as shown:
        wait_for((tmp_path / "finished").exists, "the end of the training, with nobody reading the terminal")
        wait_for(lambda: status(tmp_path / "t").get("status") == "completed")
        os.kill(shown.process.pid, 0)
        assert b"bytes were not shown while the terminal took none" in wait_for(
            lambda: shown.end() == 0 and shown.shown
        )
