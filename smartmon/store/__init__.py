"""The database: one SQLite file that holds all that smartmon knows. The only package that contains SQL.

    with Store.open(path) as store:
        with store.transaction():
            ...

A `Store` may be shared by threads. One process writes; any number read with `readonly=True`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from smartmon.store.envelopes import EnvelopeTables
from smartmon.store.faults import DamagedStoreError, TransientStoreError
from smartmon.store.keeps import KeepTables
from smartmon.store.opening import open_reader, open_writer
from smartmon.store.outbox import OutboxTables
from smartmon.store.pruning import Pruning
from smartmon.store.rows import (
    AttemptRow,
    DeliveryRow,
    EventRow,
    IncidentRow,
    KeepRow,
    Nonfinite,
    ObservationRow,
    Point,
    RunRow,
    Sample,
    Series,
)
from smartmon.store.runs import RunTables
from smartmon.store.timeline import TimelineTables

__all__ = [
    "AttemptRow",
    "DamagedStoreError",
    "DeliveryRow",
    "EventRow",
    "IncidentRow",
    "KeepRow",
    "Nonfinite",
    "ObservationRow",
    "Point",
    "RunRow",
    "Sample",
    "Series",
    "Store",
    "TransientStoreError",
]


class Store(RunTables, EnvelopeTables, TimelineTables, KeepTables, OutboxTables, Pruning):
    """One open database. Its methods are those of its tables; each writes in a transaction."""

    @classmethod
    def open(cls, path: Path, *, readonly: bool = False) -> Store:
        """Open the database, creating or migrating it unless `readonly`. StoreError says why that cannot be."""
        return cls(path, open_reader(path) if readonly else open_writer(path), readonly=readonly)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
