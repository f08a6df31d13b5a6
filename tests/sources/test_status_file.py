from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from smartmon.records import RunState, Severity

NOW = 2_000_000_000.0
FULL = {
    "status": "training",
    "current_step": 17500,
    "total_steps": 50000,
    "epoch": 1.2,
    "loss": 0.8912,
    "validation_loss": None,
    "learning_rate": 2e-4,
    "accuracy_percent": 62.5,
    "timestamp": "2025-11-12T14:30:22.123456+00:00",
    "model_name": "tiny",
    "current_prompt": "Why?",
    "golden_answer": "Because.",
    "model_answer": "Don't know.",
    "answer_matches": False,
    "recent_examples": [{"step": 1, "loss": math.nan}],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "training_status.json"


def test_the_whole_status_is_understood(path: Path, reader):
    path.write_text(json.dumps(FULL))
    status = reader(path, "status")
    (row,) = status.read()
    assert (row.step, row.percent, row.timed, row.nulls) == (17500, True, True, frozenset({"eval_loss"}))
    assert row.values["loss"] == 0.8912
    assert row.values["accuracy"] == 62.5
    report = status.status
    assert (report.state, report.step, report.total_steps, report.model_name) == (
        RunState.RUNNING,
        17500,
        50000,
        "tiny",
    )
    assert report.at == row.at == 1762957822.123456
    assert report.raw == path.read_bytes()
    assert report.extras["answer_matches"] is False
    assert report.extras["recent_examples"] == [{"step": 1, "loss": None}]


@pytest.mark.parametrize(("evaluated", "told"), [(17500, 0.9), (17400, None)])
def test_an_evaluation_of_an_earlier_step_is_not_told_of_this_one(path: Path, reader, evaluated: int, told: object):
    path.write_text(json.dumps(FULL | {"validation_loss": 0.9, "eval_step": evaluated}))
    (row,) = reader(path, "status").read()
    assert row.values.get("eval_loss") == told
    assert "eval_step" not in row.values


def test_a_missing_file_is_waited_for_in_silence(path: Path, reader):
    status = reader(path, "status")
    before = status.source.stamp()
    assert status.read() == []
    assert status.notes == []
    path.write_text(json.dumps(FULL))
    assert status.source.stamp() != before
    assert len(status.read()) == 1


def test_the_same_status_is_told_once_even_after_a_restart(path: Path, reader):
    path.write_text(json.dumps(FULL))
    status = reader(path, "status")
    assert len(status.read()) == 1
    status.restart()
    batch = status.batch()
    assert (batch.observations, batch.status) == ((), None)


def test_an_atomic_replacement_of_the_same_size_moves_the_stamp(path: Path, reader):
    path.write_text('{"step": 1}')
    status = reader(path, "status")
    before = status.source.stamp()
    path.with_suffix(".tmp").write_text('{"step": 2}')
    path.with_suffix(".tmp").replace(path)
    assert status.source.stamp() != before


def test_a_file_written_just_now_is_looked_at_again(path: Path, reader):
    """A second write in the same tick of the clock leaves size and mtime as they were."""
    path.write_text('{"step": 1, "loss": 1.0}')
    status = reader(path, "status")
    now = path.stat().st_mtime
    status.read(now)
    before = status.source.stamp()
    assert status.source.stamp() != before
    status.read(now + 1)
    assert status.source.stamp() == status.source.stamp()


@pytest.mark.parametrize("text", ["", '{"current_step": 5, "lo', "[1]", "null", '"x"', "{" * 3000])
def test_a_malformed_file_is_told_once_after_the_grace_time_and_recovers(path: Path, reader, text: str):
    path.write_text(text)
    status = reader(path, "status")
    for seconds in (0, 1, 2, 4.9):
        stamp = status.source.stamp()
        assert status.read(NOW + seconds) == []
        assert status.notes == []
        assert status.source.stamp() != stamp, "it must be looked at again, though it stays as it is"
    for seconds in (6, 7, 60):
        status.read(NOW + seconds)
    (note,) = status.notes
    assert (note.kind, note.severity) == ("status_unreadable", Severity.WARNING)
    assert status.source.stamp() == status.source.stamp()
    path.write_text(json.dumps(FULL))
    assert len(status.read(NOW + 90)) == 1
    assert "can be read again after 1m 30s" in status.notes[1].message


def test_a_torn_write_that_is_completed_is_no_event(path: Path, reader):
    path.write_text('{"current_step": 5, "lo')
    status = reader(path, "status")
    status.read(NOW)
    path.write_text('{"current_step": 5, "loss": 1.0}')
    assert [row.step for row in status.read(NOW + 0.2)] == [5]
    assert status.notes == []


def test_an_episode_that_was_told_is_not_told_again_after_a_restart(path: Path, reader):
    path.write_text("[]")
    status = reader(path, "status")
    for seconds in (0, 6):
        status.read(NOW + seconds)
    status.restart()
    status.read(NOW + 100)
    assert len(status.notes) == 1


@pytest.mark.parametrize("kind", ["pipe", "folder", "big", "outside"])
def test_what_may_not_be_read_is_one_note(path: Path, reader, tmp_path: Path, kind: str):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "big":
        path.touch()
        os.truncate(path, 10**9)
    else:
        path.symlink_to("/etc/passwd")
    status = reader(path, "status", root=tmp_path)
    for seconds in (0, 3, 6, 9):
        status.read(NOW + seconds)
    assert [note.kind for note in status.notes] == ["status_unreadable"]
    assert "root:" not in status.notes[0].message


@pytest.mark.parametrize("token", ["NaN", "Infinity", "1e999", '"nan"', '"NaN"', "1" + "0" * 400, "9" * 5000])
def test_a_nonfinite_loss_is_data(path: Path, reader, token: str):
    path.write_text('{"status": "training", "current_step": 5, "loss": ' + token + "}")
    (row,) = reader(path, "status").read()
    assert not math.isfinite(row.values["loss"])


@pytest.mark.parametrize("token", ["true", "[0.5]", "{}", '"high"'])
def test_a_loss_that_is_no_number_leaves_the_rest(path: Path, reader, token: str):
    path.write_text('{"current_step": 5, "lr": "0.5", "loss": ' + token + "}")
    (row,) = reader(path, "status").read()
    assert dict(row.values) == {"learning_rate": 0.5}


def test_a_step_beyond_any_counter_costs_the_row_and_nothing_else(path: Path, reader):
    path.write_text('{"status": "training", "current_step": 9223372036854775808, "loss": 1.0}')
    status = reader(path, "status")
    assert status.read() == []
    assert status.status.state is RunState.RUNNING


def test_a_state_without_a_step_is_reported(path: Path, reader):
    path.write_text('{"status": "crashed", "error_type": "OOM", "error_message": "CUDA out of memory\\ud800\\u0000"}')
    status = reader(path, "status")
    assert status.read() == []
    report = status.status
    assert (report.state, report.error_type) == (RunState.FAILED, "OOM")
    assert report.error_message == "CUDA out of memory\\ud800\\x00"


def test_an_unknown_word_is_kept_without_a_state(path: Path, reader):
    path.write_text('{"status": "meditating", "step": 3, "loss": 1.0}')
    status = reader(path, "status")
    status.read()
    assert (status.status.state, status.status.word) == (None, "meditating")


@pytest.mark.parametrize("word", ["idle", "initialized"])
def test_zeros_before_the_first_step_are_no_measurement(path: Path, reader, word: str):
    path.write_text(json.dumps({"status": word, "current_step": 0, "loss": 0.0}))
    assert reader(path, "status").read() == []


def test_a_loss_of_zero_at_step_zero_is_a_placeholder_and_later_it_is_data(path: Path, reader):
    path.write_text('{"status": "training", "current_step": 0, "loss": 0.0, "learning_rate": 0.0}')
    status = reader(path, "status")
    assert [dict(row.values) for row in status.read()] == [{"learning_rate": 0.0}]
    path.write_text('{"status": "training", "current_step": 10, "loss": 0.0}')
    assert [dict(row.values) for row in status.read()] == [{"loss": 0.0}]


def test_without_a_timestamp_the_file_says_when(path: Path, reader):
    path.write_text('{"current_step": 5, "loss": 1.0, "timestamp": "soon"}')
    os.utime(path, (NOW - 3600, NOW - 3600))
    (row,) = reader(path, "status").read(NOW)
    assert (row.at, row.timed) == (NOW - 3600, False)


def test_a_new_status_without_a_timestamp_is_timed_by_its_writing(path: Path, reader):
    path.write_text('{"current_step": 5, "loss": 1.0}')
    status = reader(path, "status")
    status.read(NOW)
    path.write_text('{"current_step": 6, "loss": 1.0}')
    os.utime(path, (NOW + 4, NOW + 4))
    (row,) = status.read(NOW + 5)
    assert (row.at, row.timed) == (NOW + 4, True)


def test_a_clock_slightly_ahead_is_now(path: Path, reader):
    path.write_text(json.dumps({"step": 5, "loss": 1.0, "timestamp": NOW + 1800}))
    assert reader(path, "status").read(NOW)[0].at == NOW


def test_a_detail_file_gives_metrics_and_samples_but_does_not_speak_for_the_run(path: Path, reader):
    record = {"status": "training", "step": 7, "train_loss": 1.0, "golden": "a", "predicted": "b", "gpu_memory": "2GB"}
    path.write_text(json.dumps(record | {"prompt": {"messages": [{"role": "user", "content": "q"}]}}))
    detail = reader(path, "status", state=False)
    (row,) = detail.read()
    assert dict(row.values) == {"loss": 1.0, "gpu_memory_mb": 2048.0}
    assert (detail.status.state, detail.status.word, detail.status.raw) == (None, "", b"")
    assert detail.status.extras["golden_answer"] == "a"
    assert detail.status.extras["current_prompt"]["messages"][0]["content"] == "q"


def test_extras_are_bounded(path: Path, reader):
    record = {f"k{n}": "x" * 10_000 for n in range(500)} | {"step": 1, "loss": 1.0}
    path.write_text(json.dumps(record))
    status = reader(path, "status")
    status.read()
    assert len(json.dumps(status.status.extras)) < 300_000


def test_everything_told_can_be_stored_as_utf_8(path: Path, reader):
    path.write_bytes(b'{"step": 1, "loss": 1.0, "note\\ud800": "\\ud800", "model_name": "caf\xe9", "\\ud801": 2.0}')
    status = reader(path, "status")
    rows = status.read()
    texts = [*rows[0].values, *status.status.extras, json.dumps(status.status.extras), status.status.model_name]
    assert all(text.encode() for text in texts)
