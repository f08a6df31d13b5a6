from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartmon.sources.tensorboard import recognises
from smartmon.sources.tfrecord import masked_crc
from tests.sources import tb_writer as tb

NOW = 2_000_000_000.0
T = 1_763_000_000.0
NAME = "events.out.tfevents.1763000000.host.1.0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "Nov13_12-00-00_host"
    path.mkdir(parents=True)
    return path


def steps(rows: list) -> list[tuple[int, dict[str, float]]]:
    return [(row.step, dict(row.values)) for row in rows]


def still(path: Path, seconds: float = 60.0) -> None:
    """Make a file as old as that, by the reader's clock."""
    os.utime(path, (NOW - seconds, NOW - seconds))


def logged(at: float, step: int, loss: float) -> bytes:
    """What Hugging Face writes at one log: four events in a row."""
    values = {"train/loss": loss, "train/grad_norm": 1.5, "train/learning_rate": 0.5, "train/epoch": 0.25}
    return b"".join(tb.scalar(at + n / 1000, step, *pair) for n, pair in enumerate(values.items()))


def row(step: int, loss: float) -> tuple[int, dict[str, float]]:
    return step, {"loss": loss, "grad_norm": 1.5, "learning_rate": 0.5, "epoch": 0.25}


@pytest.mark.parametrize("data", [b"", b"a", b"123456789", bytes(32), b"\xff" * 33, bytes(range(200))])
def test_the_checksum_is_castagnolis(data: bytes):
    assert masked_crc(data) == tb.masked(data)
    assert tb.crc32c(b"123456789") == 0xE3069283


def test_the_metrics_of_a_step_are_one_row_with_the_trainers_own_time(folder: Path, reader):
    tb.write(folder / NAME, tb.version(T), logged(T + 1, 10, 2.5), tb.scalar(T + 9, 10, "eval/loss", 3.0))
    log = reader(folder, "tensorboard")
    first, second = log.read()
    assert steps([first, second]) == [row(10, 2.5), (10, {"eval_loss": 3.0})]
    assert (first.at, first.timed) == (T + 1, True)
    assert log.source.account.metrics["train/loss"] == "loss"
    tb.write(folder / NAME, logged(T + 11, 20, 2.25))
    assert steps(log.read()) == [row(20, 2.25)]
    assert log.read() == []
    assert log.notes == []


def test_a_single_file_is_read_as_its_folder_is(folder: Path, reader):
    path = tb.write(folder / NAME, tb.version(T), logged(T + 1, 10, 2.5))
    (found,) = reader(path, "tensorboard").read()
    assert (steps([found]), found.source) == ([row(10, 2.5)], NAME)


FLOAT, DOUBLE, INT32, INT64, HALF, BFLOAT = 1, 2, 3, 9, 19, 14


@pytest.mark.parametrize(
    "value",
    [
        tb.simple("x", 2.5),
        tb.content("x", FLOAT, struct.pack("<f", 2.5)),
        tb.content("x", DOUBLE, struct.pack("<d", 2.5)),
        tb.content("x", HALF, struct.pack("<e", 2.5)),
        tb.content("x", BFLOAT, struct.pack("<f", 2.5)[2:]),
        tb.content("x", FLOAT, struct.pack("<f", 2.5), plugin=""),
        tb.content("x", FLOAT, struct.pack("<f", 2.5), shape=tb.block(2, b"\x08\x01")),
        tb.listed("x", FLOAT, tb.block(5, struct.pack("<f", 2.5))),
        tb.listed("x", FLOAT, b"\x2d" + struct.pack("<f", 2.5)),
        tb.listed("x", DOUBLE, tb.block(6, struct.pack("<d", 2.5))),
        tb.listed("x", HALF, tb.block(13, tb.varint(0x4100))),
        tb.listed("x", BFLOAT, b"\x68" + tb.varint(0x4020)),
    ],
)
def test_both_encodings_of_a_scalar_in_every_width(folder: Path, reader, value: bytes):
    events = (tb.summary(T + n, n, value) for n in range(3))
    tb.write(folder / NAME, tb.version(T), *events)
    assert steps(reader(folder, "tensorboard").read()) == [(n, {"x": 2.5}) for n in range(3)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (tb.content("x", INT32, struct.pack("<i", -7)), -7.0),
        (tb.content("x", INT64, struct.pack("<q", 7)), 7.0),
        (tb.listed("x", INT32, tb.block(7, tb.varint(-7))), -7.0),
        (tb.listed("x", INT64, tb.block(10, tb.varint(7))), 7.0),
        (tb.listed("x", FLOAT, b""), 0.0),
        (tb.simple("x", -0.0), 0.0),
    ],
)
def test_whole_numbers_and_zeros(folder: Path, reader, value: bytes, expected: float):
    tb.write(folder / NAME, tb.version(T), tb.summary(T, 1, value))
    assert steps(reader(folder, "tensorboard").read()) == [(1, {"x": expected})]


