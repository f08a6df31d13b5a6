"""What a command needs beyond the daemon's own packages, said in one sentence where it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed(doing: str, extra: str) -> Iterator[None]:
    """Raise UsageError that names the missing package and how to install `smartmon[extra]`."""
    from smartmon.errors import UsageError

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "smartmon":
            raise
        raise UsageError(
            f"{doing} needs packages that are not installed here ({error.name}); pip install 'smartmon[{extra}]'"
        ) from None
