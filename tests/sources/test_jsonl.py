from __future__ import annotations

import itertools
import json
import math
import os
import time
from pathlib import Path

import pytest

from smartmon.records import RunState, Severity

NOW = 2_000_000_000.0


def write(path: Path, *rows: object, mode: str = "a") -> Path:
    with path.open(mode) as file:
        file.writelines((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "training_log.jsonl"


def test_rows_are_read_as_they_come(path: Path, reader):
    write(path, {"step": 1, "loss": 2.0, "aux_loss": None, "grad_norm": math.nan, "timestamp": NOW - 5})
    log = reader(path)
    (row,) = log.read()
    assert (row.step, row.at, row.timed, row.nulls) == (1, NOW - 5, True, frozenset({"aux_loss"}))
    assert math.isnan(row.values["grad_norm"])
    write(path, {"step": 2, "loss": 1.9, "timestamp": NOW - 4})
    assert [row.step for row in log.read()] == [2]
    assert log.read() == []


def test_bad_lines_are_left_out_and_counted_without_spam(path: Path, reader):
    log = reader(path)
    for n in range(30):
        write(path, {"step": n, "loss": 1.0}, '{"step": 1, "lo', "", "Traceback")
        assert [row.step for row in log.read()] == [n]
    counts = [note.data["bad_lines"] for note in log.notes]
    assert counts == [2, 10]
    assert "2 lines could not be read" in log.notes[0].message


def test_rows_without_a_step_say_nothing(path: Path, reader):
    write(path, {"event": "config", "lr": 1e-6}, {"step": 0, "loss": 1.0}, {"event": "done"})
    log = reader(path)
    assert [row.step for row in log.read()] == [0]
    assert log.notes == []


def test_a_file_without_steps_is_counted_in_epochs(path: Path, reader):
    write(path, {"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}, {"epoch": 2.5, "loss": 1.0})
    assert [row.step for row in reader(path).read()] == [1, 2]


def test_steps_and_epochs_are_never_mixed(path: Path, reader):
    write(path, {"step": 100, "epoch": 1, "loss": 2.0}, {"epoch": 1, "val_loss": 1.0})
    assert [row.step for row in reader(path).read()] == [100]


def test_a_log_of_evaluations(tmp_path: Path, reader):
    path = write(tmp_path / "eval_log.jsonl", {"step": 0, "eval_loss": 3.0, "eval_perplexity": 20.0, "note": "base"})
    write(path, {"step": 10, "loss": 2.5})
    rows = reader(path).read()
    assert [dict(row.values) for row in rows] == [{"eval_loss": 3.0, "eval_perplexity": 20.0}, {"eval_loss": 2.5}]


def test_errors_become_notes_and_the_traceback_stays_out_of_the_message(tmp_path: Path, reader):
    row = {"timestamp": NOW - 9, "error_type": "NaNLoss", "error_message": "loss is nan\nmore", "step": 1200}
    path = write(tmp_path / "error_log.jsonl", row | {"epoch": 0.5, "traceback": "Traceback\n" * 5000})
    log = reader(path)
    assert log.read() == []
    (note,) = log.notes
    assert (note.kind, note.severity) == ("warning", Severity.WARNING)
    assert note.message == "the trainer logged NaNLoss: loss is nan at step 1,200"
    assert (note.data["step"], note.data["at"], note.data["error_type"]) == (1200, NOW - 9, "NaNLoss")
    assert 1000 < len(note.data["traceback"]) <= 8000


def test_a_flood_of_errors_is_bounded(tmp_path: Path, reader):
    path = write(tmp_path / "error_log.jsonl", *({"error_type": "NaNLoss", "step": n} for n in range(400)))
    log = reader(path)
    log.read()
    assert len(log.notes) == 101
    assert log.notes[-1].message.endswith("holds 300 more errors")


def test_expert_usage_is_one_metric_per_expert(tmp_path: Path, reader):
    layers = {
        "layer_0": {"expert_counts": {"expert_0": 1}, "expert_percentages": {"expert_0": 25.0, "expert_1": 75.0}},
        "layer_1": {"expert_counts": {"expert_0": 1, "expert_1": 3}},
        "layer_2": "none",
    }
    path = write(tmp_path / "expert_usage_log.jsonl", {"step": 100, "timestamp": NOW, "expert_usage": layers})
    (row,) = reader(path).read()
    assert row.values == {
        "expert_usage/layer_0/expert_0": 25.0,
        "expert_usage/layer_0/expert_1": 75.0,
        "expert_usage/layer_1/expert_0": 25.0,
        "expert_usage/layer_1/expert_1": 75.0,
    }


def test_expert_usage_is_bounded(tmp_path: Path, reader):
    layers = {f"layer_{n}": {"expert_counts": {f"expert_{m}": 1 for m in range(128)}} for n in range(60)}
    path = write(tmp_path / "expert_usage_log.jsonl", {"step": 1, "expert_usage": layers})
    assert len(reader(path).read()[0].values) == 1024


def test_llama_factory(tmp_path: Path, reader):
    path = tmp_path / "trainer_log.jsonl"
    row = {"current_steps": 5, "total_steps": 10, "loss": 2.3, "lr": 1e-6, "epoch": 0.5, "percentage": 50.0}
    write(path, row | {"elapsed_time": "0:32:48", "remaining_time": "9 days, 21:39:23", "vram_allocated": 2.0})
    log = reader(path)
    (found,) = log.read()
    assert log.status is None
    assert (found.step, found.values["total_steps"], found.values["eta_seconds"]) == (5, 10.0, 855563.0)
    assert found.values["gpu_memory_mb"] == 2048.0
    assert found.values["percentage"] == 50.0
    write(path, {"current_steps": 10, "total_steps": 10, "epoch": 1.0, "percentage": 100.0, "elapsed_time": "1:00:00"})
    assert log.read() == []
    assert (log.status.state, log.status.step, log.status.total_steps) == (RunState.COMPLETED, 10, 10)


def test_llama_factory_writes_progress_without_loss_when_it_predicts(tmp_path: Path, reader):
    path = write(tmp_path / "trainer_log.jsonl", {"current_steps": 5, "total_steps": 10, "percentage": 50.0})
    log = reader(path)
    assert (log.read(), log.status) == ([], None)


def test_the_other_schema_of_llama_factory(tmp_path: Path, reader):
    row = {"step": 5, "total_steps": 10, "loss": 2.3, "grad_norm": 1.0, "learning_rate": 1e-6, "epoch": 0.5}
    (found,) = reader(write(tmp_path / "trainer_log.jsonl", row)).read()
    assert (found.step, found.values["grad_norm"], found.values["total_steps"]) == (5, 1.0, 10.0)


def test_ms_swift_and_its_summary(tmp_path: Path, reader):
    path = write(tmp_path / "logging.jsonl", {"loss": 2.0, "global_step/max_steps": "37/1000", "memory(GiB)": 1.0})
    write(path, {"train_runtime": 9.0, "train_loss": 1.5, "global_step/max_steps": "1000/1000"})
    log = reader(path)
    assert [(row.step, row.values["total_steps"]) for row in log.read()] == [(37, 1000.0)]
    assert (log.status.state, log.status.step) == (RunState.COMPLETED, 1000)


def test_rows_after_a_summary_mean_that_the_run_goes_on(tmp_path: Path, reader):
    path = write(
        tmp_path / "logging.jsonl", {"train_runtime": 9.0, "train_loss": 1.5, "step": 10}, {"step": 11, "loss": 1}
    )
    log = reader(path)
    assert [row.step for row in log.read()] == [11]
    assert log.status is None


def test_verl_wraps_its_metrics(tmp_path: Path, reader):
    path = write(tmp_path / "x.jsonl", {"step": 3, "data": {"actor/pg_loss": 0.1, "critic/score/mean": 0.5}})
    assert dict(reader(path).read()[0].values) == {"actor/pg_loss": 0.1, "critic/score/mean": 0.5}


def test_an_old_log_without_timestamps_dates_old_and_ends_at_its_mtime(path: Path, reader):
    write(path, *({"step": n, "loss": 1.0} for n in range(100)))
    (path.parent / "config.json").touch()
    for name, age in (("config.json", 7200), ("training_log.jsonl", 3600), (".", 3600)):
        os.utime(path.parent / name, (NOW - age, NOW - age))
    rows = reader(path).read(NOW)
    assert rows[-1].at == NOW - 3600
    assert NOW - 7200 <= rows[0].at < NOW - 7100
    assert all(a.at <= b.at for a, b in itertools.pairwise(rows))
    assert not any(row.timed for row in rows)


def test_a_young_log_without_timestamps_dates_young(path: Path, reader):
    write(path, *({"step": n, "loss": 1.0} for n in range(100)))
    now = time.time()
    assert all(now - 60 < row.at <= now for row in reader(path).read(now))


def test_a_single_new_row_of_a_live_file_is_timed(path: Path, reader):
    write(path, {"step": 1, "loss": 1.0})
    log = reader(path)
    os.utime(path, (NOW, NOW))
    log.read(NOW)
    write(path, {"step": 2, "loss": 1.0})
    os.utime(path, (NOW + 30, NOW + 30))
    (row,) = log.read(NOW + 31)
    assert (row.at, row.timed) == (NOW + 30, True)


def test_rows_missed_while_nobody_looked_lie_between_the_last_look_and_the_last_write(path: Path, reader):
    write(path, {"step": 1, "loss": 1.0})
    os.utime(path, (NOW, NOW))
    log = reader(path)
    log.read(NOW)
    log.restart()
    write(path, *({"step": n, "loss": 1.0} for n in range(2, 12)))
    os.utime(path, (NOW + 1000, NOW + 1000))
    rows = log.read(NOW + 5000)
    assert NOW < rows[0].at < rows[-2].at < rows[-1].at == NOW + 1000
    assert [row.timed for row in rows] == [False] * 9 + [True]


def test_estimates_run_on_smoothly_over_batches(path: Path, reader):
    write(path, *({"step": n, "loss": 1.0} for n in range(12_000)))
    os.utime(path, (NOW - 100, NOW - 100))
    os.utime(path.parent, (NOW - 12_100, NOW - 12_100))
    at = [row.at for row in reader(path).read(NOW)]
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert min(gaps) > 0.5
    assert max(gaps) < 2.0


def test_an_unreadable_log_is_one_note_and_recovers(path: Path, reader):
    path.mkdir()
    log = reader(path)
    for seconds in (0, 3, 6, 9):
        stamp = log.source.stamp()
        log.read(NOW + seconds)
        assert seconds > 3 or log.source.stamp() != stamp
    assert [note.message for note in log.notes] == ["training_log.jsonl is a directory, not a regular file"]
    path.rmdir()
    write(path, {"step": 1, "loss": 1.0})
    assert [row.step for row in log.read(NOW + 10)] == [1]


def test_a_byte_order_mark_is_no_part_of_the_first_line(path: Path, reader):
    path.write_bytes(b'\xef\xbb\xbf{"step": 1, "loss": 1.0}\r\n')
    assert [row.step for row in reader(path).read()] == [1]


def test_too_many_names_are_told_once(path: Path, reader):
    log = reader(path)
    write(path, *({"step": n, f"loss_{n}": 1.0} for n in range(1100)))
    log.read()
    write(path, {"step": 1101, "another": 1.0})
    log.read()
    assert [note.message for note in log.notes] == [
        "training_log.jsonl has too many different metric names; new ones are left out"
    ]


def test_a_long_log_comes_in_batches_of_bounded_size(path: Path, reader):
    row = '{"step": %d, "loss": 2.5, "learning_rate": 1e-4, "grad_norm": 1.0, "timestamp": 1700000000.0}\n'
    path.write_text("".join(row % n for n in range(100_000)))
    log, seen = reader(path), 0
    while True:
        batch = log.batch()
        assert len(batch.observations) <= 5000
        seen += len(batch.observations)
        if not batch.more:
            break
    assert seen == 100_000
