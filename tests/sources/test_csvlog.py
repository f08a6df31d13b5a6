from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartmon.sources import SourceSpec, open_source
from smartmon.sources.csvlog import recognises

NOW = 2_000_000_000.0


def append(path: Path, *lines: str, end: str = "\r\n") -> Path:
    with path.open("ab") as file:
        file.write("".join(line + end for line in lines).encode())
    return path


def rewrite(path: Path, names: list[str], rows: list[dict[str, object]]) -> Path:
    """As Lightning does when a key appears: truncated and written in place."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted(names))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.csv"


def values(rows: list) -> list[tuple[int, dict[str, float]]]:
    return [(row.step, dict(row.values)) for row in rows]


def test_an_empty_cell_is_absent_and_train_and_val_rows_of_one_step_are_both_read(path: Path, reader):
    append(path, "epoch,lr-AdamW,step,train_loss_epoch,train_loss_step,val_loss")
    append(path, "0,,49,,2.5,", ",0.001,49,,,", "0,,49,2.75,,", "0,,49,,,3.0")
    log = reader(path, "csv")
    assert values(log.read()) == [
        (49, {"epoch": 0.0, "loss": 2.5}),
        (49, {"learning_rate": 0.001}),
        (49, {"epoch": 0.0, "train_loss_epoch": 2.75}),
        (49, {"epoch": 0.0, "eval_loss": 3.0}),
    ]
    assert log.source.account.dialect == "Lightning"
    assert log.source.account.metrics["train_loss_step"] == "loss"


def test_rows_are_read_as_they_come_and_a_torn_line_waits(path: Path, reader):
    append(path, "step,loss", "1,2.5")
    log = reader(path, "csv")
    assert [row.step for row in log.read()] == [1]
    append(path, "2,2.", end="")
    assert log.read() == []
    append(path, "25", "3,2.0")
    assert values(log.read()) == [(2, {"loss": 2.25}), (3, {"loss": 2.0})]


def test_a_file_rewritten_with_a_new_column_tells_only_what_is_new(path: Path, reader):
    rows: list[dict[str, object]] = [{"step": n, "train_loss": 1 / (n + 1)} for n in range(100)]
    rewrite(path, ["step", "train_loss"], rows)
    log = reader(path, "csv")
    assert len(log.read()) == 100
    for name in ("aux", "val_loss", "zeta"):
        rows.append({"step": len(rows), "train_loss": 0.5, name: 1.0})
        rewrite(path, list({key for row in rows for key in row}), rows)
        log.restart()
        (row,) = log.read()
        assert row.step == rows[-1]["step"]
    append(path, "1.0,103,0.25,,")
    assert [row.step for row in log.read()] == [103]
    assert log.notes == []


def test_a_file_seen_half_rewritten_is_neither_repeated_nor_a_new_story(path: Path, reader):
    rows: list[dict[str, object]] = [{"step": n, "train_loss": 1 / (n + 1)} for n in range(40)]
    log = reader(rewrite(path, ["step", "train_loss"], rows), "csv")
    log.read()
    rows.append({"step": 40, "train_loss": 0.1, "val_loss": 0.2})
    whole = rewrite(path, ["step", "train_loss", "val_loss"], rows).read_bytes()
    found = []
    for length in (0, 5, 30, 31, 200, len(whole) - 3, len(whole)):
        path.write_bytes(whole[:length])
        log.restart()
        stamp = log.source.stamp()
        found += log.read()
        assert length > 200 or log.source.stamp() != stamp
    assert [row.step for row in found] == [40]
    assert log.notes == []


def test_a_new_run_over_the_same_file_is_read_from_its_start(path: Path, reader):
    rewrite(path, ["step", "loss"], [{"step": n, "loss": 2.0 + n} for n in range(50)])
    log = reader(path, "csv")
    log.read()
    rewrite(path, ["step", "loss"], [{"step": n, "loss": 3.0 + n} for n in range(3)])
    assert [(row.step, row.values["loss"]) for row in log.read()] == [(0, 3.0), (1, 4.0), (2, 5.0)]
    assert [note.kind for note in log.notes] == ["source_truncated"]
    append(path, "6.0,3")
    assert [row.step for row in log.read()] == [3]


def test_a_file_resumed_from_an_earlier_row_is_read_from_where_it_differs(path: Path, reader):
    rows = [{"step": n, "loss": 2.0 + n} for n in range(50)]
    log = reader(rewrite(path, ["step", "loss"], rows), "csv")
    log.read()
    rewrite(path, ["step", "loss"], [*rows[:40], *({"step": n, "loss": 9.0 + n} for n in range(40, 60))])
    found = log.read()
    assert (found[0].step, found[-1].step) == (32, 59)
    assert "from its row 33" in log.notes[0].message


def test_a_file_that_stays_cut_short_goes_on_from_there(path: Path, reader):
    rows = [{"step": n, "loss": 2.0 + n} for n in range(50)]
    log = reader(rewrite(path, ["step", "loss"], rows), "csv")
    log.read()
    rewrite(path, ["step", "loss"], rows[:10])
    assert log.read(NOW) == []
    assert log.read(NOW + 6) == []
    append(path, "1.5,10")
    assert [row.step for row in log.read(NOW + 7)] == [10]


def test_a_copy_that_replaces_the_file_is_the_same_story(path: Path, reader):
    append(path, "step,loss", *(f"{n},{n}.5" for n in range(20)))
    log = reader(path, "csv")
    log.read()
    copy = path.with_suffix(".part")
    copy.write_bytes(path.read_bytes() + b"20,1.0\r\n")
    copy.replace(path)
    assert [row.step for row in log.read()] == [20]
    assert log.notes == []


YOLO = ["epoch", "train/box_loss", "train/cls_loss", "train/dfl_loss", "metrics/precision(B)", "metrics/mAP50(B)"]
YOLO += ["metrics/mAP50-95(B)", "val/box_loss", "val/cls_loss", "val/dfl_loss", "lr/pg0", "lr/pg1"]


def test_the_padded_table_of_yolo(tmp_path: Path, reader):
    cells = [0, 1.5, 3.25, 1.25, 0.1, 0.5, 0.25, 1, 2, "nan", 0.01, 0.02]
    lines = [",".join(f"{cell:>23}" for cell in row) for row in (YOLO, cells)]
    (row,) = reader(append(tmp_path / "results.csv", *lines, end="\n"), "csv").read()
    assert row.step == 0
    assert (row.values["loss"], row.values["train/box_loss"], row.values["learning_rate"]) == (6.0, 1.5, 0.01)
    assert row.values["eval_accuracy"] == row.values["metrics/mAP50(B)"] == 0.5
    assert math.isnan(row.values["eval_loss"])
    assert row.values["lr/pg1"] == 0.02


def test_the_newer_table_of_yolo_has_a_stopwatch(tmp_path: Path, reader):
    path = append(tmp_path / "results.csv", "epoch,time,train/box_loss,train/obj_loss,metrics/recall,x/lr0")
    (row,) = reader(append(path, "1,12.5,0.5,0.25,0.1,0.1"), "csv").read()
    assert (row.step, row.values["time"], row.values["loss"], row.values["learning_rate"]) == (1, 12.5, 0.75, 0.1)


def test_no_loss_is_made_up_outside_of_yolo(path: Path, reader):
    append(path, "step,train/policy_loss,train/value_loss", "1,0.5,0.25")
    assert values(reader(path, "csv").read()) == [(1, {"train/policy_loss": 0.5, "train/value_loss": 0.25})]


def test_deepspeed_repeats_its_header_after_a_restart(tmp_path: Path, reader):
    path = append(tmp_path / "Train_Samples_lr.csv", "step,lr", "64,0.001", "128,0.002", "step,lr", "64,0.001")
    log = reader(path, "csv")
    assert [(row.step, row.values["learning_rate"]) for row in log.read()] == [(64, 0.001), (128, 0.002), (64, 0.001)]
    assert "samples" in log.source.account.dialect


def test_the_file_name_tells_an_evaluation_of_deepspeed(tmp_path: Path, reader):
    path = append(tmp_path / "Validation_Samples_loss.csv", "step,loss", "64,0.5")
    assert values(reader(path, "csv").read()) == [(64, {"eval_loss": 0.5})]


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("training_iteration,timesteps_total,episode_reward_mean", "3,12000,1.5", (3, "episode_reward_mean", 1.5)),
        ("rollout/ep_rew_mean,time/iterations,time/total_timesteps,train/loss", "1.5,2,4096,0.5", (4096, "loss", 0.5)),
        ("epoch,accuracy,loss,val_accuracy,val_loss", "3,0.5,0.5,0.5,0.25", (3, "eval_loss", 0.25)),
        ("\ufeffstep;loss", "3;0,5", (3, "loss", 0.5)),
        ("loss\tlr\tstep", "\t0.5\t3", (3, "learning_rate", 0.5)),
        ('"step","train loss, raw","loss"', '3,"1,5",0.5', (3, "loss", 0.5)),
        ("# step,loss", "3.0,0.5", (3, "loss", 0.5)),
        ("step,loss,", "3,0.5,", (3, "loss", 0.5)),
        ("Step,Loss", '"3","tensor(0.5000, device=\'cuda:0\')"', (3, "loss", 0.5)),
        ("iter,train/loss,train/step_loss", "3,1.5,0.5", (3, "loss", 0.5)),
        ("step,accuracy_percent", "3,45", (3, "accuracy", 45.0)),
    ],
)
def test_other_tables(path: Path, reader, header: str, row: str, expected: tuple[int, str, float]):
    found = reader(append(path, header, "", row), "csv").read()
    step, metric, value = expected
    assert (found[0].step, found[0].values[metric]) == (step, value)


def test_a_table_without_steps_is_counted_in_epochs_and_the_two_are_never_mixed(tmp_path: Path, reader):
    append(tmp_path / "a.csv", "epoch,step,loss", "1,,2.0", "2,,1.0", "2.5,,1.0")
    append(tmp_path / "b.csv", "epoch,step,loss", "1,100,2.0", "2,,1.0")
    assert [row.step for row in reader(tmp_path / "a.csv", "csv").read()] == [1, 2]
    assert [row.step for row in reader(tmp_path / "b.csv", "csv").read()] == [100]


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan", " NAN ", '"nan"', "inf", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_data(path: Path, reader, word: str):
    append(path, "step,loss", f"1,{word}")
    assert not math.isfinite(reader(path, "csv").read()[0].values["loss"])


def test_what_is_no_number_is_left_out(path: Path, reader):
    append(path, "step,loss,optimizer,flag,id", "1,0.5,adamw,True,1_000", "x,0.5,adamw,True,1", "2,,adamw,None,-")
    log = reader(path, "csv")
    assert values(log.read()) == [(1, {"loss": 0.5})]
    assert log.source.account.ignored["rows without a metric"][0] == 1


def test_a_quoted_cell_may_span_lines_and_reads(path: Path, reader):
    append(path, "step,sample,loss", '1,"one, two', 'and ""three""', end="\n")
    log = reader(path, "csv")
    assert log.read() == []
    log.restart()
    append(path, 'end",0.5', "2,,0.25", end="\n")
    assert values(log.read()) == [(1, {"loss": 0.5}), (2, {"loss": 0.25})]


def test_a_quotation_mark_that_is_never_closed_does_not_swallow_the_file(path: Path, reader):
    append(path, "step,sample,loss", '1,"open,0.5', *(f"{n},,0.5" for n in range(2, 20_000)))
    assert len(reader(path, "csv").read()) > 10_000


def test_two_kinds_of_row_in_one_file_are_told_apart_and_columns_added_at_the_end_are_not(tmp_path: Path, reader):
    strangers = append(tmp_path / "a.csv", "epoch,loss", "0,1.0", "0,5.0,6.0,7.0", "1,0.5", "1,5.0,6.0,7.0", "2")
    assert [row.values["loss"] for row in reader(strangers, "csv").read()] == [1.0, 0.5]
    added = append(tmp_path / "b.csv", "epoch,loss", "0,1.0", "1,0.5,9", "2,0.25,9", "3,0.125,9")
    assert [row.step for row in reader(added, "csv").read()] == [0, 2, 3]


def test_a_second_header_changes_the_columns(path: Path, reader):
    append(path, "step,loss", "1,0.5", "step,grad_norm,loss", "1,3.0,0.25")
    assert values(reader(path, "csv").read()) == [(1, {"loss": 0.5}), (1, {"grad_norm": 3.0, "loss": 0.25})]


def test_a_file_without_a_header_is_told_once(path: Path, reader):
    append(path, *(f"{n},0.5" for n in range(300)))
    log = reader(path, "csv")
    assert log.read() == []
    log.restart()
    append(path, *(f"{n},0.5" for n in range(300)))
    log.read()
    assert ["no header" in note.message for note in log.notes] == [True]


def test_rows_of_a_live_table_are_dated_by_its_writing_and_those_of_w_and_b_by_themselves(tmp_path: Path, reader):
    path = append(tmp_path / "metrics.csv", "step,loss", "1,0.5")
    os.utime(path, (NOW, NOW))
    log = reader(path, "csv")
    log.read(NOW)
    append(path, "2,0.5")
    os.utime(path, (NOW + 30, NOW + 30))
    (row,) = log.read(NOW + 31)
    assert (row.at, row.timed) == (NOW + 30, True)
    export = append(tmp_path / "history.csv", "_runtime,_step,_timestamp,iter,loss", "1.5,3,1763000000.5,30.0,0.5")
    (row,) = reader(export, "csv").read()
    assert (row.step, row.at, row.timed) == (3, 1763000000.5, True)


def test_a_long_table_comes_in_batches_of_bounded_size_with_a_small_cursor(path: Path, reader):
    path.write_text("step,loss,lr\n" + "".join(f"{n},{1 + 1 / (n + 1)},0.001\n" for n in range(20_000)))
    log, seen = reader(path, "csv"), 0
    while True:
        batch = log.batch()
        assert len(batch.observations) <= 5000
        assert len(str(batch.cursor)) < 1500
        seen += len(batch.observations)
        if not batch.more:
            break
    assert seen == 20_000


CHUNKS = b"epoch,step,train_loss,val_loss\r\n" + b"".join(
    b"%d,%d,%s,%s\r\n" % (n // 4, n, b"0.%d" % n if n % 4 else b"", b"" if n % 4 else b'"1.%d"' % n) for n in range(40)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(CHUNKS)), max_size=6).map(sorted))
def test_the_rows_do_not_depend_on_when_the_file_was_read(path: Path, reader, cuts: list[int]):
    path.unlink(missing_ok=True)
    found, log = [], reader(path, "csv")
    for begin, end in zip([0, *cuts], [*cuts, len(CHUNKS)]):
        with path.open("ab") as file:
            file.write(CHUNKS[begin:end])
        log.restart()
        found += log.read()
    assert values(found) == [
        (n, {"epoch": n // 4, **({"loss": float(f"0.{n}")} if n % 4 else {"eval_loss": float(f"1.{n}")})})
        for n in range(40)
    ]
    assert log.notes == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.text('step,loss"\n;\t#1.0na\r\0é', max_size=30) | st.sampled_from(["step,loss\n", "1,2\n"])))
def test_no_content_breaks_the_reader(path: Path, reader, data: list[str]):
    path.write_bytes("".join(data).encode())
    recognises(path.read_bytes(), path)
    for row in reader(path, "csv").read():
        assert all(isinstance(value, float) for value in row.values.values())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.csv", "step,loss\r\n1,0.5\r\n", "its header names step and loss"),
        ("metrics.csv", "epoch,step,train_loss\r\n", "its header names step and loss, as Lightning writes it"),
        ("Train_Samples_lr.csv", "step,lr\n64,0.1\n", "its header names step and learning_rate, as DeepSpeed's "),
        ("x.csv", "step,price\n1,2\n", ""),
        ("x.csv", "step,loss\nfirst,second\n", ""),
        ("x.txt", "step 250: train loss 2.1, val loss 2.2\n", ""),
        ("x.jsonl", '{"step": 1, "loss": 0.5}\n', ""),
        ("x.txt", " iteration 10/ 100 | lm loss: 2.3E+00 |\n", ""),
        ("x.csv", "", ""),
    ],
)
def test_a_table_of_training_is_recognised_by_its_header(name: str, content: str, reason: str):
    found = recognises(content.encode(), Path(name))
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_columns_mean_what_the_config_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("tick,ce,other\n10,2.5,7\n20,2.4,8\ntick,ce,other\n30,2.3,9\n")
    spec = SourceSpec("mine.csv", "csv", path, options={"keys": {"tick": "step", "ce": "loss"}})
    rows = open_source(spec).read(None, path.stat().st_mtime).observations
    assert [(row.step, dict(row.values)) for row in rows] == [
        (10, {"loss": 2.5, "other": 7.0}),
        (20, {"loss": 2.4, "other": 8.0}),
        (30, {"loss": 2.3, "other": 9.0}),
    ]
