"""The running queue: order, lineage, failures, and what it is asked meanwhile."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from smartmon.errors import LockedError
from smartmon.queue import outcome
from smartmon.queue.jobs import Job, JobState
from tests.queue.bench import Bench


@contextmanager
def beside(bench: Bench, **options: object) -> Iterator[list[tuple[str, str]]]:
    """Run the queue in a thread while the body does something to it; the list holds what ended, afterwards."""
    over: list[tuple[str, str]] = []
    thread = threading.Thread(target=lambda: over.extend(bench.run(**options)))
    thread.start()
    try:
        yield over
    finally:
        bench.until(lambda: not thread.is_alive(), f"the queue has not ended: {bench.said}")
        thread.join()


def step(bench: Bench, name: str) -> int:
    """Return the step that a job under way has reached."""
    found = [entry.step or 0 for entry in bench.desk.entries(0) if entry.job.name == name]
    return found[0] if found else 0


def training(bench: Bench, name: str) -> Job | None:
    job = bench.book.read().named(name)
    return job if job is not None and job.state is JobState.TRAINING and job.pid else None


def test_each_job_is_trained_on_the_adapter_of_the_one_before(bench: Bench):
    for name in ("a", "b"):
        bench.desk.add(bench.data(name), settings={"max_steps": 2})
    assert bench.run() == [("a", "done"), ("b", "done")]
    assert bench.learned() == "a:1 a:2 b:1 b:2 "


def test_what_is_dropped_into_the_inbox_is_trained(bench: Bench):
    bench.drop("a")
    assert bench.run() == [("a", "done")]
    assert list(bench.places.inbox.glob("*.jsonl")) == []


def test_a_job_that_is_done_leaves_its_data_its_log_its_settings_and_its_outcome(bench: Bench):
    bench.desk.add(bench.data("a"), priority=3, settings={"max_steps": 2})
    bench.run()
    folder = bench.folder(JobState.DONE, "a")
    assert sorted(path.name for path in folder.iterdir()) == ["a.jsonl", "outcome.json", "train.log", "train.toml"]
    told = json.loads((folder / "outcome.json").read_text())
    assert (told["state"], told["step"], told["exit_code"], told["priority"]) == ("done", 2, 0, 3)
    assert told["run"] == f"runs/{folder.name}"
    assert "step 2 of 2" in (folder / "train.log").read_text()


def test_the_queue_goes_on_after_a_failure_from_the_last_good_adapter(bench: Bench):
    bench.desk.add(bench.data("a"), settings={"max_steps": 1})
    bench.desk.add(bench.data("nan", exit=20, say="the loss is NaN at step 2", exit_at=2))
    bench.desk.add(bench.data("c"), settings={"max_steps": 1})
    assert bench.run() == [("a", "done"), ("nan", "failed"), ("c", "done")]
    assert bench.learned() == "a:1 c:1 "
    assert "the loss is NaN at step 2" in outcome.read(bench.folder(JobState.FAILED, "nan")).reason  # type: ignore[union-attr]


def test_a_failure_that_the_training_did_not_tell_stands_in_its_status(bench: Bench):
    bench.drop("a", exit=21, say="every row is bad", status="initialized")
    bench.run()
    (path,) = bench.places.runs.glob("*_a/status/training_status.json")
    told = json.loads(path.read_text())
    assert (told["status"], told["error_message"]) == ("error", "its data cannot be used: every row is bad")


def test_a_queue_that_is_to_stop_at_a_failure_leaves_the_rest_waiting(bench: Bench):
    bench.desk.add(bench.data("bad", exit=21, say="no rows"))
    bench.desk.add(bench.data("good"))
    assert bench.run(stop_on_failure=True) == [("bad", "failed")]
    assert bench.book.read().next() == bench.book.read().named("good")


def test_settings_that_no_trainer_takes_fail_the_job_without_a_start(bench: Bench):
    bench.book.change(lambda jobs: jobs.add(Job("a", bench.drop("a").name, 0, settings={"epochs": -1})))
    assert bench.run() == [("a", "failed")]
    assert "epochs must be greater than 0" in outcome.read(bench.folder(JobState.FAILED, "a")).reason  # type: ignore[union-attr]


def test_a_program_that_cannot_be_started_fails_the_job(bench: Bench):
    bench.drop("a")
    runner = bench.runner()
    runner.plan = type(runner.plan)(runner.plan.settings, ("/no/such/program",), once=True, interval=0.02)
    assert [each.state for each in runner.run()] == ["failed"]
    assert "/no/such/program" in bench.said[-2]


def test_a_training_that_is_killed_goes_on_from_its_checkpoint(bench: Bench):
    bench.drop("a", die_at=3)
    with beside(bench):
        bench.until(lambda: any("interrupted" in line for line in bench.said), "it was never killed")
    # Each start dies at step 3, before its checkpoint: one with progress, then no more.
    assert [line for line in bench.said if "goes on from checkpoint-2" in line]
    log = (bench.folder(JobState.FAILED, "a") / "train.log").read_text()
    assert log.count("go on from checkpoint-2") == 2
    assert log.count("step 1 of 4") == 1
    assert "killed 3 times" in bench.said[-2]


def test_a_kill_that_follows_a_new_checkpoint_does_not_count_against_the_job(bench: Bench):
    gate = bench.base / "gate"
    bench.drop("a", until=str(gate))
    with beside(bench) as over:
        for number in range(1, 5):
            job = started(bench, "a", number)
            newest = bench.places.output(job.run) / f"checkpoint-{number}"
            newest.mkdir(parents=True)
            (newest / "adapter_model.safetensors").write_text("".join(f"a:{n + 1} " for n in range(number)))
            os.kill(job.pid, signal.SIGKILL)
        gate.touch()
    assert over == [("a", "done")]


def started(bench: Bench, name: str, number: int) -> Job:
    """Wait for a job's start of that number."""
    bench.until(lambda: (job := training(bench, name)) and job.starts == number, f"no start {number}")
    job = training(bench, name)
    assert job is not None
    return job


