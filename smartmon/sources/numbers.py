"""Lenient reading of single values: numbers as trainers write them, steps, moments, durations.

NaN and the infinities are values. `true` is not 1.0. What cannot be read is None, never an exception.
"""

from __future__ import annotations

import math
import re
from datetime import datetime

_LONGEST = 64
_NONFINITE = {"nan", "inf", "infinity", "-nan", "-inf", "-infinity", "+inf", "+infinity"}
_MEMORY = re.compile(r"([\d.]+(?:e[+-]?\d+)?)\s*([kmgt]i?b|b)?", re.IGNORECASE)
_MEGABYTES = {"b": 2**-20, "k": 2**-10, "m": 1.0, "g": 1024.0, "t": 2.0**20}
_DURATION = re.compile(r"(?:(\d{1,6}) days?, )?(\d{1,6}):(\d\d)(?::(\d\d(?:\.\d+)?))?")
_SPELLED = re.compile(r"(?=\d)(?:(\d{1,6})d ?)?(?:(\d{1,6})h ?)?(?:(\d{1,6})m ?)?(?:(\d{1,6}(?:\.\d+)?)s)?")
_EARLIEST, _LATEST = 1e8, 4.1e9
"""Moments outside of 1973 to 2099 are no moments but counters."""

MAX_STEP = 2**53
"""A step must survive a trip through JSON and a float."""


def number(value: object, *, quoted: bool = True) -> float | None:
    """Return the value as a float, or None. `quoted=False` takes from strings only `"nan"` and the infinities."""
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return _written(value, quoted) if isinstance(value, str) and len(value) <= _LONGEST else None


def _written(value: str, quoted: bool) -> float | None:
    text = value.strip()
    if text.lower() not in _NONFINITE and (not quoted or "_" in text):
        return None
    try:
        return float(text)
    except ValueError:
        return None


def whole(value: object) -> int | None:
    """Return a step: a whole number from 0 that a float can carry, also written `12.0` or `"12"`."""
    if type(value) is int:
        return value if 0 <= value < MAX_STEP else None
    found = number(value)
    if found is None or not found.is_integer() or not 0 <= found < MAX_STEP:
        return None
    return int(found)


def progress(value: object) -> tuple[int | None, int | None]:
    """Return the step and the total of `37/1000`; a bare number is a step."""
    if isinstance(value, str) and value.count("/") == 1 and len(value) <= _LONGEST:
        done, total = value.split("/")
        return whole(done), whole(total)
    return whole(value), None


def megabytes(value: object) -> float | None:
    """Return `19.43GB` in megabytes as GPU tools count them (1,024 to the gigabyte); a bare number is megabytes."""
    if not isinstance(value, str):
        return number(value)
    match = _MEMORY.fullmatch(value.strip()) if len(value) <= _LONGEST else None
    amount = number(match[1]) if match else None
    if match is None or amount is None:
        return None
    return amount * _MEGABYTES[(match[2] or "m")[0].lower()]


def duration(value: object) -> float | None:
    """Return the seconds of `0:32:48`, of `9 days, 21:39:23`, of `1h 2m 3s`, or of a bare number."""
    text = value.strip() if isinstance(value, str) and len(value) <= _LONGEST else ""
    match = _DURATION.fullmatch(text)
    if match is None:
        spelled = _SPELLED.fullmatch(text)
        if spelled is None:
            return number(value)
        return sum(float(part or 0) * unit for part, unit in zip(spelled.groups(), (86400, 3600, 60, 1)))
    days, first, second, third = match.groups()
    if third is None:
        return float(int(first) * 60 + int(second))
    return int(days or 0) * 86400 + int(first) * 3600 + int(second) * 60 + float(third)


def moment(value: object) -> float | None:
    """Return seconds since the epoch from such a number (milliseconds too) or from ISO 8601; no zone means local."""
    found = number(value)
    if found is not None:
        if found >= _EARLIEST * 1000:
            found /= 1000
        return found if _EARLIEST <= found <= _LATEST else None
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    try:
        found = datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return found if _EARLIEST <= found <= _LATEST else None
