"""Fixtures of the tests about snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.snapshots.trainer import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A base dir with a run, a store and a keeper."""
    made = World(tmp_path / "train")
    yield made
    made.store.close()