@given(numbers=st.lists(st.floats(width=32), min_size=2, max_size=6), kind=st.sampled_from(["v1", "v2"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_short_cut_for_known_shapes_gives_every_number(folder: Path, reader, numbers: list[float], kind: str):
    path = folder / NAME
    path.unlink(missing_ok=True)
    for n, number in enumerate(numbers):
        value = tb.simple("loss", number)
        value = value if kind == "v1" else tb.content("loss", FLOAT, struct.pack("<f", number))
        tb.write(path, tb.summary(T + n, 300**n, value))
    found = reader(folder, "tensorboard").read()
    assert [row.step for row in found] == [300**n for n in range(len(numbers))]
    told = [row.values["loss"] for row in found]
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(told, numbers))


def test_several_values_in_one_event_are_one_row(folder: Path, reader):
    tb.write(folder / NAME, tb.version(T), tb.scalars(T, 5, {"loss": 0.5, "lr": 0.25}))
    assert steps(reader(folder, "tensorboard").read()) == [(5, {"loss": 0.5, "learning_rate": 0.25})]


def test_a_tag_told_twice_at_one_step_is_two_rows(folder: Path, reader):
    tb.write(folder / NAME, tb.version(T), *(tb.scalar(T, 0, "loss", n) for n in (3.0, 2.0, 1.0)))
    assert [row.values["loss"] for row in reader(folder, "tensorboard").read()] == [3.0, 2.0, 1.0]


def test_what_is_no_scalar_is_counted_and_left_out(folder: Path, reader):
    text = tb.content("args/text_summary", 7, b"{}", plugin="text")
    histogram = tb.block(1, tb.block(1, b"weights") + tb.block(5, bytes(100)))
    vector = tb.content("pr", FLOAT, bytes(8), plugin="", shape=tb.block(2, b"\x08\x02"))
    graph = tb.record(tb.event(T, 0, tb.block(4, b"graph")))
    tb.write(folder / NAME, tb.version(T), tb.summary(T, 0, text), graph, tb.summary(T, 1, histogram, vector))
    tb.write(folder / NAME, tb.scalar(T, 1, "loss", 0.5))
    log = reader(folder, "tensorboard")
    assert steps(log.read()) == [(1, {"loss": 0.5})]
    assert log.source.account.ignored == {
        "texts": (1, "args/text_summary"),
        "graphs": (1, ""),
        "histograms": (1, "weights"),
        "other summaries": (1, "pr"),
    }


def test_an_event_too_large_for_scalars_is_passed_over(folder: Path, reader):
    image = tb.event(T, 1, tb.block(5, tb.block(1, tb.block(1, b"image") + tb.block(4, bytes(3 << 20)))))
    frame = struct.pack("<Q", len(image))
    frame += struct.pack("<I", tb.masked(frame)) + image + b"none"  # its checksum is never looked at
    tb.write(folder / NAME, tb.version(T), tb.scalar(T, 1, "loss", 0.5), frame, tb.scalar(T + 5, 2, "loss", 0.25))
    log = reader(folder, "tensorboard")
    assert [row.step for row in log.read()] == [1, 2]
    assert log.notes == []


def test_the_better_name_of_two_wins_for_the_whole_file_and_over_a_restart(folder: Path, reader):
    log = reader(folder, "tensorboard")
    events = [tb.scalar(T + n, n, "train_loss_step", 0.5) for n in range(3)]
    tb.write(folder / NAME, tb.version(T), *events, tb.scalar(T + 9, 9, "train_loss", 0.25))
    assert [sorted(row.values) for row in log.read()] == [["loss"]] * 3 + [["train_loss"]]
    log.restart()
    tb.write(folder / NAME, tb.scalar(T + 19, 19, "train_loss", 0.25), tb.scalar(T + 20, 20, "train_loss_step", 0.25))
    assert [sorted(row.values) for row in log.read()] == [["train_loss"], ["loss"]]


def test_the_folder_of_an_evaluation_names_its_loss(tmp_path: Path, reader):
    for name in ("train", "validation"):
        (tmp_path / name).mkdir()
        value = tb.content("epoch_loss", FLOAT, struct.pack("<f", 0.5))
        tb.write(tmp_path / name / f"{NAME}.v2", tb.version(T), tb.summary(T, 1, value))
    assert steps(reader(tmp_path / "train", "tensorboard").read()) == [(1, {"loss": 0.5})]
    assert steps(reader(tmp_path / "validation", "tensorboard").read()) == [(1, {"eval_loss": 0.5})]


def test_files_of_one_folder_are_merged_by_time_and_a_restart_goes_back(folder: Path, reader):
    later = folder / "events.out.tfevents.1763000100.host.2.0"
    tb.write(later, tb.version(T + 100), *(tb.scalar(T + 101 + n, 5 + n, "loss", 0.25) for n in range(3)))
    tb.write(folder / NAME, tb.version(T), *(tb.scalar(T + n, n, "loss", 0.5) for n in range(8)))
    log = reader(folder, "tensorboard")
    assert [row.step for row in log.read()] == [*range(8), 5, 6, 7]
    latest = folder / "events.out.tfevents.1763000200.host.3.0"
    log.read()
    tb.write(latest, tb.version(T + 200), tb.scalar(T + 201, 6, "loss", 0.125))
    assert [row.step for row in log.read()] == [6]
    later.unlink()
    assert log.read() == []
    assert log.notes == []


def test_the_starts_of_one_run_are_one_story_that_goes_back_and_on(folder: Path, reader):
    tb.write(folder / NAME, tb.version(T), *(tb.scalar(T + n, n, "train/loss", 0.5) for n in range(10)))
    log = reader(folder.parent, "tensorboard", starts=True)
    assert [row.step for row in log.read()] == list(range(10))
    resumed = folder.parent / "Nov14_12-00-00_host"
    resumed.mkdir()
    values = (tb.scalar(T + 90 + n, n, "train/loss", 0.25) for n in range(6, 12))
    tb.write(resumed / "events.out.tfevents.1763000090.host.1.0", tb.version(T + 90), *values)
    log.restart()
    rows = log.read()
    assert [row.step for row in rows] == list(range(6, 12))
    assert {row.source for row in rows} == {"runs"}
    assert set(log.cursor["files"]) == {
        f"Nov13_12-00-00_host/{NAME}",
        "Nov14_12-00-00_host/events.out.tfevents.1763000090.host.1.0",
    }


def test_of_two_files_that_write_one_tag_at_once_the_later_is_believed(folder: Path, reader):
    other = folder / "events.out.tfevents.1763000001.host.2.0"
    tb.write(folder / NAME, tb.version(T), *(tb.scalar(T + n, n, "loss", 0.5) for n in range(1, 9)))
    tb.write(folder / NAME, tb.scalar(T + 20, 20, "mine", 1.0))
    tb.write(other, tb.version(T + 3.25), *(tb.scalar(T + n + 0.5, n, "loss", 0.25) for n in range(4, 9)))
    log = reader(folder, "tensorboard")
    assert [row.step for row in log.read()] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 20]
    assert "values of a tag that a later file writes too" in log.source.account.ignored


def test_a_truncated_event_waits(folder: Path, reader):
    whole = logged(T + 1, 10, 2.5)
    path = tb.write(folder / NAME, tb.version(T), whole, logged(T + 9, 20, 2.25)[:-7])
    still(path)
    log = reader(folder, "tensorboard")
    assert [row.step for row in log.read()] == [10, 20]
    assert log.read() == []
    tb.write(path, logged(T + 9, 20, 2.25)[-7:])
    still(path, 50)
    assert steps(log.read()) == [(20, {"epoch": 0.25})]
    assert log.notes == []


def test_space_that_was_given_to_a_file_but_not_written_yet_is_no_damage(folder: Path, reader):
    path = tb.write(folder / NAME, tb.version(T), tb.scalar(T, 1, "loss", 0.5), bytes(4096))
    log = reader(folder, "tensorboard")
    assert [row.step for row in log.read()] == [1]
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 4096)
        file.write(tb.scalar(T + 5, 2, "loss", 0.5))
    assert [row.step for row in log.read()] == [2]
    assert log.notes == []


