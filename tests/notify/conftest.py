"""Fixtures of the notification tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from notify.servers import Receiver
from notify.servers import receiver as serve


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver."""
    with serve() as server:
        yield server
