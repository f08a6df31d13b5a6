"""One daemon per base dir, whatever became of the one before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smartmon import lock
from smartmon.errors import LockedError, StoreError


def test_a_second_holder_is_told_who_holds_it(tmp_path: Path):
    state = tmp_path / ".smartmon"
    second = lock.held([state], state / "smartmon.db")
    with lock.held([state], state / "smartmon.db"), pytest.raises(LockedError, match=f"pid {os.getpid()}"), second:
        pass


def test_the_lock_is_free_again_after_the_body(tmp_path: Path):
    state = tmp_path / ".smartmon"
    for _ in range(2):
        with lock.held([state], state / "smartmon.db"):
            assert (state / "lock").exists()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path):
    state = tmp_path / ".smartmon"
    code = (
        "import sys, time; from pathlib import Path; from smartmon import lock\n"
        "state = Path(sys.argv[1])\n"
        "with lock.held([state], state / 'smartmon.db'): print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(state)], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        child.kill()
    with lock.held([state], state / "smartmon.db"):
        assert (state / "lock").read_text() == f"{os.getpid()}\n"


def test_a_secondary_base_dir_points_to_the_database(tmp_path: Path):
    first, second = tmp_path / "a" / ".smartmon", tmp_path / "b" / ".smartmon"
    with lock.held([first, second], first / "smartmon.db"):
        assert (second / "database").read_text() == f"{first / 'smartmon.db'}\n"
        assert not (first / "database").exists()


def test_one_locked_folder_of_several_frees_the_others(tmp_path: Path):
    first, second = tmp_path / "a", tmp_path / "b"
    with lock.held([second], second / "smartmon.db"):
        with pytest.raises(LockedError), lock.held([first, second], first / "smartmon.db"):
            pass
        with lock.held([first], first / "smartmon.db"):
            pass


def test_a_state_folder_that_is_a_file_is_explained(tmp_path: Path):
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match="set state_dir"), lock.held([tmp_path / "state"], tmp_path / "x.db"):
        pass


def test_a_secondary_folder_that_cannot_be_written_is_done_without(tmp_path: Path):
    (tmp_path / "base").write_text("no folder can be made in a file")
    state = tmp_path / "state"
    with lock.held([state, tmp_path / "base" / ".smartmon"], state / "smartmon.db"):
        assert (state / "lock").exists()