def test_a_damaged_length_ends_that_file_with_one_note_and_the_others_go_on(folder: Path, reader):
    broken = bytearray(tb.scalar(T + 2, 2, "loss", 0.5))
    broken[3] ^= 1
    path = tb.write(folder / NAME, tb.version(T), tb.scalar(T + 1, 1, "loss", 0.5), broken)
    tb.write(path, tb.scalar(T + 3, 3, "loss", 0.5))
    other = tb.write(folder / "events.out.tfevents.1763000100.host.2.0", tb.version(T + 100))
    log = reader(folder, "tensorboard")
    assert [row.step for row in log.read()] == [1]
    tb.write(path, tb.scalar(T + 4, 4, "loss", 0.5))
    tb.write(other, tb.scalar(T + 101, 5, "loss", 0.5))
    assert [row.step for row in log.read()] == [5]
    log.restart()
    assert log.read() == []
    (note,) = log.notes
    assert "is damaged at byte" in note.message
    mended = path.read_bytes().replace(bytes(broken), tb.scalar(T + 2, 2, "accuracy", 0.5))
    path.write_bytes(mended)
    assert [row.step for row in log.read()] == [2]


def test_an_absurd_length_is_refused(folder: Path, reader):
    length = struct.pack("<Q", 1 << 40)
    tb.write(folder / NAME, tb.version(T), length + struct.pack("<I", tb.masked(length)), bytes(64))
    log = reader(folder, "tensorboard")
    assert log.read() == []
    assert "1099511627776 bytes long" in log.notes[0].message


