"""What the daemon must survive: kills, lost events, broken files, and a trainer that does not wait."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.world import Daemon, Receiver, Run, notifier, started, until


def test_the_final_state_is_never_missed_while_events_are_lost(tmp_path: Path):
    """A status file rewritten every 10 ms, its folder renamed away and replaced under the watch."""
    run = Run(tmp_path / "train")
    with started(run.base, config='[monitor]\npoll_interval = "500ms"\n') as daemon:
        for step in range(1, 301):
            run.status(step, loss=1.0)
            if step % 100 == 0:
                run.status_path.parent.rename(tmp_path / f"old-{step}")
                run.status_path.parent.mkdir()
                run.status(step, loss=1.0)
            time.sleep(0.01)
        until(lambda: daemon.rows("select 1 from runs where step = 300"))


def test_polling_alone_sees_the_final_state(tmp_path: Path):
    run = Run(tmp_path / "train")
    config = '[monitor]\npoll_interval = "500ms"\nstatus_interval = "100ms"\nwatch = "poll"\n'
    with started(run.base, config=config) as daemon:
        for step in range(1, 101):
            run.status(step, loss=1.0)
            time.sleep(0.01)
        until(lambda: daemon.rows("select 1 from runs where step = 100"))


def rows(first: int, last: int) -> list[dict[str, object]]:
    """Log rows with a spike every 120 steps that lasts two rows, from the step alone."""
    noise = random.Random(1)
    levels = [1.0 + noise.random() / 50 for _ in range(last + 1)]
    return [
        {
            "step": step * 10,
            "loss": levels[step] * (1.9 if step % 12 in (6, 7) else 1.0),
            "timestamp": time.time(),
        }
        for step in range(first, last + 1)
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_kills_lose_nothing_and_double_nothing(tmp_path: Path):
    """SIGKILL at random moments while reading, copying and delivering."""
    run = Run(tmp_path / "train")
    chance = random.Random(11)
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        daemon = Daemon(run.base, "--min-steps-between-saves", "1", config=notifier(receiver))
        stack.callback(daemon.close)
        training = threading.Event()

        def train() -> None:
            for step in range(1, 401):
                if step % 20 == 1:
                    run.checkpoint(step * 10, size=3_000_000)
                    for old in sorted(run.model.glob("checkpoint-*"), key=os.path.getmtime)[:-3]:
                        shutil.rmtree(old, ignore_errors=True)
                run.log(rows(step, step))
                training.wait(0.1)

        trainer = threading.Thread(target=train)
        daemon.start()
        trainer.start()
        try:
            for _ in range(100):
                time.sleep(chance.uniform(0.0, 0.7))
                daemon.kill()
                daemon.start(wait=False)
        finally:
            training.set()
            trainer.join()
        daemon.kill()
        daemon.start()
        until(lambda: daemon.rows("select 1 from runs where step = 4000"))
        until(lambda: not daemon.rows("select 1 from deliveries where state in ('pending', 'sending')"))
        until(lambda: not daemon.rows("select 1 from keeps where state in ('pending', 'copying')"))
        assert daemon.stop() == 0
    assert b"Traceback" not in daemon.log.read_bytes()

    (check,) = daemon.rows("pragma integrity_check")
    assert check == ("ok",)
    replay = daemon_replay(daemon, run.base / "training_log.jsonl")
    seen = [(kind, step) for kind, step in daemon.rows("select kind, step from events where kind = 'loss_spike'")]
    expected = [(a["kind"], a["step"]) for a in replay["files"][0]["anomalies"] if a["kind"] == "loss_spike"]
    assert sorted(seen) == sorted(expected)
    assert len(seen) == len(set(seen))
    ids = [text.rsplit("id ", 1)[-1].split()[0] for text in receiver.texts]
    rows_sent = [row[0] for row in daemon.rows("select id from deliveries where state = 'sent'")]
    assert set(rows_sent) <= set(ids), "an alert was lost"
    names = [row["name"] for row in daemon.cli("snapshots", "list")]
    assert len(names) == len(set(names))
    assert all(row["state"] == "ok" for row in daemon.cli("snapshots", "list"))
    requests = [
        json.loads((Path(r["path"]) / "metadata.json").read_text())["request"] for r in daemon.cli("snapshots", "list")
    ]
    assert len(requests) == len(set(requests)), "a snapshot was made twice"
    assert not list((run.base / "snapshots").glob(".partial-*"))


def daemon_replay(daemon: Daemon, log: Path) -> dict:
    """What a replay says of the whole log."""
    return daemon.cli("replay", str(log), "--min-steps-between-saves", "1")


BAD = {
    "empty": b"",
    "half": b'{"status": "training", "current_st',
    "list": b"[1, 2]",
    "deep": b"[" * 100_000,
    "long number": b'{"current_step": ' + b"9" * 5000 + b"}",
    "latin-1": '{"status": "entraîné", "current_step": 5}'.encode("latin-1"),
    "surrogate": b'{"status": "training", "current_step": 5, "model_name": "\\ud800\\u0000"}',
    "null": b"null",
    "strings": b'{"status": 7, "current_step": "x", "loss": {"a": 1}}',
}


def test_bad_status_files_never_stop_the_watch(tmp_path: Path):
    run = Run(tmp_path / "train")
    with started(run.base, config='[monitor]\npoll_interval = "500ms"\nstatus_interval = "100ms"\n') as daemon:
        for index, text in enumerate(BAD.values()):
            run.status_path.write_bytes(text)
            time.sleep(0.15)
            run.status(100 + index, loss=1.0)
            until(lambda index=index: daemon.rows("select 1 from runs where step = ?", 100 + index))
        assert daemon.stop() == 0
    assert b"Traceback" not in daemon.log.read_bytes()


def test_a_huge_status_file_is_refused_by_its_size_and_told(tmp_path: Path):
    run = Run(tmp_path / "train")
    with started(run.base, config='[monitor]\npoll_interval = "500ms"\nstatus_interval = "100ms"\n') as daemon:
        with run.status_path.open("wb") as file:
            file.truncate(2**30)
        until(lambda: daemon.events("status_unreadable"))
        run.status(5, loss=1.0)
        until(lambda: daemon.rows("select 1 from runs where step = 5"))


def test_a_fifo_in_place_of_the_status_file_does_not_hang_the_daemon(tmp_path: Path):
    run = Run(tmp_path / "train")
    os.mkfifo(run.status_path)
    other = tmp_path / "train" / "other"
    other.mkdir()
    with started(run.base, config='[monitor]\npoll_interval = "500ms"\nstatus_interval = "100ms"\n') as daemon:
        (other / "training_log.jsonl").write_text('{"step": 7, "loss": 1.0}\n')
        until(lambda: daemon.rows("select 1 from runs where step = 7"))
        assert daemon.stop() == 0


def test_a_full_disk_stops_nothing_for_good(tmp_path: Path, small_disk: Path):
    """State on a disk that is full: the daemon lives, and catches up when there is room again."""
    run = Run(tmp_path / "train")
    config = f'state_dir = "{small_disk}"\n[monitor]\npoll_interval = "500ms"\nstatus_interval = "100ms"\n'
    with started(run.base, config=config) as daemon:
        run.status(1, loss=1.0)
        query = lambda step: ask(small_disk / "smartmon.db", step)  # noqa: E731
        until(lambda: query(1))
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file:
            while True:
                try:
                    file.write(b"x" * 65536)
                    file.flush()
                except OSError:
                    break
        run.log(rows(1, 3000))
        run.status(40_000, loss=1.0)
        until(lambda: b"step_failed" in daemon.log.read_bytes() or b"disk" in daemon.log.read_bytes())
        ballast.unlink()
        until(lambda: query(40_000), patience=60)
        assert daemon.process is not None
        assert daemon.process.poll() is None


def ask(database: Path, step: int) -> bool:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
            return bool(db.execute("select 1 from runs where step = ?", (step,)).fetchone())
    except sqlite3.Error:
        return False
    finally:
        db.close()
