"""inotify as a hint: prompt when it works, harmless when it does not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from smartmon.watcher import Watcher, network_file_system


@pytest.fixture
def woken():
    return threading.Event()


@pytest.fixture
def watcher(woken):
    watcher = Watcher(woken.set)
    yield watcher
    watcher.stop()


def settle(watcher: Watcher, woken: threading.Event, folder: Path) -> None:
    """Swallow what the set-up itself caused."""
    (folder / "probe").write_text("")
    assert woken.wait(5)
    while woken.wait(0.1):
        woken.clear()
    watcher.take()


def test_a_replaced_file_makes_its_folder_dirty(watcher, woken, tmp_path: Path):
    watcher.sync([str(tmp_path)])
    (tmp_path / "status.tmp").write_text("{}")
    (tmp_path / "status.tmp").replace(tmp_path / "status.json")
    assert woken.wait(5)
    assert watcher.take() == {str(tmp_path)}


def test_reading_a_file_wakes_nobody(watcher, woken, tmp_path: Path):
    (tmp_path / "status.json").write_text("{}")
    watcher.sync([str(tmp_path)])
    settle(watcher, woken, tmp_path)
    (tmp_path / "status.json").read_text()
    assert not woken.wait(0.3)


def test_our_own_log_wakes_nobody(watcher, woken, tmp_path: Path):
    watcher.sync([str(tmp_path)])
    settle(watcher, woken, tmp_path)
    (tmp_path / "smart_monitor_20251112.log").write_text("a line\n")
    assert not woken.wait(0.3)


def test_a_folder_deleted_and_made_again_is_watched_again(watcher, woken, tmp_path: Path):
    folder = tmp_path / "status"
    folder.mkdir()
    watcher.sync([str(folder)])
    folder.rmdir()
    folder.mkdir()
    # The new folder may have the old one's inode: then only the end of the old watch tells, and the next scan hears it.
    for number in range(50):
        watcher.sync([str(folder)])
        (folder / f"probe{number}").write_text("")
        if woken.wait(0.1):
            break
    settle(watcher, woken, folder)
    (folder / "training_status.json").write_text("{}")
    assert woken.wait(5)
    assert watcher.take() == {str(folder)}


def test_a_folder_renamed_away_and_replaced_is_followed_by_name(watcher, woken, tmp_path: Path):
    folder = tmp_path / "status"
    folder.mkdir()
    watcher.sync([str(folder)])
    folder.rename(tmp_path / "old")
    folder.mkdir()
    watcher.sync([str(folder)])
    settle(watcher, woken, folder)
    (tmp_path / "old" / "x").write_text("")
    assert not woken.wait(0.3)
    (folder / "x").write_text("")
    assert woken.wait(5)


def test_a_missing_folder_is_no_error_and_comes_later(watcher, woken, tmp_path: Path):
    watcher.sync([str(tmp_path / "later")])
    (tmp_path / "later").mkdir()
    watcher.sync([str(tmp_path / "later")])
    (tmp_path / "later" / "x").write_text("")
    assert woken.wait(5)


def test_a_disabled_watcher_says_why(woken, tmp_path: Path):
    watcher = Watcher(woken.set, enabled=False)
    watcher.sync([str(tmp_path)])
    assert watcher.reason
    assert watcher.take() == set()


def test_this_file_system_is_local(tmp_path: Path):
    assert network_file_system(str(tmp_path)) is None