@pytest.mark.parametrize("broken", [0, 1, 2500, 4998])
def test_an_event_with_damaged_data_is_left_out_and_told(folder: Path, reader, broken: int):
    events = [tb.scalar(T + 2 * n, n, "loss", 0.5) for n in range(5000)]
    bad = bytearray(events[broken])
    bad[-6] ^= 4
    events[broken] = bytes(bad)
    tb.write(folder / NAME, tb.version(T), *events)
    log = reader(folder, "tensorboard")
    assert [row.step for row in log.read()] == [n for n in range(5000) if n != broken]
    assert [note.message.split(":")[1] for note in log.notes] == [
        f" an event is damaged and left out, at byte {log.notes[0].data['offset']:,}"
    ]


def test_a_last_event_with_damaged_data_may_still_be_on_its_way(folder: Path, reader):
    event = tb.scalar(T + 5, 2, "loss", 0.5)
    path = tb.write(folder / NAME, tb.version(T), tb.scalar(T, 1, "loss", 0.5), event[:-10], bytes(10))
    log = reader(folder, "tensorboard")
    assert [row.step for row in log.read()] == [1]
    path.write_bytes(path.read_bytes()[: -len(event)] + event)
    assert [row.step for row in log.read()] == [2]
    assert log.notes == []


def test_the_last_row_of_a_growing_file_waits_until_the_file_is_still(folder: Path, reader):
    path = tb.write(folder / NAME, tb.version(T))
    log = reader(folder, "tensorboard")
    log.read()
    events = [logged(NOW - 9, 10, 2.5)[:60], logged(NOW - 9, 10, 2.5)[60:]]
    for event in events:
        tb.write(path, event)
        still(path, 0.1)
        stamp = log.source.stamp()
        assert log.read(NOW) == []
        assert log.source.stamp() != stamp
        log.restart()
    assert steps(log.read(NOW + 2)) == [row(10, 2.5)]
    assert log.source.stamp() == log.source.stamp()


def test_a_first_look_waits_for_nothing(folder: Path, reader):
    path = tb.write(folder / NAME, tb.version(T), logged(NOW - 9, 10, 2.5))
    still(path, 0.0)
    assert steps(reader(folder, "tensorboard").read(NOW)) == [row(10, 2.5)]


def test_a_file_that_is_copied_over_itself_goes_on_and_another_begins_anew(folder: Path, reader):
    path = tb.write(folder / NAME, tb.version(T), tb.scalar(T + 1, 1, "loss", 0.5))
    log = reader(folder, "tensorboard")
    log.read()
    copy = folder / "copy"
    copy.write_bytes(path.read_bytes() + tb.scalar(T + 5, 2, "loss", 0.5))
    copy.replace(path)
    assert [row.step for row in log.read()] == [2]
    assert log.notes == []
    path.write_bytes(tb.version(T + 50) + tb.scalar(T + 51, 1, "loss", 0.5))
    assert [row.step for row in log.read()] == [1]
    assert [note.kind for note in log.notes] == ["source_truncated"]


def test_a_folder_without_files_and_one_that_vanished_are_nothing_special(folder: Path, reader):
    log = reader(folder, "tensorboard")
    assert log.read() == []
    path = tb.write(folder / NAME, tb.version(T), tb.scalar(T, 1, "loss", 0.5))
    assert [row.step for row in log.read()] == [1]
    path.unlink()
    folder.rmdir()
    assert log.read() == []
    assert log.notes == []


