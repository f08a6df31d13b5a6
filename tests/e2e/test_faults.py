"""Faults found by trying: folders that come and go under the daemon, odd file systems, odd ways of being started."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from smartmon.sources.folders import MAX_ENTRIES
from tests.e2e.world import Daemon, Run, started, until

QUICK = '[monitor]\npoll_interval = "500ms"\nstatus_interval = "100ms"\n[snapshots]\nsettle = "200ms"\n'


def known(daemon: Daemon, step: int) -> bool:
    """Whether a run has reached the step; a database that is only being made knows nothing."""
    return "runs" in {row[0] for row in daemon.rows("select name from sqlite_master")} and bool(
        daemon.rows("select 1 from runs where step = ?", step)
    )


def test_a_base_dir_that_is_not_there_is_waited_for_and_not_made(tmp_path: Path):
    """Trainers refuse to begin in a folder that is there already and not empty."""
    base = tmp_path / "train"
    with started(base, config=QUICK) as daemon:
        assert not base.exists()
        Run(base).status(5, loss=1.0)
        until(lambda: known(daemon, 5))
        assert daemon.stop() == 0


def test_once_refuses_a_base_dir_that_is_not_there(tmp_path: Path):
    daemon = Daemon(tmp_path / "typo", config=QUICK)
    done = daemon.once()
    assert done.returncode == 4
    assert "there is no folder" in done.stderr
    assert not daemon.base.exists()


def test_a_base_dir_that_was_deleted_is_watched_again_when_it_is_back(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.status(1, loss=1.0)
    with started(run.base, config=QUICK) as daemon:
        until(lambda: known(daemon, 1))
        shutil.rmtree(run.base)
        Run(run.base).status(20, loss=1.0)
        until(lambda: known(daemon, 20))
        assert daemon.stop() == 0
    assert b"Traceback" not in daemon.log.read_bytes()


def test_a_deleted_database_is_begun_anew(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.status(1, loss=1.0)
    with started(run.base, config=QUICK) as daemon:
        until(lambda: known(daemon, 1))
        for file in (run.base / ".smartmon").glob("smartmon.db*"):
            file.unlink()
        run.status(20, loss=1.0)
        until(lambda: known(daemon, 20))
        assert daemon.stop() == 0


def test_a_run_whose_folder_fills_with_files_stays_under_watch(tmp_path: Path):
    run = Run(tmp_path / "train" / "run")
    with started(run.base.parent, config=QUICK) as daemon:
        for number in range(MAX_ENTRIES + 1):
            (run.base / f"sample{number}").touch()
        until(lambda: daemon.events("warning"))
        run.status(5, loss=1.0)
        until(lambda: known(daemon, 5))


def test_a_trainer_whose_clock_is_hours_late_is_not_called_stalled(tmp_path: Path):
    """A container in another time zone that writes its local time."""
    run = Run(tmp_path / "train")
    with started(run.base, config=QUICK) as daemon:
        for step in range(1, 8):
            run.status(step * 10, loss=1.0, timestamp=time.time() - 7200)
            until(lambda step=step: known(daemon, step * 10))
        scans = daemon.rows("select last_seen from runs")
        run.status(80, loss=1.0, timestamp=time.time() - 7200)
        until(lambda: known(daemon, 80) and daemon.rows("select last_seen from runs") != scans)
        assert daemon.stop() == 0
    assert not daemon.events("stalled")


def test_a_status_with_a_step_and_nothing_else_shows_progress(tmp_path: Path):
    run = Run(tmp_path / "train")
    with started(run.base, config=QUICK) as daemon:
        run.status(7)
        until(lambda: known(daemon, 7))


def test_a_run_whose_folder_is_gone_is_not_called_running(tmp_path: Path):
    run = Run(tmp_path / "train" / "run")
    run.status(5, loss=1.0)
    with started(run.base.parent, config=QUICK) as daemon:
        until(lambda: known(daemon, 5))
        shutil.rmtree(run.base)
        until(lambda: daemon.rows("select 1 from runs where state = 'stopped'"))
        assert "is gone" in daemon.events("warning")[0][2]
        Run(run.base).status(6, loss=1.0)
        until(lambda: daemon.rows("select 1 from runs where state = 'running' and step = 6"))


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path):
    run = Run(tmp_path / "train")
    daemon = Daemon(run.base, config=QUICK)
    assert daemon.once().returncode == 0
    shell = ["bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "sh", *daemon.command("config", "show")]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_standard_streams_are_nobody_elses(tmp_path: Path):
    """Without care the lock would get descriptor 2, and a stray message would land in it."""
    run = Run(tmp_path / "train")
    run.status(5, loss=1.0)
    daemon = Daemon(run.base, config=QUICK)
    shell = ["bash", "-c", 'exec env -u HOME LC_ALL=C "$@" 0<&- 1>&- 2>&-', "sh", *daemon.command("run")]
    daemon.process = subprocess.Popen(shell)
    try:
        until(lambda: known(daemon, 5))
        streams = [Path(f"/proc/{daemon.process.pid}/fd/{number}").readlink() for number in range(3)]
        assert streams == [Path(os.devnull)] * 3
        assert daemon.stop() == 0
    finally:
        daemon.close()


def test_a_hole_at_the_start_of_a_truncated_log_costs_no_row(tmp_path: Path):
    """`copytruncate` under a writer that does not append leaves NULs before its next line."""
    run = Run(tmp_path / "train")
    log = run.base / "training_log.jsonl"
    with started(run.base, config=QUICK) as daemon:
        run.log([{"step": step, "loss": 1.0} for step in range(1, 50)])
        until(lambda: known(daemon, 49))
        log.write_bytes(b"\0" * 1000 + json.dumps({"step": 50, "loss": 1.0}).encode() + b"\n")
        until(lambda: known(daemon, 50))


@pytest.mark.slow
def test_a_database_locked_by_another_is_waited_for_at_the_start_and_not_at_the_end(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.status(1, loss=1.0)
    daemon = Daemon(run.base, config=QUICK)
    assert daemon.once().returncode == 0
    other = sqlite3.connect(run.base / ".smartmon" / "smartmon.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        daemon.start(wait=False)
        until(lambda: b"store_refused" in daemon.log.read_bytes())
        other.execute("ROLLBACK")
        run.status(5, loss=1.0)
        until(lambda: known(daemon, 5))
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - begun < 5.5
    finally:
        other.close()
        daemon.close()
