"""A store on disk with one run in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon.store import RunRow, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".smartmon" / "smartmon.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as store:
        yield store


@pytest.fixture
def run(store: Store, tmp_path: Path) -> RunRow:
    return store.ensure_run("my-run", tmp_path / "my-run", tmp_path, 1000.0)
