"""How Python values become SQLite values and back, so that no datum of a run can make a write fail."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from smartmon.records import Json

INT_MAX = 2**63 - 1
_MOMENT_MAX = 1e12


def text(value: str) -> str | bytes:
    """A string as SQLite takes it. One with lone surrogates (a file name that is not UTF-8) becomes a BLOB."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def untext(value: str | bytes) -> str:
    """The string that `text` was given."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def path_blob(path: Path | str) -> bytes:
    """A path in the file system's own bytes."""
    return os.fsencode(path)


def unpath(value: bytes) -> Path:
    """The path that `path_blob` was given."""
    return Path(os.fsdecode(value))


def integer(value: int) -> int:
    """The number, held within SQLite's 64 bits."""
    return max(-INT_MAX, min(INT_MAX, int(value)))


def maybe_integer(value: int | None) -> int | None:
    """As `integer`, with None for None."""
    return None if value is None else integer(value)


def real(value: float | None) -> float | None:
    """A float, None for NaN (SQLite has no NaN) and an infinity for an integer too large for a float."""
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return None if math.isnan(number) else number


def moment(at: float) -> float:
    """A time in whole milliseconds, as sealed chunks keep it, so that sealing changes nothing."""
    number = real(at)
    return 0.0 if number is None else round(max(-_MOMENT_MAX, min(_MOMENT_MAX, number)), 3)


def dump(value: Json) -> str:
    """JSON in ASCII: surrogates and NUL escaped, NaN and the infinities as Python's bare words."""
    return json.dumps(value, separators=(",", ":"), default=_plain)


def load(value: str) -> Json:
    """What `dump` wrote."""
    return json.loads(value)


def _plain(value: object) -> Json:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")
