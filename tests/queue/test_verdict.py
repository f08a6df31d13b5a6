"""What becomes of a job, by how its training ended."""

from __future__ import annotations

from typing import Any

import pytest

from smartmon.queue.verdict import End, judge

DONE = {"status": "completed", "current_step": 40}
STOPPED = {"status": "stopped", "current_step": 12}
AT_12 = {"status": "training", "current_step": 12}
OOM = {"status": "crashed", "error_type": "OOM", "error_message": "batch_size 8 is too much"}


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        (End(0, DONE, True), "done", ""),
        (End(None, DONE, True), "done", ""),
        (End(-11, DONE, True), "done", ""),
        (End(0, {}, True), "done", ""),
        (End(0, DONE, False), "failed", "left no adapter"),
        (End(0, STOPPED, False), "failed", "it was stopped at step 12; smartmon queue retry"),
        (End(0, STOPPED, True, asked=True), "interrupted", "asked to stop"),
        (End(None, STOPPED, False), "failed", "it was stopped at step 12"),
        (End(-9, AT_12, False), "interrupted", "killed at step 12 by SIGKILL (out of memory?)"),
        (End(137, {}, False), "interrupted", "killed before its first step by SIGKILL"),
        (End(None, AT_12, False), "interrupted", "killed at step 12 while no queue was watching"),
        (End(None, OOM, False), "failed", "OOM: batch_size 8 is too much"),
        (End(-9, AT_12, False, asked=True), "interrupted", "asked to stop"),
        (End(20, OOM, False, asked=True), "failed", "no longer a number"),
        (End(20, {}, False, ["smartmon: the loss is NaN at step 12"]), "failed", "the loss is NaN at step 12"),
        (End(21, {}, False, ["reads", "smartmon: a.jsonl is empty", "bye"]), "failed", "a.jsonl is empty"),
        (
            End(21, {}, False, ["smartmon: every row is bad", "  a.jsonl:1: is not JSON"]),
            "failed",
            "bad; a.jsonl:1: is",
        ),
        (End(22, {}, False), "failed", "no whole checkpoint"),
        (End(5, {}, False, ["smartmon: another training (pid 7)"]), "interrupted", "another training"),
        (End(77, {}, False, ["what?", ""]), "failed", "exit code 77: what?"),
    ],
)
def test_the_end_of_a_training_is_read_from_all_that_is_known(end: End, state: str, reason: str):
    found = judge(end)
    assert (found.state, reason in found.reason) == (state, True), found


@pytest.mark.parametrize("said", ["OSError: [Errno 28] No space left on device", "Disk quota exceeded"])
def test_a_full_disk_holds_the_queue_instead_of_failing_every_job(said: str):
    found = judge(End(1, {}, False, [said]))
    assert (found.state, found.hold) == ("interrupted", True)


@pytest.mark.parametrize("status", [{"current_step": "x"}, {"error_message": 3, "status": "error"}, {"status": []}])
def test_a_status_file_of_any_shape_is_read(status: dict[str, Any]):
    assert judge(End(1, status, False)).state == "failed"