def test_two_queues_never_train_in_one_base_dir(bench: Bench):
    with bench.book.running():
        with pytest.raises(LockedError, match=f"pid {os.getpid()}"):
            bench.run()
        assert bench.book.runner().startswith(f"pid {os.getpid()} on")
    assert bench.book.runner() == ""


def test_a_file_of_the_same_name_that_comes_while_one_is_trained_is_another_job(bench: Bench):
    gate = bench.base / "gate"
    bench.drop("a", until=str(gate))
    with beside(bench) as over:
        bench.until(lambda: training(bench, "a"), "it never began")
        bench.drop("a")
        bench.until(lambda: bench.book.read().named("a-2"), "the second was never seen")
        gate.touch()
    assert over == [("a", "done"), ("a-2", "done")]


def test_a_waiting_file_that_goes_takes_its_job_with_it(bench: Bench):
    bench.drop("a").unlink()
    bench.desk.add(bench.data("b"))
    bench.book.change(lambda jobs: jobs.add(Job("a", "a.jsonl", 0, priority=9)))
    assert bench.run() == [("b", "done")]
    assert "a: its file has gone from the inbox, so it is dropped" in bench.said


def test_a_held_queue_begins_nothing_and_goes_on_when_told(bench: Bench):
    bench.desk.pause("the GPU is needed", now=False)
    bench.drop("a")
    with beside(bench, once=False) as over:
        bench.until(lambda: any("held: the GPU is needed" in line for line in bench.said), "it did not say so")
        assert bench.book.read().named("a") is None or training(bench, "a") is None
        bench.desk.resume()
        bench.until(lambda: any("a: done" in line for line in bench.said), "it did not go on")
        bench.stopping.ask()
    assert over == [("a", "done")]


def test_pause_now_stops_the_training_at_a_checkpoint_and_resume_goes_on_from_there(bench: Bench):
    gate = bench.base / "gate"
    bench.drop("a", until=str(gate))
    with beside(bench, once=False) as over:
        bench.until(lambda: training(bench, "a"), "it never began")
        bench.desk.pause("paused", now=True)
        bench.until(lambda: any("a: interrupted" in line for line in bench.said), "it never stopped")
        gate.touch()
        bench.desk.resume()
        bench.until(lambda: any("a: done" in line for line in bench.said), "it did not go on")
        bench.stopping.ask()
    assert over == [("a", "done")]
    assert bench.learned() == "a:1 a:2 a:3 a:4 "


def test_asked_to_end_the_queue_lets_its_training_save_and_the_next_goes_on(bench: Bench):
    gate = bench.base / "gate"
    bench.drop("a", until=str(gate))
    with beside(bench) as over:
        bench.until(lambda: training(bench, "a"), "it never began")
        bench.stopping.ask()
    assert over == []
    job = bench.book.read().named("a")
    assert job is not None
    assert (job.state, job.kills) == (JobState.INTERRUPTED, 0)
    gate.touch()
    bench.stopping.count = 0
    assert bench.run() == [("a", "done")]


def test_a_job_under_way_is_removed_once_its_training_has_stopped(bench: Bench):
    bench.drop("a", until="/no/such/gate")
    with beside(bench):
        bench.until(lambda: training(bench, "a"), "it never began")
        assert bench.desk.remove("a") is None
    assert (bench.folder(JobState.REMOVED, "a") / "a.jsonl").exists()
    assert bench.book.read().jobs == ()
    assert bench.learned() == ""


def test_only_the_newest_job_that_is_done_keeps_its_checkpoints(bench: Bench):
    for name in ("a", "b"):
        bench.desk.add(bench.data(name), settings={"max_steps": 1})
    bench.run()
    kept = {path.parts[-3].partition("_")[2] for path in bench.places.runs.glob("*/current_model/checkpoint-1")}
    assert kept == {"b"}
    assert len(list(bench.places.runs.glob("*/current_model/adapter_model.safetensors"))) == 2


def test_the_training_is_told_what_its_status_file_says_besides(bench: Bench):
    bench.desk.add(bench.data("a"))
    bench.desk.add(bench.data("b"))
    bench.run()
    said = [json.loads(path.read_text()) for path in sorted(bench.places.runs.glob("*/status/training_status.json"))]
    assert [(each["current_file"], each["batch_queue_size"]) for each in said] == [("a.jsonl", 1), ("b.jsonl", 0)]


def test_a_full_disk_holds_the_queue_with_the_job_in_it(bench: Bench):
    bench.drop("a", exit=1, say="OSError: [Errno 28] No space left on device")
    assert bench.run() == []
    assert "disk is full" in bench.book.read().paused
    assert [job.state for job in bench.book.read().jobs] == [JobState.INTERRUPTED]


def test_a_file_that_cannot_be_taken_is_refused_until_it_changes(bench: Bench):
    link = bench.places.inbox / "a.jsonl"
    link.symlink_to("/proc/self/mem")  # a regular file whose first byte nobody can read
    bench.book.change(lambda jobs: jobs.add(Job("a", "a.jsonl", 0)))
    assert bench.run() == []
    (job,) = bench.book.read().jobs
    assert (job.state, job.run) == (JobState.REFUSED, "")
    assert "cannot be taken: Input/output error" in job.reason
    assert [path.name for path in (bench.base / "active").iterdir()] == [".smartmon-queue"]
    link.unlink()
    bench.drop("a")
    assert bench.run() == [("a", "done")]
