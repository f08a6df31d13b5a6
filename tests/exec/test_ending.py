"""How an end is told: by its signal, its exception, its last lines, and by what the OOM killer counted."""

from __future__ import annotations

import signal

import pytest

from smartmon.detectors.crashed import crash
from smartmon.exec.ending import ending, last_lines, raised
from smartmon.exec.memory import Kills, told

TRACEBACK = b"""step 3
Traceback (most recent call last):
  File "train.py", line 3, in <module>
    run()
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
"""


def exited(code: int) -> int:
    return code << 8


def test_a_killed_command_names_the_oom_killer_only_where_it_counted() -> None:
    killed = ending(signal.SIGKILL, output=b"step 3\n", asked=0, kills="")
    assert crash(killed.error_type, killed.error_message, 3).reason == "crashed_SIGKILL"
    counted = told(Kills(1, 5), Kills(2, 6), machine=True)
    starved = ending(signal.SIGKILL, output=b"", asked=0, kills=counted)
    assert starved.error_message == "killed by SIGKILL; the kernel's OOM killer counted 1 kill in this cgroup meanwhile"
    assert crash(starved.error_type, starved.error_message, 3).reason == "crashed_OOM"


def test_the_machines_counter_is_believed_only_of_what_was_killed() -> None:
    assert told(Kills(None, 5), Kills(None, 7), machine=True).endswith("counted 2 kills on this machine meanwhile")
    assert told(Kills(None, 5), Kills(None, 7), machine=False) == ""
    assert told(Kills(None, None), Kills(0, 9), machine=True) == ""


def test_a_worker_that_was_killed_for_memory_explains_the_exit_code() -> None:
    end = ending(exited(1), output=b"a worker died\n", asked=0, kills="the kernel's OOM killer counted 1 kill")
    assert (end.state, end.error_type) == ("crashed", "OOM")
    assert end.error_message.startswith(
        "exit code 1; the kernel's OOM killer counted 1 kill; it last printed: a worker"
    )


def test_an_exception_gives_its_type_and_message() -> None:
    end = ending(exited(1), output=TRACEBACK, asked=0, kills="")
    assert (end.error_type, end.exit_code) == ("OutOfMemoryError", 1)
    assert crash(end.error_type, end.error_message, 3).reason == "crashed_OOM"
    assert raised(("all is well", "ValueError: quoted in a log")) is None


@pytest.mark.parametrize(
    ("status", "asked", "state", "code", "message"),
    [
        (exited(0), 0, "completed", 0, ""),
        (exited(0), signal.SIGTERM, "stopped", 0, ""),
        (signal.SIGINT, signal.SIGINT, "stopped", 130, "asked to end by SIGINT, and did"),
        (exited(1), signal.SIGTERM, "stopped", 1, "asked to end by SIGTERM, and did, with exit code 1"),
        (signal.SIGKILL, signal.SIGTERM, "stopped", 137, "asked to end by SIGTERM, and did, with SIGKILL"),
        (signal.SIGSEGV, 0, "crashed", 139, "Segmentation fault"),
        (exited(3), 0, "crashed", 3, "it printed nothing"),
    ],
)
def test_an_end_that_was_asked_for_is_no_crash(status: int, asked: int, state: str, code: int, message: str) -> None:
    end = ending(status, output=b"", asked=asked, kills="")
    assert (end.state, end.exit_code, end.error_message) == (state, code, message)


def test_the_last_lines_are_what_a_person_would_have_seen() -> None:
    bars = b"\x1b[31mred\x1b[0m\n 10%|#  |\r 50%|## |\r100%|###|\n\n\x00odd\xff\n"
    assert last_lines(bars) == ("red", "100%|###|", "\ufffdodd\ufffd")
