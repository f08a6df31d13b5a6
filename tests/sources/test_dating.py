"""Clocks of other zones: rows that tell hours before or after their file was written."""

from __future__ import annotations

import itertools
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smartmon.sources.dating import Clock, last_line
from tests.sources.conftest import Reader

NOW = 2_000_000_000.0
HOUR = 3600.0


class Log:
    """A log whose writer's clock is off."""

    def __init__(self, path: Path, off: float) -> None:
        self.path = path
        self.off = off

    def write(self, *at: float, mtime: float | None = None) -> None:
        """Append a row for each moment (by our clock)."""
        with self.path.open("a") as file:
            for moment in at:
                written = datetime.fromtimestamp(moment + self.off, UTC).astimezone().replace(tzinfo=None)
                file.write(
                    json.dumps({"step": round(moment - NOW) + 10**6, "loss": 1.0, "timestamp": written.isoformat()})
                )
                file.write("\n")
        os.utime(self.path, (mtime or at[-1] + 1, mtime or at[-1] + 1))


def times(log: Reader, now: float) -> list[float]:
    return [round(row.at - NOW, 3) for row in log.read(now)]


@pytest.mark.parametrize("hours", [-2, 5.5, -9.5, 14, 0.5])
def test_a_row_seen_to_be_written_by_another_zones_clock_is_corrected(tmp_path: Path, reader, hours: float):
    file = Log(tmp_path / "training_log.jsonl", 0)
    file.write(NOW)
    log = reader(file.path)
    assert times(log, NOW + 2) == [0]
    file.off = hours * HOUR
    file.write(NOW + 10, NOW + 25, NOW + 30, mtime=NOW + 65)
    rows = log.read(NOW + 66)
    assert [row.at - NOW for row in rows] == [10, 25, 30]
    assert all(row.timed for row in rows)
    file.write(NOW + 70)
    log.restart()
    assert times(log, NOW + 72) == [70]
    (note,) = log.notes
    side = "ahead of" if hours > 0 else "behind"
    assert f"{side} ours" in note.message
    assert note.data["offset_seconds"] == -hours * HOUR


def test_a_history_read_late_is_corrected_by_its_last_row_and_mtime(tmp_path: Path, reader):
    file = Log(tmp_path / "training_log.jsonl", -2 * HOUR)
    file.write(*(NOW - 90_000 + n * 10 for n in range(9000)))
    log = reader(file.path)
    first = log.batch(NOW + 50_000)
    assert first.more, "the last row is not in the first batch"
    rows = [*first.observations, *log.read(NOW + 50_000)]
    assert (rows[0].at, rows[-1].at) == (NOW - 90_000, NOW - 10)
    assert all(b.at - a.at == 10 for a, b in itertools.pairwise(rows))
    assert len(log.notes) == 1


@pytest.mark.parametrize("age", [7 * HOUR + 400, 40 * HOUR, 3 * HOUR + 50])
def test_a_copy_whose_mtime_says_nothing_is_left_as_it_is(tmp_path: Path, reader, age: float):
    file = Log(tmp_path / "training_log.jsonl", 0)
    file.write(NOW - age, mtime=NOW)
    log = reader(file.path)
    assert times(log, NOW) == [-age]
    assert log.notes == []


def test_rows_that_wait_in_a_buffer_are_no_other_zone(tmp_path: Path, reader):
    file = Log(tmp_path / "training_log.jsonl", 0)
    file.write(NOW)
    log = reader(file.path)
    log.read(NOW + 2)
    file.write(*(NOW + n for n in range(10, 4000, 10)), mtime=NOW + 4000)
    assert times(log, NOW + 4001)[0] == 10
    assert log.notes == []


def test_a_clock_that_is_put_right_is_believed_again(tmp_path: Path, reader):
    file = Log(tmp_path / "training_log.jsonl", -HOUR)
    file.write(NOW)
    log = reader(file.path)
    assert times(log, NOW + 1) == [0]
    file.off = 0
    file.write(NOW + 10)
    assert times(log, NOW + 12) == [10]
    file.off = timedelta(hours=-2).total_seconds()
    file.write(NOW + 20)
    assert times(log, NOW + 22) == [20]
    assert len(log.notes) == 1


def test_a_clock_survives_a_cursor_of_another_version():
    clock = Clock(3600.0, told=True)
    assert Clock.read(json.loads(json.dumps(clock.data()))) == clock
    for data in (None, {}, {"offset": "x", "told": 1}, 3):
        assert Clock.read(data) == Clock()


def test_a_row_without_a_time_teaches_a_clock_nothing():
    clock = Clock()
    clock.learn(None, NOW, live=True)
    assert (clock.offset, clock.moment(None, NOW), clock.note("x")) == (0.0, None, None)


@pytest.mark.parametrize(
    ("text", "line"),
    [(b"", b""), (b"a\nb\n", b"b"), (b"a\nb", b"a"), (b"a", b""), (b"a\n\n", b"a"), (b"x" * 70_000 + b"\n", b"")],
)
def test_the_last_whole_line_of_a_file(tmp_path: Path, text: bytes, line: bytes):
    (tmp_path / "x").write_bytes(text)
    assert last_line(tmp_path / "x") == line
    assert last_line(tmp_path / "none") == b""
