"""What may be copied for room, and what may not."""

from __future__ import annotations

from pathlib import Path

from smartmon.snapshots.room import Limits, Need, lacking

ALL = Limits(min_free_percent=100, min_free_least=10**18, min_free_most=10**18, max_bytes=None)
NONE = Limits(min_free_percent=0, min_free_least=0, min_free_most=0, max_bytes=None)


def test_a_copy_is_refused_where_the_disk_must_keep_more_than_it_has(tmp_path: Path):
    assert "must stay free on this disk" in lacking(tmp_path, Need(1, 1, 0), ALL)


def test_a_record_without_files_is_made_on_the_fullest_disk(tmp_path: Path):
    assert lacking(tmp_path, Need(0, 0, 0), ALL) == ""


def test_the_trainer_s_next_two_saves_come_first(tmp_path: Path):
    assert "for the trainer's next saves" in lacking(tmp_path, Need(1, 1, 10**18), NONE)
    assert lacking(tmp_path, Need(1, 1, 10), NONE) == ""
