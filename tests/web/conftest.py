"""A training directory that was watched, and a real server over it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smartmon.store import Store
from tests.web.world import beat, fill, served

if TYPE_CHECKING:
    import httpx

    from smartmon.web.serve import Served

collect_ignore_glob = [] if find_spec("fastapi") and find_spec("httpx") else ["test_*.py"]
"""Without `pip install 'smartmon[dashboard,dev]'` there is nothing to serve or to ask with."""


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base dir with two runs; see `world.py`."""
    base = tmp_path_factory.mktemp("watched") / "train"
    fill(base)
    return base


@pytest.fixture(autouse=True)
def _daemon_lives(base: Path) -> None:
    """The shared base dir serves for minutes, and a daemon that was silent for one is taken for dead."""
    beat(base)


@pytest.fixture(scope="session")
def dashboard(base: Path) -> Iterator[Served]:
    """A server over it that only this machine reaches."""
    with served(base) as where:
        yield where


@pytest.fixture
def api(dashboard: Served) -> Iterator[httpx.Client]:
    """Asks it."""
    import httpx

    with httpx.Client(base_url=dashboard.url, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def writer(base: Path) -> Iterator[Store]:
    """Writes as the daemon would."""
    with Store.open(base / ".smartmon" / "smartmon.db") as store:
        yield store
