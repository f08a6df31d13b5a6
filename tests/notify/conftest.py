"""Fixtures of the notification tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notify.servers import Mailbox, Receiver
from tests.notify.servers import mail as serve_mail
from tests.notify.servers import receiver as serve


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver."""
    with serve() as server:
        yield server


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, int]]:
    """A mail server: what it got, and its port."""
    with serve_mail() as server:
        yield server
