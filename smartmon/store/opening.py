"""Opening a database file safely: private files, the right journal, a look at what is there before it is touched."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote_from_bytes

from smartmon.errors import StoreError
from smartmon.store.faults import code_of, damaged, translate
from smartmon.store.schema import APPLICATION_ID, MIGRATIONS
from smartmon.text import clean

BUSY_MS = 5000
CHECK_BELOW = 128 * 2**20
"""Files up to this size are checked as a whole at start; larger ones would delay it."""

_MAGIC = b"SQLite format 3\0"
_NETWORK = frozenset(
    ["9p", "afs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"]
)


def open_writer(path: Path, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """Open the one writer's connection; create the file or migrate it.

    What is there is first looked at read-only: a newer, foreign or damaged file is refused and not touched.
    """
    _refuse_kind(path)
    _make_private(path)
    if path.stat().st_size:
        _inspect(path, len(migrations))
    connection = _connect(path, "rw")
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # Half a megabyte of pages instead of two: the daemon writes, and reads little twice.
        connection.execute("PRAGMA cache_size = -512")
        # Takes effect only while the file is still empty, and before the journal mode writes its first page.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA journal_mode = {'DELETE' if network_filesystem(path) else 'WAL'}")
        connection.execute(f"PRAGMA journal_size_limit = {16 * 2**20}")
        migrate(connection, path, migrations)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path, "open") from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open for reading only: nothing this connection does can change the file."""
    if not path.exists():
        raise StoreError(f"there is no database at {clean(path)}; start a daemon with: smartmon run")
    _refuse_kind(path)
    connection = _connect_reader(path)
    try:
        connection.execute("PRAGMA query_only = ON")
        version = _version(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path, "read") from error
    except StoreError:
        connection.close()
        raise
    if version != len(MIGRATIONS):
        connection.close()
        _refuse_newer(version, len(MIGRATIONS), path)
        raise StoreError(
            f"the database {clean(path)} is of an older smartmon (schema {version}, this one uses {len(MIGRATIONS)}); "
            "restart the daemon, which brings it up to date"
        )
    return connection


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    """Bring the schema up to date in one transaction, after a backup of what was there."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == len(migrations):
        return
    if version:
        _back_up(connection, path, version)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in migrations[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def network_filesystem(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the network file system that holds `path`, or None.

    SQLite's write-ahead log needs shared memory, which such file systems do not give.
    """
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
        place = os.path.realpath(path)
    except OSError:
        return None
    best, kind = "", ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        # Later mounts hide earlier ones at the same place.
        if (place == point or place.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind if kind in _NETWORK or kind.startswith("fuse.") else None


def _refuse_kind(path: Path) -> None:
    """Refuse what is there and no file: SQLite would wait for somebody to write into a named pipe, without end."""
    if path.exists() and not path.is_file():
        raise StoreError(f"{clean(path)} is no file, and cannot be a database; move it away, or set state_dir")


def _make_private(path: Path) -> None:
    """Create folder and file for the owner only, whatever the umask; SQLite gives its side files the same mode."""
    folder = path.parent
    try:
        created = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        # A folder that somebody chose and made is theirs; ours is tightened.
        if created or (folder.name == ".smartmon" and folder.stat().st_uid == os.geteuid()):
            folder.chmod(0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(
            f"cannot create the database {clean(path)}: {error.strerror}; give a place that can be written with "
            "state_dir in the config"
        ) from error


def _inspect(path: Path, newest: int) -> None:
    """Refuse what is not ours to write: junk, another program's file, a newer schema, a damaged file."""
    with path.open("rb") as file:
        if file.read(16) != _MAGIC:
            raise damaged(path, "it does not begin like one")
    connection = _connect_reader(path)
    try:
        _refuse_newer(_version(connection, path), newest, path)
        if path.stat().st_size <= CHECK_BELOW:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise damaged(path, clean(found))
    except sqlite3.Error as error:
        # A crash in DELETE mode leaves a journal that only a writer may roll back: that is no damage.
        if code_of(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise translate(error, path, "open") from error
    finally:
        connection.close()


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and owner != APPLICATION_ID:
        raise StoreError(f"{clean(path)} is a database of another program; move it away, or set state_dir")
    return version


def _refuse_newer(version: int, newest: int, path: Path) -> None:
    if version > newest:
        raise StoreError(
            f"the database {clean(path)} was written by a newer smartmon (schema {version}, this one knows {newest}); "
            "it was not touched. Upgrade smartmon, or use another state_dir"
        )


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    backup = path.with_name(f"{path.name}.schema-{version}.bak")
    backup.unlink(missing_ok=True)
    # VACUUM INTO fills an empty file and keeps its mode.
    os.close(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection.execute("VACUUM INTO CAST(? AS TEXT)", (os.fsencode(backup),))
    with backup.open("rb") as file:
        os.fsync(file.fileno())


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote_from_bytes(os.fsencode(path.absolute()))}?mode={mode}"
    try:
        return sqlite3.connect(
            uri, uri=True, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    except sqlite3.Error as error:
        raise translate(error, path, "open") from error


def _connect_reader(path: Path) -> sqlite3.Connection:
    """Read-only; where the folder cannot be written and no writer is at work, without shared memory."""
    connection = _connect(path, "ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        wal = path.with_name(path.name + "-wal")
        barred = code_of(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if not barred or (wal.exists() and wal.stat().st_size):
            return connection
        connection.close()
        return _connect(path, "ro&immutable=1")
    except UnicodeDecodeError:
        # SQLite quotes what it cannot understand of the schema, and Python takes the quotation for text.
        connection.close()
        raise damaged(path, "its schema is no text") from None
    return connection