def test_compressed_files_are_in_the_account(folder: Path, reader):
    (folder / f"{NAME}.gz").write_bytes(b"\x1f\x8b")
    log = reader(folder, "tensorboard")
    assert log.read() == []
    assert log.source.account.ignored == {"compressed or unfinished event files": (1, f"{NAME}.gz")}


def test_a_file_that_may_not_be_opened_is_one_note(folder: Path, reader):
    (folder / NAME).mkdir()
    other = tb.write(folder / "events.out.tfevents.1763000100.host.2.0", tb.version(T), tb.scalar(T, 1, "loss", 0.5))
    log = reader(folder, "tensorboard")
    assert [row.step for row in log.read(NOW)] == [1]
    assert log.read(NOW + 6) == log.read(NOW + 9) == []
    assert [NAME in note.message for note in log.notes] == [True]
    (folder / NAME).rmdir()
    tb.write(other, tb.scalar(T + 5, 2, "loss", 0.5))
    assert [row.step for row in log.read(NOW + 12)] == [2]


def test_steps_and_times_that_cannot_be_are_no_ground_for_anything(folder: Path, reader):
    tb.write(folder / NAME, tb.version(math.nan), tb.scalar(T, -5, "loss", 0.5), tb.scalar(math.nan, 1, "loss", 0.5))
    tb.write(folder / NAME, tb.scalar(3.0, 2, "loss", 0.5))
    log = reader(folder, "tensorboard")
    rows = log.read()
    assert [(row.step, row.timed) for row in rows] == [(1, False), (2, False)]
    assert json.dumps(log.cursor, allow_nan=False)
    assert all(row.at == (folder / NAME).stat().st_mtime for row in rows)


def test_many_rows_come_in_batches_of_bounded_size(folder: Path, reader):
    tb.write(folder / NAME, tb.version(T), *(tb.scalar(T + 2 * n, n, "loss", 0.5) for n in range(12_000)))
    log, found = reader(folder, "tensorboard"), []
    while True:
        batch = log.batch()
        assert len(batch.observations) <= 5000
        found += batch.observations
        log.restart()
        if not batch.more:
            break
    assert [row.step for row in found] == list(range(12_000))


STREAM = tb.version(T) + b"".join(
    logged(T + 60 * n, 10 * n, 1.0 / (n + 1)) + tb.scalar(T + 60 * n + 5, 10 * n, "eval/loss", 0.5) for n in range(8)
)
FIRST = len(tb.version(T))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(FIRST, len(STREAM)), max_size=8).map(sorted))
def test_the_rows_do_not_depend_on_when_the_file_was_read(folder: Path, reader, cuts: list[int]):
    path = folder / NAME
    path.unlink(missing_ok=True)
    found, log = [], reader(folder, "tensorboard")
    for begin, end in zip([0, FIRST, *cuts], [FIRST, *cuts, len(STREAM)]):
        tb.write(path, STREAM[begin:end])
        still(path, 0.1)
        log.restart()
        found += log.read(NOW)
    found += log.read(NOW + 60)
    assert steps(found) == [
        pair for n in range(8) for pair in (row(10 * n, pytest.approx(1 / (n + 1))), (10 * n, {"eval_loss": 0.5}))
    ]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.binary(max_size=40) | st.binary(max_size=60).map(tb.record), max_size=6), valid=st.booleans())
def test_no_content_breaks_the_reader(folder: Path, reader, parts: list[bytes], valid: bool):
    path = folder / NAME
    path.unlink(missing_ok=True)
    tb.write(path, tb.version(T) if valid else b"", *parts, tb.scalar(T, 1, "loss", 0.5))
    recognises(path.read_bytes(), path)
    log = reader(folder, "tensorboard")
    rows = log.read()
    assert all(isinstance(value, float) for row in rows for value in row.values.values())


def test_event_files_are_recognised_by_their_framing(folder: Path):
    path = tb.write(folder / "log", tb.version(T))
    assert "brain.Event:2" in recognises(path.read_bytes(), path)
    assert "an event of TensorBoard" in recognises(tb.scalar(T, 1, "loss", 0.5), path)
    assert "it is empty" in recognises(b"", folder / NAME)
    example = tb.record(b"\x0a\x10" + bytes(16))  # a data set's record: framed alike, but no event
    for other in (b"", b'{"step": 1, "loss": 0.5}\n', b"step,loss\n1,2\n" * 9, example, tb.version(T)[:-20]):
        assert recognises(other, path) == ""
