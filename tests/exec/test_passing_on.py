"""What a command under exec prints, gets and ends with is what it would be without."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exec.world import PATIENCE, alive, python, run, status, wait_for, words


def test_the_exit_code_and_both_outputs_are_the_commands_own(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "echo out; echo err >&2; exit 3", options=("--no-daemon", "--name", "it"))
    assert (done.returncode, done.stdout) == (3, b"out\n")
    assert done.stderr.splitlines()[1:-1] == [b"err"]
    assert b"ended with exit code 3; its output is in it/logs/output.log" in done.stderr
    assert sorted((tmp_path / "it/logs/output.log").read_bytes().split()) == [b"err", b"out"]
    told = status(tmp_path / "it")
    assert (told["status"], told["exit_code"], told["error_type"]) == ("crashed", 3, "exit code 3")
    assert told["command"] == "sh -c 'echo out; echo err >&2; exit 3'"


def test_a_command_that_ends_well_says_nothing_more(tmp_path: Path) -> None:
    done = run(tmp_path, "true")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (0, b"", 1)
    assert status(tmp_path / "true")["status"] == "completed"


def test_who_waits_for_exec_sees_the_signal_that_killed_the_command(tmp_path: Path) -> None:
    done = run(
        tmp_path, *python("import os; print('so far'); os.kill(os.getpid(), 9)"), options=("--no-daemon", "--name", "k")
    )
    assert done.returncode == -signal.SIGKILL
    told = status(tmp_path / "k")
    assert (told["status"], told["signal"], told["error_type"], told["exit_code"]) == (
        "crashed",
        "SIGKILL",
        "SIGKILL",
        137,
    )
    assert "it last printed: so far" in told["error_message"]


def test_an_uncaught_exception_is_told_by_its_type(tmp_path: Path) -> None:
    run(tmp_path, *python("raise ValueError('no such layer')"), options=("--no-daemon", "--name", "k"))
    told = status(tmp_path / "k")
    assert (told["error_type"], told["error_message"]) == ("ValueError", "no such layer (exit code 1)")


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("no-such-program", 127, "cannot run no-such-program: it is not on the PATH"),
        ("./not-there", 127, "cannot run ./not-there: there is no such file"),
        ("./plain.txt", 126, "cannot run ./plain.txt: it is no program that you may run; try: chmod +x ./plain.txt"),
        ("./bad", 126, "cannot run ./bad: it is there, but the interpreter that it names is not"),
    ],
)
def test_what_cannot_be_started_is_refused_as_by_a_shell(tmp_path: Path, program: str, code: int, said: str) -> None:
    (tmp_path / "plain.txt").write_text("no program")
    (tmp_path / "bad").write_text("#!/no/such/interpreter\n")
    (tmp_path / "bad").chmod(0o755)
    done = run(tmp_path, program)
    assert done.returncode == code
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_bytes_of_any_kind_arrive_and_are_kept_unchanged(tmp_path: Path) -> None:
    blob = os.urandom(300_000)
    (tmp_path / "blob").write_bytes(blob)
    done = run(tmp_path, "cat", "blob")
    assert done.stdout == blob
    assert (tmp_path / "cat/logs/output.log").read_bytes() == blob


def test_input_goes_through(tmp_path: Path) -> None:
    assert run(tmp_path, "cat", input=b"from outside").stdout == b"from outside"


def test_two_outputs_that_are_one_outside_keep_their_order(tmp_path: Path) -> None:
    code = "import os\nfor i in range(2000): os.write(1 + i % 2, b'%d\\n' % i)"
    done = run(tmp_path, *python(code), capture_output=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.stdout.split()[-2000:] == [b"%d" % i for i in range(2000)]


def test_200_megabytes_pass_whole_and_the_log_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    code = "import sys\nline = 'x' * 99 + '\\n'\nfor i in range(2000): sys.stdout.write(line * 1000)\nprint('the end')"
    process = subprocess.Popen(
        words(sys.executable, "-c", code, options=("--no-daemon", "--name", "big")),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    total, last = 0, b""
    with process:
        assert process.stdout is not None
        while data := process.stdout.read(1 << 20):
            total, last = total + len(data), data
    assert (process.wait(), total, last[-8:]) == (0, 200_000_008, b"the end\n")
    logs = sorted((tmp_path / "big/logs").iterdir())
    assert [each.name for each in logs] == ["output.log", *(f"output.log.{n}" for n in (1, 3, 4, 5))]
    assert logs[0].read_bytes().endswith(b"x\nthe end\n")
    assert sum(each.stat().st_size for each in logs) < 160 * 2**20


def test_a_reader_that_has_enough_does_not_end_the_training(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("for i in range(20000): print(i, 'x' * 80)\nopen('finished', 'w')")
    line = shlex.join(words(sys.executable, "train.py"))
    done = subprocess.run(
        ["bash", "-c", f"{line} | head -1"], capture_output=True, cwd=tmp_path, timeout=PATIENCE, check=False
    )
    assert done.stdout == b"0 " + b"x" * 80 + b"\n"
    assert (status(tmp_path / "train")["status"], (tmp_path / "finished").exists()) == ("completed", True)
    assert (tmp_path / "train/logs/output.log").read_bytes().endswith(b"19999 " + b"x" * 80 + b"\n")


def test_a_reader_that_sleeps_holds_up_neither_the_training_nor_its_log(tmp_path: Path) -> None:
    code = "for i in range(30000): print(i, 'x' * 80)\nopen('finished', 'w')"
    with subprocess.Popen(
        words(*python(code), options=("--no-daemon", "--name", "s")), stdout=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        wait_for((tmp_path / "finished").exists, "the end of the training")
        wait_for(lambda: (tmp_path / "s/logs/output.log").read_bytes().endswith(b"29999 " + b"x" * 80 + b"\n"))
        assert process.poll() is None
        assert len(process.stdout.read().splitlines()) == 30000


def test_a_full_disk_outside_is_told_and_the_log_has_it_all(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(tmp_path, "echo", "hello", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 0
    assert b"standard output could not be written: No space left on device; the log has it all" in done.stderr
    assert (tmp_path / "echo/logs/output.log").read_bytes() == b"hello\n"


def test_a_process_left_behind_neither_holds_us_nor_dies_of_our_end(tmp_path: Path) -> None:
    code = "import time,os; print(os.getpid()); time.sleep(4); print('still here'); open('lived', 'w')"
    background = shlex.join(python(code))
    done = run(tmp_path, "sh", "-c", f"{background} & sleep 0.5; echo done")
    pid = int(done.stdout.split()[0])
    assert done.returncode == 0
    assert f"left 1 process running (pid {pid})".encode() in done.stderr
    wait_for((tmp_path / "lived").exists, "the end of the one left behind")
    wait_for(lambda: b"still here" in (tmp_path / "sh/logs/output.log").read_bytes())
    wait_for(lambda: not alive(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_reaches_the_commands_whole_group_once(tmp_path: Path, number: signal.Signals) -> None:
    code = f"""
