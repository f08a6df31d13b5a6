"""What the database survives: kills, full disks, locks, many readers."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon.errors import StoreError
from smartmon.store import RunRow, Store, TransientStoreError
from smartmon.store.chunks import CHUNK

WRITER = """
import sys
from pathlib import Path
from smartmon.store import Store
path = Path(sys.argv[1])
with Store.open(path) as store:
    run = store.ensure_run("r", path, path, 1.0)
    last = store.last_values(run.id, "loss", 1)
    step = int(last[0]) + 1 if last else 0
    while True:
        with store.transaction():
            for at in range(step, step + 200):
                store.append(run.id, 1, at, float(at), {"loss": float(at)})
            store.add_event(at=step, kind="batch", message="m", run_id=run.id, step=step)
            store.set_cursor(run.id, "log", {"step": step + 199})
        step += 200
        sys.stdout.write(f"{step - 1}\\n")
        sys.stdout.flush()
"""


def test_thirty_kills_lose_nothing_that_was_acknowledged(path: Path):
    acknowledged = -1
    for kill in range(30):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child.stdout as lines:
            for _ in range(1 + kill % 5):
                acknowledged = int(lines.readline())
            child.send_signal(signal.SIGKILL)
            acknowledged = int((lines.read().split() or [acknowledged])[-1])
        child.wait()
    with Store.open(path) as store:
        assert store._all("PRAGMA integrity_check") == [("ok",)]
        run = store.runs()[0]
        steps = [row.step for row in store.rows(run.id)]
        assert steps == list(range(len(steps)))
        assert len(steps) > acknowledged
        assert (store.cursor(run.id, "log") or {})["step"] == steps[-1]
        assert len(store.events(limit=10**6)) * 200 == len(steps)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of its own."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount a tmpfs: {made.stderr.decode().strip()}")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def test_a_full_disk_is_an_error_to_try_again_after_and_then_all_is_well(small_disk: Path):
    ballast = small_disk / "ballast"
    with Store.open(small_disk / "smartmon.db") as store:
        run = store.ensure_run("r", small_disk, small_disk, 1.0)
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(TransientStoreError, match="disk is full") as caught:
            write_much(store, run)
        assert caught.value.transient
        ballast.unlink()
        assert store.events() == []
        write_much(store, run)
        assert len(store.events(limit=1000)) == 300
        assert store._all("PRAGMA integrity_check") == [("ok",)]


def write_much(store: Store, run: RunRow) -> None:
    with store.transaction():
        for number in range(300):
            store.append(run.id, 1, number, 1.0, {"loss": 1.0})
            store.add_event(at=number, kind="x", message="y" * 500, run_id=run.id)


def test_a_lock_held_by_another_process_too_long_is_transient(path: Path, store: Store):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._execute("PRAGMA busy_timeout = 50")
    with pytest.raises(TransientStoreError, match="another process"):
        store.set_meta("a", "b")
    other.execute("ROLLBACK")
    store.set_meta("a", "b")
    other.close()
    assert store.meta("a") == "b"


def test_readers_see_whole_batches_while_the_writer_writes(path: Path, store: Store, run: RunRow):
    done = threading.Event()
    torn: list[object] = []

    def read() -> None:
        with Store.open(path, readonly=True) as reader:
            while not done.is_set():
                with reader.transaction():
                    steps = reader.series(run.id, "loss", max_points=1).count
                    cursor = (reader.cursor(run.id, "log") or {"count": 0})["count"]
                if steps != cursor:
                    torn.append((steps, cursor))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for batch in range(45):
        with store.transaction():
            for step in range(batch * 200, batch * 200 + 200):
                store.append(run.id, 1, step, 1.0, {"loss": 1.0})
            store.set_cursor(run.id, "log", {"count": batch * 200 + 200})
    done.set()
    for thread in threads:
        thread.join()
    assert not torn
    assert store.series(run.id, "loss").count == 9000 > 2 * CHUNK


def test_threads_share_one_store(store: Store):
    def write(name: str) -> None:
        for number in range(50):
            with store.transaction():
                store.set_meta(name, str(number))
                assert store.meta(name) == str(number)

    threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.meta(f"t{number}") for number in range(4)] == ["49"] * 4


def test_a_transaction_is_whole_or_nothing(store: Store):
    def fail() -> None:
        with store.transaction():
            store.set_meta("a", "1")
            with store.transaction():
                store.set_meta("b", "1")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (store.meta("a"), store.meta("b")) == (None, None)


def test_an_error_of_the_database_spoils_the_transaction_even_when_caught(store: Store):
    def fail() -> None:
        with store.transaction():
            store.set_meta("a", "1")
            with contextlib.suppress(StoreError):
                store.set_cursor(12345, "no such run", {})

    with pytest.raises(StoreError):
        fail()
    assert store.meta("a") is None
    store.set_meta("a", "2")
    assert store.meta("a") == "2"


def test_a_store_closed_twice_stays_closed(path: Path):
    store = Store.open(path)
    store.close()
    store.close()
    with pytest.raises(StoreError):
        store.meta("a")


def test_the_log_beside_the_database_does_not_grow_without_end(path: Path, store: Store, run: RunRow):
    for batch in range(60):
        with store.transaction():
            for step in range(200):
                store.append(run.id, 1, batch * 200 + step, 1.0, {"a": 0.1 * step, "b": 0.3 * step})
    assert path.with_name("smartmon.db-wal").stat().st_size < 16 * 2**20
