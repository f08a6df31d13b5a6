"""`StatusWriter`: what a plain loop says arrives whole, in order, and never costs the loop anything."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

import smartmon
from smartmon.records import RunState
from smartmon.replay import rows
from smartmon.sources.base import SourceSpec
from smartmon.sources.status_file import StatusFile
from smartmon.trainer import StatusWriter
from smartmon.trainer.scribe import Scribe
from smartmon.trainer.writer import MOST

LOG, STATUS = "logs/training_log.jsonl", "status/training_status.json"


def status(base: Path) -> dict[str, Any]:
    return dict(json.loads((base / STATUS).read_text()))


def lines(base: Path, name: str = LOG) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (base / name).read_text().splitlines()]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def script(text: str, base: Path) -> subprocess.CompletedProcess[str]:
    code = f"import os, sys\nfrom smartmon.trainer import StatusWriter\nbase = {str(base)!r}\n{text}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)


def test_ten_lines_of_a_plain_loop_are_a_run_that_smartmon_reads(tmp_path: Path) -> None:
    with StatusWriter(tmp_path, total_steps=20, model_name="mine") as out:
        for step in range(1, 21):
            out.write(step=step, loss=2 / step, learning_rate=1e-4, my_metric=step)
        out.evaluate(20, loss=0.5)
    read = list(rows(tmp_path / LOG, {}))
    assert [(obs.step, obs.values["loss"]) for obs in read] == [(step, 2 / step) for step in range(1, 21)]
    assert {"my_metric", "learning_rate", "steps_per_sec", "eta_seconds"} <= read[-1].values.keys()
    assert lines(tmp_path, "logs/eval_log.jsonl")[0]["eval_loss"] == 0.5


def test_the_status_is_one_that_smartmon_reads(tmp_path: Path) -> None:
    with StatusWriter(tmp_path, total_steps=20, model_name="mine", output_dir=tmp_path / "out") as out:
        out.write(step=7, loss=0.5, accuracy_percent=81.5)
    batch = StatusFile(SourceSpec("status", "status", tmp_path / STATUS)).read(None, time.time())
    assert batch.status is not None
    assert (batch.status.state, batch.status.step, batch.status.total_steps) == (RunState.COMPLETED, 7, 20)
    assert batch.status.model_name == "mine"
    assert batch.status.extras["output_dir"] == str(tmp_path / "out")
    values = batch.observations[0].values
    assert (values["loss"], values["accuracy"]) == (0.5, 81.5)
    assert not {"pid", "attempt"} & values.keys(), "which process wrote is no metric"


def test_nan_and_infinity_are_logged_as_what_they_are(tmp_path: Path) -> None:
    with StatusWriter(tmp_path) as out:
        out.write(loss=math.nan, grad_norm=math.inf)
    assert '"loss": NaN, "grad_norm": Infinity' in (tmp_path / LOG).read_text()
    assert math.isnan(status(tmp_path)["loss"])


def test_steps_that_are_not_said_are_counted(tmp_path: Path) -> None:
    with StatusWriter(tmp_path) as out:
        out.write(step=5, loss=1.0)
        out.write(loss=0.9)
    assert [row["step"] for row in lines(tmp_path)] == [5, 6]


class Evil:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (numpy.float32(0.5), 0.5),
        (numpy.float64(0.25), 0.25),
        (numpy.array([1, 2]), [1, 2]),
        (numpy.zeros(10**6), "array([0., 0., 0., ..., 0., 0., 0.], shape=(1000000,))"),
        ({1: (2, 3)}, {"1": [2, 3]}),
        (Path("/x"), "PosixPath('/x')"),
        (Evil(), "<Evil>"),
        ("\udcff", "\udcff"),
    ],
)
def test_any_value_is_written_somehow(tmp_path: Path, value: object, written: object) -> None:
    with StatusWriter(tmp_path) as out:
        out.write(step=1, mine=value)
    assert lines(tmp_path)[0]["mine"] == written


def test_a_value_that_contains_itself_is_cut(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with StatusWriter(tmp_path) as out:
        out.write(step=1, mine=value)
    assert lines(tmp_path)[0]["step"] == 1


def test_a_users_metric_cannot_take_the_place_of_the_state(tmp_path: Path) -> None:
    with StatusWriter(tmp_path) as out:
        out.write(step=1, status="fine", pid=-1)
    assert (status(tmp_path)["status"], status(tmp_path)["pid"]) == ("completed", os.getpid())


def test_an_exception_ends_as_crashed_with_its_traceback(tmp_path: Path) -> None:
    def loop() -> None:
        with StatusWriter(tmp_path) as out:
            out.write(step=3, loss=1.0)
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        loop()
    found = status(tmp_path)
    assert (found["status"], found["error_type"], found["error_message"]) == ("crashed", "ValueError", "boom")
    row = lines(tmp_path, "logs/error_log.jsonl")[0]
    assert (row["step"], row["error_type"]) == (3, "ValueError")
    assert 'raise ValueError("boom")' in row["traceback"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_and_an_exit_end_as_stopped(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), StatusWriter(tmp_path):
        raise error
    assert status(tmp_path)["status"] == "stopped"
    assert not (tmp_path / "logs/error_log.jsonl").exists()


def test_a_gpu_out_of_memory_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), StatusWriter(tmp_path):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
    assert status(tmp_path)["error_type"] == "OOM"


@pytest.mark.parametrize(
    ("rest", "word"),
    [
        ("raise ValueError('boom')", "crashed"),
        ("raise KeyboardInterrupt", "stopped"),
        ("sys.exit(3)", "stopped"),
        ("", "stopped"),
        ("out.write(step=2)", "completed"),
        ("out.update('error')", "error"),
    ],
)
def test_without_a_with_block_the_end_of_the_process_is_told(tmp_path: Path, rest: str, word: str) -> None:
    done = script(f"out = StatusWriter(base, total_steps=2)\nout.write(step=1)\n{rest}", tmp_path)
    assert status(tmp_path)["status"] == word
    assert lines(tmp_path)[0]["step"] == 1
    assert ("Traceback" in done.stderr) == rest.startswith("raise")


def test_the_thread_rests_after_the_last_word_and_wakes_for_another(tmp_path: Path) -> None:
    def threads() -> int:
        return sum(thread.name == "smartmon-writer" for thread in threading.enumerate())

    before = threads()
    with StatusWriter(tmp_path, interval=0.01) as out:
        out.write(step=1)
        out.update("completed")
        until(lambda: threads() == before)
        assert status(tmp_path)["status"] == "completed"
        out.evaluate(1, loss=0.5)
        until((tmp_path / "logs/eval_log.jsonl").exists)
        out.write(step=2)
        assert out.flush(20)
        assert status(tmp_path)["status"] == "training"
    assert threads() == before


def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    text = (
        "with StatusWriter(base) as out:\n"
        "    out.write(step=1)\n"
        "    if os.fork() == 0:\n"
        "        out.write(step=100); out.close('crashed'); sys.exit(0)\n"
        "    os.wait()\n"
    )
    assert script(text, tmp_path).returncode == 0
    assert [row["step"] for row in lines(tmp_path)] == [1]
    assert status(tmp_path)["status"] == "completed"


def test_a_later_attempt_appends_and_counts_on(tmp_path: Path) -> None:
    for attempt in (1, 2):
        with StatusWriter(tmp_path) as out:
            out.write(step=attempt, loss=1.0)
        assert status(tmp_path)["attempt"] == attempt
    assert [row["step"] for row in lines(tmp_path)] == [1, 2]


def test_a_line_torn_by_a_kill_takes_no_other_with_it(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / LOG).write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    with StatusWriter(tmp_path) as out:
        out.write(step=3, loss=0.5)
    assert [obs.step for obs in rows(tmp_path / LOG, {})] == [1, 3]


def test_a_disk_that_takes_nothing_is_told_once_and_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "run"
    base.write_text("a file is in the way")
    out = StatusWriter(base, interval=0.01)
    for step in range(100):
        out.write(step=step, loss=1.0)
    assert not out.flush(0.1)
    base.unlink()
    assert out.flush(20)
    out.close()
    assert [row["step"] for row in lines(base)] == list(range(100))
    told = capsys.readouterr().err.splitlines()
    assert ["cannot write" in told[0], "works again" in told[1], len(told)] == [True, True, 2]


def test_a_disk_that_hangs_blocks_nobody_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    os.mkfifo(tmp_path / LOG)
    reader = os.open(tmp_path / LOG, os.O_RDONLY | os.O_NONBLOCK)
    held = os.open(tmp_path / LOG, os.O_WRONLY)  # without it the reader would see an end between two rounds
    out = StatusWriter(tmp_path, interval=0.01)
    out.write(step=0, text="x" * 4000)
    for step in range(1, 2 * MOST):
        out.write(step=step, text="x" * 100)
    assert out.lost > 0
    os.set_blocking(reader, True)
    thread = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 20), b"")], daemon=True)
    thread.start()
    assert out.flush(20)
    assert status(tmp_path)["lost_rows"] == out.lost
    out.close()
    os.close(held)
    thread.join(10)
    os.close(reader)


def test_the_status_is_written_no_more_often_than_asked(tmp_path: Path) -> None:
    from collections import deque

    scribe = Scribe(tmp_path, interval=1000.0, beat=2000.0)
    for step in (1, 2, 3):
        scribe.round(deque([("row", time.time(), step, {"loss": 1.0})]), step, 0)
    assert status(tmp_path)["current_step"] == 1
    assert len(lines(tmp_path)) == 3


def test_the_heart_beats_while_the_training_thinks(tmp_path: Path) -> None:
    with StatusWriter(tmp_path, interval=0.01, beat=0.02) as out:
        out.update("paused")
        assert out.flush(20)
        first = status(tmp_path)["heartbeat"]
        until(lambda: status(tmp_path)["heartbeat"] != first)
        assert status(tmp_path)["status"] == "paused"


def test_a_detail_replaces_the_last_and_is_kept_once_done(tmp_path: Path) -> None:
    record = {"step": 50, "predicted": "a", "generating": True}
    with StatusWriter(tmp_path, interval=0.01) as out:
        out.detail(record, done=False)
        record["predicted"] = "ab"
        out.detail(record, done=True)
    assert json.loads((tmp_path / "status/training_detail.json").read_text())["predicted"] == "ab"
    assert [row["predicted"] for row in lines(tmp_path, "logs/training_detail.jsonl")] == ["ab"]


def test_nothing_but_the_standard_library_is_needed(tmp_path: Path) -> None:
    package = Path(smartmon.__file__).parent
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('smartmon', {str(package / '__init__.py')!r},"
        f" submodule_search_locations=[{str(package)!r}])\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['smartmon'] = module\n"
        "spec.loader.exec_module(module)\n"
        "import smartmon.trainer.callback, smartmon.trainer.lightning\n"
        "from smartmon.trainer import StatusWriter\n"
        f"with StatusWriter({str(tmp_path)!r}) as out: out.write(step=1, loss=0.5)\n"
        "print({name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names - {'smartmon', '__main__'})\n"
    )
    # -I -S: nothing that is installed can be imported.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "set()\n")
    assert lines(tmp_path)[0]["loss"] == 0.5


def test_a_signal_handler_may_call_at_any_moment(tmp_path: Path) -> None:
    out, calls = StatusWriter(tmp_path), 0

    def handler(*_: object) -> None:
        nonlocal calls
        calls += 1
        out.update("paused" if calls % 2 else "evaluating")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        deadline = time.monotonic() + 20
        while calls < 200 and time.monotonic() < deadline:
            out.update("training")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    out.close()
    assert calls >= 200
    assert status(tmp_path)["status"] == "completed"
