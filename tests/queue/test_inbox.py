"""The inbox: nothing is taken before it is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smartmon.queue import files, inbox
from smartmon.queue.files import copy_new, move_file
from smartmon.queue.inbox import Inbox


def test_a_file_is_whole_when_it_stands_still_between_two_looks(tmp_path: Path):
    box, file = Inbox(tmp_path), tmp_path / "a.jsonl"
    file.write_text("{}\n")
    assert box.look() == []
    file.write_text("{}\n{}\n")
    assert box.look() == []
    assert box.look() == ["a.jsonl"]


def test_a_file_that_is_open_for_writing_waits_however_still_it_stands(tmp_path: Path):
    box = Inbox(tmp_path)
    with (tmp_path / "a.jsonl").open("w") as file:
        file.write("{}\n")
        file.flush()
        assert [box.look() for _ in range(5)] == [[]] * 5
    assert box.look() == ["a.jsonl"]


def test_an_empty_file_waits_for_its_rows_longer(tmp_path: Path):
    (tmp_path / "a.jsonl").touch()
    box = Inbox(tmp_path)
    looks = [bool(box.look()) for _ in range(inbox.LOOKS_IF_EMPTY)]
    assert looks == [False] * (inbox.LOOKS_IF_EMPTY - 1) + [True]


@pytest.mark.parametrize("name", [".a.jsonl", "a.jsonl.part", "a.jsonl.tmp", "a.json", "a.txt", "sub"])
def test_what_is_no_data_stays_where_it_is(tmp_path: Path, name: str):
    (tmp_path / name).mkdir() if name == "sub" else (tmp_path / name).write_text("{}\n")
    box = Inbox(tmp_path)
    assert [box.look(), box.look()] == [[], []]


def test_files_on_their_way_are_no_strangers_and_each_stranger_is_told_once(tmp_path: Path):
    for name in ("a.txt", "b.jsonl", ".hidden", "c.jsonl.part"):
        (tmp_path / name).touch()
    box = Inbox(tmp_path)
    assert [box.strangers(), box.strangers()] == [["a.txt"], []]


def test_a_second_file_of_one_name_gets_a_number(tmp_path: Path):
    source = tmp_path / "a.jsonl"
    source.write_text("{}\n")
    box = tmp_path / "inbox"
    box.mkdir()
    landed = [inbox.land(files.stage(source, box / "a.jsonl"), box, "a") for _ in range(2)]
    assert landed == ["a.jsonl", "a-2.jsonl"]


def test_a_copy_that_its_process_never_finished_is_cleared_away(tmp_path: Path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine, left = tmp_path / f".a.jsonl.{os.getpid()}.part", tmp_path / f".a.jsonl.{gone.pid}.part"
    for path in (mine, left):
        path.touch()
    files.drop_staged(tmp_path)
    assert [mine.exists(), left.exists()] == [True, False]


def test_a_copy_never_writes_over_what_is_there(tmp_path: Path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    target.write_text("old")
    with pytest.raises(FileExistsError):
        copy_new(source, target)
    assert (target.read_text(), {path.name for path in tmp_path.iterdir()}) == ("old", {"a", "b"})


def test_a_link_is_moved_as_what_it_points_to(tmp_path: Path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").mkdir()
    real = tmp_path / "far" / "rows.jsonl"
    real.write_text("{}\n")
    link = tmp_path / "near" / "a.jsonl"
    link.symlink_to("../far/rows.jsonl")
    move_file(link, tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").is_symlink()
    assert (tmp_path / "a.jsonl").read_text() == real.read_text() == "{}\n"
    assert not link.is_symlink()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system")
def test_a_file_moves_to_another_file_system(tmp_path: Path):
    other = Path("/dev/shm") / f"smartmon-test-{os.getpid()}"
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    other.mkdir()
    try:
        (other / "a.jsonl").write_text("{}\n")
        move_file(other / "a.jsonl", tmp_path / "a.jsonl")
        assert (tmp_path / "a.jsonl").read_text() == "{}\n"
        assert list(other.iterdir()) == []
    finally:
        other.rmdir()
