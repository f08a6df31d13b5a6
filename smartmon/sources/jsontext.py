"""JSON as trainers write it, read by the standard library with limits.

Faster parsers refuse NaN, which is the value that smartmon lives for.
"""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 64
"""Nesting beyond this is refused: whatever walks the value later must not overflow the stack."""


class BadJson(ValueError):
    """Why a text is not taken, as a fact that completes "X ..."."""


def _integer(digits: str) -> int | float:
    """Read an integer of any length; beyond what Python converts it is as good as infinite."""
    return int(digits) if len(digits) <= 400 else (-math.inf if digits[0] == "-" else math.inf)


_usual = json.JSONDecoder()
_patient = json.JSONDecoder(parse_int=_integer)


def loads(data: bytes) -> Any:
    """Return the JSON value in `data`: UTF-8 with or without a byte order mark, UTF-16 or UTF-32; raise `BadJson`.

    Bare `NaN` and `Infinity` are kept, of duplicate keys the last wins, bytes that are no UTF-8 become U+FFFD.
    """
    try:
        value = _decode(data)
    except RecursionError:
        raise BadJson(f"is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise BadJson(_reason(data, error)) from None
    except UnicodeDecodeError:
        raise BadJson("is neither UTF-8 nor UTF-16 text") from None
    except (ValueError, OverflowError) as error:
        raise BadJson(f"is not valid JSON: {error}") from None
    except MemoryError:
        raise BadJson("is too large to be read") from None
    # Fewer brackets than the limit cannot nest deeper: true of nearly every line of a log.
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and not shallow(value, MAX_DEPTH):
        raise BadJson(f"is nested deeper than {MAX_DEPTH} levels")
    return value


def load_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`; raise `BadJson` for any other value too."""
    value = loads(data)
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}.get(type(value), "a number")
        raise BadJson(f"holds {kind}, not an object")
    return value


def value_at(text: str, at: int) -> tuple[Any, int]:
    """Return the JSON value that begins at a place of a text, and the place after it; raise `ValueError` for none."""
    try:
        try:
            return _usual.raw_decode(text, at)
        except json.JSONDecodeError:
            raise
        except ValueError:
            return _patient.raw_decode(text, at)  # more digits than Python converts
    except RecursionError:
        raise BadJson(f"is nested deeper than {MAX_DEPTH} levels") from None


def shallow(value: Any, limit: int) -> bool:
    """Whether a JSON value nests no deeper than `limit`; walks level by level, without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        children = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return True
    return False


def _decode(data: bytes) -> Any:
    try:
        if data[:1] == b"{" and data[1:2] != b"\0":
            text = data.decode()
            value, end = _usual.raw_decode(text)
            # What follows the object is looked at by the slower call alone, which names the place.
            return value if end == len(text) else _usual.decode(text)
        return json.loads(data)
    except UnicodeDecodeError:
        if json.detect_encoding(data) != "utf-8":
            raise
        # One bad byte in a prompt is no reason to lose the loss beside it.
        return _patient.decode(data.decode("utf-8", "replace"))
    except json.JSONDecodeError:
        raise
    except ValueError:
        # More digits than Python converts (its guard against quadratic time).
        return _patient.decode(data.decode(json.detect_encoding(data), "surrogatepass").removeprefix("\ufeff"))


def _reason(data: bytes, error: json.JSONDecodeError) -> str:
    if not data.strip(b" \t\r\n\0"):
        return "is empty"
    where = f"at line {error.lineno}" if error.lineno > 1 else f"at character {error.pos}"
    return f"is not valid JSON ({error.msg.lower()} {where})"
