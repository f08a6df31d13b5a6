"""Opening a database: private files, foreign and damaged ones left alone, migrations, places without shared memory."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from smartmon.errors import StoreError
from smartmon.store import DamagedStoreError, Store
from smartmon.store.opening import migrate, network_filesystem, open_writer
from smartmon.store.schema import MIGRATIONS


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> set[str]:
    return {oct(file.stat().st_mode & 0o777) for file in folder.iterdir()}


def test_files_are_for_the_owner_only_whatever_the_umask(path: Path, no_umask):
    with Store.open(path) as store:
        store.set_meta("a", "b")
        assert {file.name for file in path.parent.iterdir()} == {"smartmon.db", "smartmon.db-wal", "smartmon.db-shm"}
        assert modes(path.parent) == {"0o600"}
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


def test_a_folder_that_somebody_else_made_keeps_its_mode(tmp_path: Path):
    tmp_path.chmod(0o755)
    Store.open(tmp_path / "smartmon.db").close()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_writes_are_durable_and_indexed_for_many_readers(store: Store):
    pragmas = {name: store._one(f"PRAGMA {name}")[0] for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert store._one("PRAGMA busy_timeout")[0] == 5000


def test_what_was_written_is_there_after_reopening(path: Path):
    with Store.open(path) as store:
        store.set_meta("key", "value")
    with Store.open(path, readonly=True) as store:
        assert store.meta("key") == "value"


def test_a_reader_cannot_write(path: Path, store: Store):
    with Store.open(path, readonly=True) as reader, pytest.raises(StoreError, match="read-only"):
        reader.set_meta("a", "b")


def test_reading_where_nothing_is_says_so(path: Path):
    with pytest.raises(StoreError, match=r"no database at .*smartmon run"):
        Store.open(path, readonly=True)
    assert not path.parent.exists()


@pytest.mark.parametrize("readonly", [False, True])
def test_junk_is_refused_with_the_way_out_and_not_touched(path: Path, readonly: bool):
    path.parent.mkdir()
    path.write_bytes(b"junk" * 5000)
    with pytest.raises(DamagedStoreError, match=r"mv .*\.damaged"):
        Store.open(path, readonly=readonly)
    assert path.read_bytes() == b"junk" * 5000


def test_a_page_overwritten_is_found_at_start_and_left_as_it_is(path: Path):
    with Store.open(path) as store:
        run = store.ensure_run("a", path, path, 1.0)
        for step in range(3000):
            store.add_event(at=step, kind="x", message="y" * 100, run_id=run.id)
    body = bytearray(path.read_bytes())
    body[8192 : 8192 + 30 * 4096] = os.urandom(30 * 4096)
    path.write_bytes(body)
    with pytest.raises(DamagedStoreError, match=r"\.recover"):
        Store.open(path)
    assert path.read_bytes() == body


def test_another_programs_database_is_refused(path: Path):
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("readonly", [True, False])
def test_a_damaged_schema_is_refused_in_words(path: Path, readonly: bool):
    Store.open(path).close()
    data = path.read_bytes()
    # SQLite quotes it in its message, which is then no text.
    path.write_bytes(
        data.replace(b"CREATE TABLE runs", b"CREATE TABLE \xff\xfe\xff ", 1).replace(b"TABLE", b"\xf0ABLE")
    )
    with pytest.raises(DamagedStoreError):
        Store.open(path, readonly=readonly)


@pytest.mark.parametrize("readonly", [True, False])
def test_what_is_no_file_is_refused_and_not_waited_for(path: Path, readonly: bool):
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(StoreError, match="is no file"):
        Store.open(path, readonly=readonly)


def test_a_newer_schema_is_refused_and_not_touched(path: Path):
    open_writer(path, [*MIGRATIONS, "CREATE TABLE of_the_future (a)"]).close()
    before = path.read_bytes(), path.stat().st_mtime_ns
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"newer smartmon \(schema 2, this one knows 1\)"):
            Store.open(path, readonly=readonly)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_an_older_schema_is_migrated_after_a_private_backup(path: Path, no_umask):
    with Store.open(path) as store:
        store.set_meta("key", "kept")
    connection = open_writer(path, [*MIGRATIONS, "ALTER TABLE meta ADD COLUMN extra; UPDATE meta SET extra = 7"])
    assert connection.execute("SELECT value, extra FROM meta").fetchall() == [("kept", 7)]
    connection.close()
    backup = path.with_name("smartmon.db.schema-1.bak")
    assert modes(path.parent) == {"0o600"}
    with Store.open(backup, readonly=True) as old:
        assert old.meta("key") == "kept"


def test_a_failing_migration_changes_nothing(path: Path):
    Store.open(path).close()
    with pytest.raises(StoreError, match="no_such_table"):
        open_writer(path, [*MIGRATIONS, "CREATE TABLE half (a); DROP TABLE no_such_table"])
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()
    connection.close()


def test_a_file_left_empty_by_a_crash_is_filled(path: Path):
    path.parent.mkdir()
    path.touch()
    with Store.open(path) as store:
        assert store.runs() == []


def test_a_folder_that_is_not_text_is_no_obstacle(tmp_path: Path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/not-\xff-utf8 ?#%20/smartmon.db"))
    with Store.open(path) as store:
        migrate(store._connection, path, [*MIGRATIONS, "CREATE TABLE later (a)"])
    assert path.with_name("smartmon.db.schema-1.bak").stat().st_size


def test_a_place_that_cannot_be_written_is_told_with_what_to_set(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="state_dir"):
        Store.open(tmp_path / "file" / "smartmon.db")


@pytest.mark.parametrize(
    ("where", "kind"),
    [("/mnt/nfs/run/x.db", "nfs4"), ("/mnt/nfsish/x.db", None), ("/home/me/x.db", "fuse.sshfs"), ("/x.db", None)],
)
def test_network_file_systems_are_known_by_their_mount(tmp_path: Path, where: str, kind: str | None):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:40 / /mnt/nfs rw shared:1 - nfs4 server:/x rw\n"
        "3 1 0:41 / /home/me rw - fuse.sshfs host: rw\n"
    )
    assert network_filesystem(Path(where), mounts) == kind


def test_on_a_network_file_system_the_journal_needs_no_shared_memory(path: Path, monkeypatch: pytest.MonkeyPatch):
    """The one patch here: no network file system can be mounted in a test."""
    monkeypatch.setattr("smartmon.store.opening.network_filesystem", lambda _: "nfs4")
    with Store.open(path) as store, Store.open(path, readonly=True) as reader:
        store.set_meta("a", "b")
        assert store._one("PRAGMA journal_mode") == ("delete",)
        assert reader.meta("a") == "b"


def test_a_database_taken_away_while_in_use_is_noticed_at_the_next_write(path: Path, store: Store):
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(StoreError, match="moved or deleted"):
        store.set_meta("a", "b")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become nobody")
def test_a_folder_that_cannot_be_written_can_still_be_read(tmp_path: Path):
    path = tmp_path / "state" / "smartmon.db"
    with Store.open(path) as store:
        store.set_meta("key", "value")
    path.chmod(0o444)
    for folder in path.parents:
        if folder.is_relative_to(tmp_path.parents[-3]) and folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            with Store.open(path, readonly=True) as reader:
                os._exit(0 if reader.meta("key") == "value" else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
