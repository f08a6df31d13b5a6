from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import pytest

from smartmon.sources.tail import CHUNK, Lines, Place, Tail, place_from


class Log:
    """A log, and a tail of it whose place goes through JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tail = Tail(path, max_lines=1000)
        self.place: Place | None = None
        self.notes: list[str] = []

    def write(self, data: bytes, mode: str = "ab") -> None:
        with self.path.open(mode) as file:
            file.write(data)

    def read(self) -> list[bytes]:
        lines = []
        while True:
            found: Lines = self.tail.read(self.place)
            self.place = place_from(json.loads(json.dumps(found.place.data()))) if found.place else None
            lines += [line for _, line in found.lines]
            self.notes += [note.kind for note in found.notes]
            if not found.more:
                return lines

    def restart(self) -> None:
        self.tail = Tail(self.path, max_lines=1000)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log.jsonl")


def test_a_file_that_is_not_there_yet_is_read_when_it_appears(log: Log):
    assert log.read() == []
    log.write(b"a\n")
    assert log.read() == [b"a"]


def test_a_torn_last_line_waits_and_comes_once_and_whole(log: Log):
    log.write(b'a\n{"step": 1')
    assert log.read() == [b"a"]
    assert log.read() == []
    log.write(b"2}\n")
    assert log.read() == [b'{"step": 12}']


def test_crlf_and_blank_lines_are_nothing_special(log: Log):
    log.write(b"a\r\n\r\n\n  \nb\rc\r\nd\n")
    assert log.read() == [b"a", b"b\rc", b"d"]


def test_a_restart_goes_on_where_it_was(log: Log):
    log.write(b"a\nb\n")
    log.read()
    log.write(b"c\n")
    log.restart()
    assert log.read() == [b"c"]


def test_a_long_log_comes_in_bounded_parts(log: Log):
    log.write(b"".join(b"%d\n" % n for n in range(2500)))
    assert [len(log.tail.read(place).lines) for place in (None,)] == [1000]
    assert log.read() == [b"%d" % n for n in range(2500)]


def test_lines_across_chunks_stay_whole(log: Log):
    lines = [b"%06d" % n + b"x" * 5000 for n in range(500)]
    log.write(b"\n".join(lines) + b"\n")
    assert log.read() == lines


def test_rename_rotation_drains_the_old_file_first(log: Log):
    log.write(b"1\n2\n")
    log.read()
    log.write(b"3\n")
    log.path.rename(f"{log.path}.1")
    log.write(b"4\n")
    assert log.read() == [b"3", b"4"]
    assert log.read() == []
    assert log.notes == []


def test_a_line_written_to_the_old_file_after_the_rename_is_not_lost(log: Log):
    log.write(b"1\n2\n")
    log.read()
    with log.path.open("ab") as writer:
        log.path.rename(f"{log.path}.1")
        log.write(b"")
        assert log.read() == []
        before = log.tail.stamp()
        writer.write(b"3\n")
        writer.flush()
        assert log.tail.stamp() != before, "the growth of the renamed file must be seen"
        assert log.read() == [b"3"]
        writer.write(b"4\n5")
    log.write(b"6\n")
    assert log.read() == [b"4", b"5", b"6"]


def test_between_the_rename_and_the_new_file_the_old_one_is_read_on(log: Log):
    log.write(b"1\n")
    log.read()
    log.write(b"2\n")
    log.path.rename(f"{log.path}.1")
    assert log.read() == [b"2"]
    log.write(b"3\n")
    assert log.read() == [b"3"]


def test_two_rotations_while_nobody_looked_lose_nothing(log: Log):
    log.write(b"1\n")
    log.read()
    log.write(b"2\n")
    log.path.rename(f"{log.path}.2")
    log.write(b"3\n4\n")
    log.path.rename(f"{log.path}.1")
    log.write(b"5\n")
    for age, suffix in enumerate(("", ".1", ".2")):
        os.utime(f"{log.path}{suffix}", (1e9 - age, 1e9 - age))
    log.restart()
    assert log.read() == [b"2", b"3", b"4", b"5"]
    assert log.notes == []


def test_a_rotated_file_that_is_gone_is_a_recorded_gap(log: Log):
    log.write(b"1\n2\n")
    log.read()
    other = log.path.with_name("new")
    other.write_bytes(b"7\n")
    other.replace(log.path)
    assert log.read() == [b"7"]
    assert log.notes == ["source_truncated"]


def test_truncation_to_smaller_starts_again_and_says_so(log: Log):
    log.write(b"1\n2\n3\n")
    log.read()
    log.write(b"9\n", "wb")
    assert log.read() == [b"9"]
    assert log.notes == ["source_truncated"]


def test_truncation_is_seen_though_the_file_has_grown_past_the_cursor_again(log: Log):
    log.write(b"".join(b"%04d\n" % n for n in range(10)))
    log.read()
    log.write(b"".join(b"%04d\n" % n for n in range(100, 150)), "wb")
    assert log.read() == [b"%04d" % n for n in range(100, 150)]
    assert log.notes == ["source_truncated"]


def test_a_rewrite_that_keeps_the_beginning_is_seen_by_the_bytes_before_the_cursor(log: Log):
    head = b"".join(b"%04d\n" % n for n in range(300))
    log.write(head + b"aaaa\n" * 50)
    log.read()
    log.write(head + b"bbbb\n" * 60, "wb")
    assert len(log.read()) == 360
    assert log.notes == ["source_truncated"]


def test_copytruncate_reads_what_only_the_copy_has(log: Log):
    lines = b"".join(b"%04d\n" % n for n in range(100))
    log.write(lines)
    log.read()
    log.write(b"last\n")
    Path(f"{log.path}.1").write_bytes(log.path.read_bytes())
    log.write(b"", "wb")
    assert log.read() == [b"last"]
    log.write(b"new\n")
    assert log.read() == [b"new"]
    assert log.notes == ["source_truncated"]


def test_an_endless_line_is_skipped_with_one_note(log: Log):
    log.write(b"a\n")
    with log.path.open("ab") as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)
    tracemalloc.start()
    assert log.read() == [b"a"]
    assert tracemalloc.get_traced_memory()[1] < 8 * CHUNK
    tracemalloc.stop()
    log.write(b"xx\nb\n")
    assert log.read() == [b"b"]
    assert log.notes == ["warning"]


def test_a_line_just_under_the_cap_is_taken(log: Log):
    log.write(b"x" * (CHUNK - 1) + b"\n")
    assert [len(line) for line in log.read()] == [CHUNK - 1]


def test_a_cursor_of_another_version_starts_again():
    assert place_from({"byte": 3}) is None
    assert place_from(None) is None
    assert place_from(Place(1, 2, 3, "a", "b").data()) == Place(1, 2, 3, "a", "b")
