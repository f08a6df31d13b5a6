"""A queue killed at any moment: nothing is lost, nothing is trained twice."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest

from smartmon.errors import StoreError
from smartmon.queue import adapter, files, outcome, training
from smartmon.queue.child import Child
from smartmon.queue.jobs import JobState
from smartmon.queue.runner import Runner
from tests.queue.bench import Bench, ends

POINTS = [(files, "write_text"), (files, "rename_new"), (files, "copy_new"), (adapter, "_exchange"), (Child, "start")]
"""Everything that leaves a trace, but for the training's own."""


def killed_at(point: int, runner: Runner) -> bool:
    """Run the queue in a process that dies right before its write number `point`; return whether it did.

    A fork, for a fresh interpreter would take longer than all the rest.
    """
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            _die_at(point)
            runner.run()
            os._exit(0)
        os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def _die_at(point: int) -> None:
    seen = [0]

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            seen[0] += 1
            if seen[0] == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)

        return call

    for holder, name in POINTS:
        before = getattr(holder, name)
        setattr(holder, name, dying(before))
        for module in (files, adapter, outcome, training):
            if getattr(module, name, None) is before:
                setattr(module, name, getattr(holder, name))


def test_killed_between_any_two_writes_every_job_is_done_once_and_in_order(bench: Bench):
    point, killed = 0, True
    while killed:
        point += 1
        killed = _one_life(bench, point)
    assert point > 20, "the points of the queue's writes were not found"


def _one_life(bench: Bench, point: int) -> bool:
    """Kill a queue of two jobs at a point, let another go on, and look at what is there; return if it was killed."""
    for name in ("inbox", "active", "done", "failed", "runs", "current_model", ".smartmon"):
        shutil.rmtree(bench.base / name, ignore_errors=True)
    bench.places.make()
    for name in ("a", "b"):
        bench.desk.add(bench.data(name), settings={"max_steps": 1})
    killed = killed_at(point, bench.runner())
    bench.run()
    assert bench.learned() == "a:1 b:1 ", f"killed at {point}: {bench.said}"
    over = bench.desk.over()
    assert ends(over) == [("a", "done"), ("b", "done")], f"killed at {point}: {bench.said}"
    assert [bench.book.read().jobs, list(bench.places.inbox.glob("*.jsonl"))] == [(), []], f"killed at {point}"
    assert [path.name for path in (bench.base / "active").iterdir()] == [".smartmon-queue"], f"killed at {point}"
    assert all((each.folder / f"{each.job.name}.jsonl").is_file() for each in over), f"killed at {point}"
    return killed


def test_a_training_that_outlived_its_queue_is_watched_to_its_end(bench: Bench):
    gate = bench.base / "gate"
    bench.drop("a", until=str(gate))
    pid = _orphan(bench)
    gate_opener = bench.runner()
    said = bench.said.append

    def say(line: str) -> None:
        said(line)
        if "watching it" in line:
            gate.touch()

    gate_opener.say = say
    assert ends(gate_opener.run()) == [("a", "done")]
    assert f"pid {pid}" in "".join(bench.said)
    (ended,) = bench.desk.over()
    assert ended.job.starts == 1


def test_queue_and_training_killed_together_the_job_goes_on_from_its_checkpoint(bench: Bench):
    bench.drop("a", until=str(bench.base / "gate"))
    os.kill(_orphan(bench), signal.SIGKILL)
    job = bench.book.read().named("a")
    assert job is not None
    checkpoint = bench.places.output(job.run) / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "adapter_model.safetensors").write_text("a:1 a:2 a:3 ")
    (bench.base / "gate").touch()
    assert bench.run() == [("a", "done")]
    assert bench.learned() == "a:1 a:2 a:3 a:4 "
    assert any("killed before its first step while no queue was watching" in line for line in bench.said)


def _orphan(bench: Bench) -> int:
    """Kill a queue whose training is under way; return that one's process id."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            bench.runner().run()
        os._exit(1)

    def trains() -> int:
        job = bench.book.read().named("a")
        return job.pid if job is not None and job.state is JobState.TRAINING else 0

    bench.until(trains, "it never began")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return trains()


def test_a_job_whose_list_is_lost_is_found_again_with_its_settings(bench: Bench):
    gate = bench.base / "gate"
    bench.desk.add(bench.data("a", until=str(gate)), priority=7, settings={"max_steps": 2})
    child = _orphan(bench)
    os.kill(child, signal.SIGKILL)
    shutil.rmtree(bench.base / ".smartmon")
    gate.touch()
    assert bench.run() == [("a", "done")]
    (ended,) = bench.desk.over()
    assert (ended.job.priority, ended.facts["total_steps"]) == (7, 2)


def test_a_list_that_cannot_be_read_is_an_error_that_says_what_to_do(bench: Bench):
    (bench.places.state / "state.json").write_text('{"version": 1, "jobs": [')
    with pytest.raises(StoreError, match="move it away to begin a new list"):
        bench.run()


def test_a_process_with_the_number_of_a_training_of_old_is_not_taken_for_it():
    own = Child(os.getpid())
    assert Child.find(os.getpid(), own.birth) is not None
    assert Child.find(os.getpid(), "1" + own.birth) is None
    assert Child.find(0, "") is None


def test_a_job_tried_again_after_others_have_trained_begins_anew_on_their_adapter(bench: Bench):
    bench.desk.add(bench.data("a", exit=1, say="an error of the day", exit_at=3))
    bench.desk.add(bench.data("b"), settings={"max_steps": 1})
    bench.run()
    job = bench.desk.retry("a")
    (bench.places.active(job.run) / "a.jsonl").write_text(json.dumps({"name": "a"}))
    assert bench.run() == [("a", "done")]
    assert bench.learned() == "b:1 a:1 a:2 a:3 a:4 "
    assert any("trained anew" in line for line in bench.said)


def test_a_job_tried_again_at_once_goes_on_from_its_checkpoint(bench: Bench):
    bench.desk.add(bench.data("a", exit=1, say="an error of the day", exit_at=3))
    bench.run()
    job = bench.desk.retry("a")
    (bench.places.active(job.run) / "a.jsonl").write_text(json.dumps({"name": "a"}))
    assert bench.run() == [("a", "done")]
    assert bench.learned() == "a:1 a:2 a:3 a:4 "
    assert any("goes on from checkpoint-2" in line for line in bench.said)


@pytest.mark.parametrize("code", [20, 21])
def test_a_failure_that_would_come_again_is_tried_anew(bench: Bench, code: int):
    bench.desk.add(bench.data("a", exit=code, say="hopeless", exit_at=3))
    bench.run()
    first = bench.folder(JobState.FAILED, "a").name
    job = bench.desk.retry("a")
    assert job.run != first
    assert not (bench.base / "failed" / first).exists()
    (bench.places.active(job.run) / "a.jsonl").write_text(json.dumps({"name": "a"}))
    assert bench.run() == [("a", "done")]
    assert bench.learned() == "a:1 a:2 a:3 a:4 "
    assert [line for line in bench.said if "go on" in line or "goes on" in line or "has changed" in line] == []
