"""Keeps the daemon's memory small: it stands beside trainings that need theirs."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_ARENA_MAX = -8
"""mallopt(3): glibc gives each thread an arena of its own by default, and the watcher has a thread per folder."""


def leave_out_openssl() -> None:
    """Call once, before anything imports hashlib or hmac, as pydantic does.

    They take the 3.5 MB of OpenSSL along, where Python has digests of its own that are quick enough for fingerprints.
    Who digests gigabytes imports `_hashlib` then.
    """
    with _hidden("_hashlib"):
        import hashlib
        import hmac

        del hashlib, hmac


def prepare() -> None:
    """Call once, before the daemon's modules are imported.

    structlog imports rich, where it is installed, for tracebacks in colour that a daemon never prints: 5 MB. And it
    imports asyncio, which takes TLS along: 2 MB for servers that nobody starts. Who needs TLS later imports it then.
    """
    leave_out_openssl()
    if "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails, as if it were not installed
    with _hidden("ssl"):
        import structlog

        del structlog
    _libc("mallopt", _M_ARENA_MAX, 1)


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let an import of a module fail for a while, as if it were not installed; one that is loaded stays."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def trim() -> None:
    """Give memory that is no longer used back to the system; worth it after a long past was read."""
    gc.collect()
    _libc("malloc_trim", 0)


def _libc(name: str, *values: int) -> None:
    # Only glibc has these; elsewhere memory is merely a little larger.
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*values)
