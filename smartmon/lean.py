"""Keeps the daemon's memory small: it stands beside trainings that need theirs."""

from __future__ import annotations

import ctypes
import gc
import sys

_M_ARENA_MAX = -8
"""mallopt(3): glibc gives each thread an arena of its own by default, and the watcher has a thread per folder."""


def prepare() -> None:
    """Call once, before the daemon's modules are imported.

    structlog imports rich, where it is installed, for tracebacks in colour that a daemon never prints: 5 MB. And it
    imports asyncio, which takes TLS along: 2 MB for servers that nobody starts. hashlib takes the 3.5 MB of OpenSSL
    along, where Python has small ones of its own: quick enough for fingerprints. Who needs these later imports them
    then.
    """
    hidden = [name for name in ("rich", "ssl", "_hashlib") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails, as if it were not installed
    import hashlib
    import hmac

    import structlog

    del structlog, hashlib, hmac
    for name in hidden:
        if name != "rich":
            del sys.modules[name]
    _libc("mallopt", _M_ARENA_MAX, 1)


def trim() -> None:
    """Give memory that is no longer used back to the system; worth it after a long past was read."""
    gc.collect()
    _libc("malloc_trim", 0)


def _libc(name: str, *values: int) -> None:
    # Only glibc has these; elsewhere memory is merely a little larger.
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*values)
