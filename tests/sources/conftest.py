"""What the tests of sources share: reading to the end as the daemon does, and the corpus."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartmon.records import Batch, Note, Observation, SourceRank, StatusReport
from smartmon.sources import Source, SourceSpec, open_source

NOW = 2_000_000_000.0


class Reader:
    """Reads one source as the monitor does: cursors go through JSON, `more` is obeyed."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self.source: Source = open_source(spec)
        self.cursor: Any = None
        self.notes: list[Note] = []
        self.status: StatusReport | None = None

    def read(self, now: float = NOW) -> list[Observation]:
        """Return what is new, to the end."""
        found: list[Observation] = []
        while True:
            batch = self.batch(now)
            found += batch.observations
            if not batch.more:
                return found

    def batch(self, now: float = NOW) -> Batch:
        """Return one batch."""
        batch = self.source.read(self.cursor, now)
        self.cursor = json.loads(json.dumps(dict(batch.cursor)))
        self.notes += batch.notes
        self.status = batch.status or self.status
        return batch

    def restart(self) -> None:
        """Forget all but the cursor."""
        self.source = open_source(self.spec)


@pytest.fixture
def reader() -> Callable[..., Reader]:
    def make(path: Path, kind: str = "jsonl", root: Path | None = None, **options: Any) -> Reader:
        return Reader(SourceSpec(path.name, kind, path, SourceRank.STREAM, root, options))

    return make


@pytest.fixture(scope="session")
def corpus() -> Path:
    named = os.environ.get("SMARTMON_CORPUS")
    path = Path(named) if named else Path(__file__).parents[3] / "shared" / "corpus"
    if not (path / "manifest.jsonl").is_file():
        pytest.skip("the corpus is not here; point SMARTMON_CORPUS at it")
    return path
