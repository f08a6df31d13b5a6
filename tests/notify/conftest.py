"""Fixtures of the notification tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notify.servers import Receiver
from tests.notify.servers import receiver as serve


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver."""
    with serve() as server:
        yield server
