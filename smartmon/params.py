"""The base that every config section and detector extends, and the value types they share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from smartmon.linepattern import check_pattern

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


class Params(BaseModel):
    """A frozen section: unknown keys are errors, and no error ever shows the value that was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


def seconds(value: object) -> object:
    """Read `"10m"`, `"1.5h"`, `"250ms"` or a bare number of seconds; raise ValueError for other text."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?\s*", value)
    if match is None:
        raise ValueError('is not a duration; write it like "30s", "10m", "4h" or "7d"')
    return float(match[1]) * _UNITS[match[2] or "s"]


def duration_text(value: float) -> str:
    """Write seconds the way config files do: `600.0` becomes `"10m"`."""
    for unit in ("w", "d", "h", "m", "s"):
        if value and value % _UNITS[unit] == 0 and (unit != "w" or value >= 14 * 86400):
            return f"{int(value // _UNITS[unit])}{unit}"
    return f"{value:g}s" if value >= 1 or not value else f"{value * 1000:g}ms"


def size(value: object) -> object:
    """Read `"2GiB"`, `"500MB"` or a bare number of bytes; raise ValueError for other text."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].lower() not in _SIZES:
        raise ValueError('is not a size; write it like "500MB" or "2GiB"')
    return int(float(match[1]) * _SIZES[match[2].lower()])


LinePattern = Annotated[str, AfterValidator(check_pattern)]
"""A regular expression whose named groups are metrics."""

Duration = Annotated[float, BeforeValidator(seconds), PlainSerializer(duration_text, return_type=str)]
"""Seconds; in TOML also `"10m"`."""

Bytes = Annotated[int, BeforeValidator(size)]
"""A number of bytes; in TOML also `"2GiB"`."""
