"""What every test has in common: nothing of the person who runs it leaks in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hide the user's own config, variables and service manager from the test and from what it starts."""
    for name in list(os.environ):
        if name.startswith("SMARTMON_") or name in ("NOTIFY_SOCKET", "JOURNAL_STREAM", "WATCHDOG_USEC"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("no-config", numbered=True)))


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent
