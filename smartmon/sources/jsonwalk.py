"""Walks through one JSON object in a file slice by slice, so that a large one is never held or parsed at a stretch.

Made for an object with one long array in it. A value that the slice does not hold whole waits for the next slice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from smartmon.records import Json
from smartmon.sources.jsontext import BadJson, value_at
from smartmon.sources.rows import bounded
from smartmon.sources.safe_read import read_at

SLICE = 1 << 19
"""Bytes of one slice: what is parsed, and made into rows, in a few hundredths of a second."""
LONGEST = 4 << 20
"""The longest single value, in bytes."""

_START, _MEMBERS, _ARRAY, _END = "start", "members", "array", "end"
_MOST = 64
_GAP = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")
_COLON = re.compile(r"[ \t\r\n]*:[ \t\r\n]*")
_AFTER = re.compile(r"[ \t\r\n]*[,\]}]")
_BOM = "\xef\xbb\xbf"


@dataclass(slots=True)
class Walk:
    """How far a walk has come."""

    offset: int = 0
    """Just after the last thing that was taken."""
    inside: str = _START
    begin: int = 0
    """Just after the bracket that opens the array; 0 before that."""
    top: dict[str, Json] = field(default_factory=dict)
    """The numbers beside the array."""

    @property
    def whole(self) -> bool:
        """Whether the object was read to its end."""
        return self.inside == _END

    def within(self, offset: int) -> Walk:
        """Return the place in the array at this offset."""
        return Walk(offset, _ARRAY, self.begin, dict(self.top))

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {"offset": self.offset, "inside": self.inside, "begin": self.begin, "top": dict(self.top)}

    @classmethod
    def read(cls, data: Mapping[str, Json]) -> Walk:
        """Return what `data` made; raise `KeyError`, `TypeError` or `ValueError` for anything else."""
        return cls(int(data["offset"]), str(data["inside"]), int(data["begin"]), dict(data["top"]))


def walk(descriptor: int, size: int, place: Walk, array: str) -> Iterator[dict[str, Any]]:
    """Yield the objects in the array of this name, as many as one slice holds; `place` is just after the last one.

    Raise `BadJson` where the file is no JSON object. More lenient than JSON in one thing: commas may be missing.
    """
    base, room = place.offset, SLICE
    text, ascii_only = _slice(descriptor, base, room)
    while not place.whole:
        at = place.offset - base
        found = None
        try:
            if place.inside == _ARRAY:
                found, at = _element(text, at, place)
            else:
                at = _member(text, at, place, array, base)
        except (ValueError, IndexError) as error:
            if isinstance(error, BadJson):
                raise
            if len(text) < room or base + room >= size:
                raise BadJson(f"is not valid JSON (it breaks off or goes wrong after byte {place.offset})") from None
            if place.offset > base:
                return
            if room >= LONGEST:
                raise BadJson(f"is not valid JSON, or holds a value of more than {LONGEST} bytes") from None
            room *= 2
            text, ascii_only = _slice(descriptor, base, room)
            continue
        place.offset = base + at
        if type(found) is dict:
            yield found if ascii_only else {_utf8(key): value for key, value in found.items()}
    if read_at(descriptor, place.offset, 64).strip():
        raise BadJson("is not valid JSON (something follows its end)")


def _slice(descriptor: int, offset: int, length: int) -> tuple[str, bool]:
    """Return a stretch of the file as text with a character for each byte: so places in both are the same."""
    data = read_at(descriptor, offset, length)
    return data.decode("latin-1"), data.isascii()


def _element(text: str, at: int, place: Walk) -> tuple[Any, int]:
    """Return the next member of the array and the place after it; None where the array ends."""
    match = _GAP.match(text, at)
    at = match.end() if match else at
    if text[at] == "]":
        place.inside = _MEMBERS
        return None, at + 1
    value, end = value_at(text, at)
    # A number may go on in the next slice; an object shows its own end.
    if type(value) is not dict and not _AFTER.match(text, end):
        raise ValueError
    return value, end


def _member(text: str, at: int, place: Walk, array: str, base: int) -> int:
    """Take the next member of the object and return the place after it."""
    if place.inside == _START and text.startswith(_BOM, at):
        at += len(_BOM)
    match = _GAP.match(text, at)
    at = match.end() if match else at
    if place.inside == _START:
        if text[at] != "{":
            raise BadJson("is not a JSON object")
        place.inside = _MEMBERS
        return at + 1
    if text[at] == "}":
        place.inside = _END
        return at + 1
    key, at = value_at(text, at)
    colon = _COLON.match(text, at)
    if not isinstance(key, str) or colon is None:
        raise ValueError
    at = colon.end()
    if key == array and text[at] == "[" and not place.begin:
        place.inside, place.begin = _ARRAY, base + at + 1
        return at + 1
    value, end = value_at(text, at)
    if not _AFTER.match(text, end):
        raise ValueError
    if isinstance(value, int | float) and len(place.top) < _MOST:
        place.top[key] = bounded(value)
    return end


def _utf8(key: str) -> str:
    try:
        return key.encode("latin-1").decode()
    except ValueError:
        return key  # it was written as an escape
