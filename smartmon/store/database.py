"""One connection, one lock, one way to write: the ground that every table's code stands on."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from smartmon.errors import StoreError
from smartmon.store.faults import translate
from smartmon.text import clean

Row = tuple[Any, ...]


class Database:
    """A connection that threads share, one at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, readonly: bool) -> None:
        self.path = path
        self.readonly = readonly
        self._connection = connection
        self._lock = threading.RLock()
        self._depth = 0
        self._doomed: StoreError | None = None
        self._identity = self._file_identity()

    def close(self) -> None:
        """Close the connection. Closing twice is fine."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written as a whole or not at all; inside another one of this thread, part of that.

        Read-only, it is one consistent view. Once SQLite has refused a write, the whole transaction is lost:
        catching the error inside does not save it.
        """
        with self._lock:
            if self._depth == 0:
                self._begin()
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._roll_back()
                raise
            self._depth -= 1
            if self._depth == 0:
                self._commit()

    def _begin(self) -> None:
        self._doomed = None
        if not self.readonly and self.lost:
            raise StoreError(f"the database {clean(self.path)} was moved or deleted while smartmon was using it")
        self._execute("BEGIN" if self.readonly else "BEGIN IMMEDIATE")

    def _commit(self) -> None:
        doomed = self._doomed
        if doomed is not None:
            self._roll_back()
            raise doomed
        try:
            self._execute("COMMIT")
        except StoreError:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        self._doomed = None
        self._forget()
        # SQLite has rolled back on its own after some errors.
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _forget(self) -> None:
        """Drop what is remembered of rows that a rollback has undone."""

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if self._doomed is not None:
            raise self._doomed
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise self._fail(error) from error

    def _execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        if self._doomed is not None:
            raise self._doomed
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise self._fail(error) from error

    def _execute_script(self, sql: str) -> None:
        try:
            self._connection.executescript(sql)
        except sqlite3.Error as error:
            raise self._fail(error) from error

    def _fail(self, error: sqlite3.Error) -> StoreError:
        failure = translate(error, self.path, "read" if self.readonly else "write to")
        if self._depth:
            self._doomed = failure
        return failure

    def _write(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one writing statement, in the transaction at hand or in one of its own."""
        with self.transaction():
            return self._execute(sql, values)

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._lock:
            cursor = self._execute(sql, values)
            try:
                return cursor.fetchall()
            except sqlite3.Error as error:
                raise self._fail(error) from error

    def _one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        rows = self._all(sql, values)
        return rows[0] if rows else None

    def _update(self, table: str, key: str, value: Any, columns: dict[str, Any]) -> None:
        """Set columns of one row. Table and column names come from this package only."""
        if columns:
            names = ", ".join(f"{name} = ?" for name in columns)
            self._write(f"UPDATE {table} SET {names} WHERE {key} = ?", [*columns.values(), value])  # noqa: S608

    @property
    def version(self) -> int:
        """A number that changes when another connection has written; cheap enough to ask several times a second."""
        row = self._one("PRAGMA data_version")
        return row[0] if row else 0

    @property
    def lost(self) -> bool:
        """Whether another file, or none, is now where the database was when it was opened."""
        return self._file_identity() != self._identity

    def _file_identity(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino
