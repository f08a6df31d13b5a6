"""What SQLite's errors mean, for the daemon (try again or not) and for a person (what to do)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from smartmon.errors import StoreError
from smartmon.text import clean

_TRANSIENT = {
    sqlite3.SQLITE_BUSY: "another process has been writing to it for too long; smartmon tries again",
    sqlite3.SQLITE_LOCKED: "another process has been writing to it for too long; smartmon tries again",
    sqlite3.SQLITE_PROTOCOL: "another process has been writing to it for too long; smartmon tries again",
    sqlite3.SQLITE_FULL: "the disk is full; free some space, nothing is lost meanwhile",
    sqlite3.SQLITE_IOERR: "the disk answered with an error; see if it is full, or look into the kernel's log",
    sqlite3.SQLITE_NOMEM: "memory ran out",
    sqlite3.SQLITE_CANTOPEN: "its files cannot be opened; see the folder's permissions, and if the disk is full",
}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class TransientStoreError(StoreError):
    """The write did not happen, and the same write may well succeed later: full disk, lock held too long."""

    transient = True


class DamagedStoreError(StoreError):
    """The file is no database, or a damaged one. smartmon never overwrites it."""


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code (0 when the error came from Python's side)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def damaged(path: Path, found: str) -> DamagedStoreError:
    """The error for a file that cannot be trusted, with the way out."""
    name = clean(path)
    return DamagedStoreError(
        f"the database {name} is damaged or not a database ({found}); smartmon leaves it as it is. Move it away and "
        f"start again: mv '{name}' '{name}.damaged'. `sqlite3 '{name}.damaged' .recover` saves what can be read; "
        "snapshots on disk are not affected"
    )


def translate(error: sqlite3.Error, path: Path, doing: str) -> StoreError:
    """The project's own error for one of SQLite's."""
    code = code_of(error)
    if code in _DAMAGED:
        return damaged(path, str(error))
    if code in _TRANSIENT:
        return TransientStoreError(f"cannot {doing} the database {clean(path)}: {_TRANSIENT[code]} ({error})")
    if code == sqlite3.SQLITE_READONLY:
        return StoreError(
            f"cannot {doing} the database {clean(path)}: it is read-only for this process ({error}); see who owns "
            "it and how its file system is mounted"
        )
    return StoreError(f"cannot {doing} the database {clean(path)}: {clean(error)}")