import signal, subprocess, sys, time, os
got = []
signal.signal({int(number)}, lambda n, f: got.append(n))
child = None
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, '-S', '-u', '-c', open('c').read(), 'child'])
open('ready-%d' % len(sys.argv), 'w')
deadline = time.time() + 20
while not got and time.time() < deadline: time.sleep(0.01)
time.sleep(0.3)
if child: child.wait()
print('got', len(got), sys.argv[1:])
"""
    (tmp_path / "c").write_text(code)
    with subprocess.Popen(
        words(*python("exec(open('c').read())"), options=("--no-daemon", "--name", "s")),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        wait_for(lambda: (tmp_path / "ready-1").exists() and (tmp_path / "ready-2").exists(), "both are ready")
        process.send_signal(number)
        assert process.stdout is not None
        assert sorted(process.stdout.read().splitlines()) == [b"got 1 ['child']", b"got 1 []"]
        assert process.wait() == 0
    asked = number != signal.SIGUSR1
    assert status(tmp_path / "s")["status"] == ("stopped" if asked else "completed")


def test_exec_in_exec_keeps_two_runs(tmp_path: Path) -> None:
    done = run(
        tmp_path, *words("sh", "-c", "echo $SMARTMON_RUN_DIR; exit 5"), options=("--no-daemon", "--name", "outer")
    )
    assert (done.returncode, done.stdout.decode().strip()) == (5, str(tmp_path / "sh"))
    assert [status(tmp_path / name)["exit_code"] for name in ("outer", "sh")] == [5, 5]


def test_the_next_attempt_continues_the_folder_and_says_if_the_last_one_was_cut_off(tmp_path: Path) -> None:
    with subprocess.Popen(
        words("sleep", "20"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
    ) as process:
        pid = wait_for(lambda: status(tmp_path / "sleep").get("pid"))
        busy = run(tmp_path, "sleep", "0", options=("--no-daemon", "--name", "sleep"))
        other = run(tmp_path, "sleep", "0")
        process.kill()
    os.kill(pid, signal.SIGKILL)
    assert (busy.returncode, b"another smartmon exec is running in" in busy.stderr) == (5, True)
    assert b"run sleep-2 in sleep-2" in other.stderr
    again = run(tmp_path, "sleep", "0")
    assert b"run sleep (attempt 2) in sleep" in again.stderr
    assert b"nobody saw the end of the attempt before this one" in again.stderr
    assert status(tmp_path / "sleep")["attempt"] == 2
