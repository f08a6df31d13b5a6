"""Reads the step out of a file of `torch.save` whose name does not tell it. Nothing is unpickled."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from smartmon.snapshots.complete import read_range
from smartmon.snapshots.listing import Entry, folder_below, open_below

MOST = 2 << 20
"""Bytes of pickle that are looked through, about a second's worth: 12,000 tensors take the half of it."""
_HEADER = 30
_KEYS = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINUNICODE8"})
_PUTS = frozenset({"MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"})
_GETS = frozenset({"BINGET", "LONG_BINGET", "GET"})
_WHOLE = frozenset({"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4"})
_NEXT = _KEYS | _GETS | {"SETITEM", "SETITEMS"}
_NUMBER_MOST = 10**18


class _MovingError(Exception):
    """The file was written while it was read, so what was seen must not be remembered."""


def step_in(place: Path, entry: Entry, keys: tuple[str, ...]) -> int | None:
    """Return the whole number that the first of `keys` to appear in a file stands for, or None.

    A file is looked through once for as long as it stays the same: this is asked at every scan.
    """
    try:
        return _step_in(place, entry.name, entry.identity, keys)
    except (OSError, _MovingError):
        return None


@lru_cache(maxsize=1024)
def _step_in(place: Path, name: str, identity: tuple[int, int, int, int], keys: tuple[str, ...]) -> int | None:
    with folder_below(place) as root:
        descriptor = open_below(root, name)
        try:
            data = _pickle(descriptor)
            seen = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    if (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns) != identity:
        raise _MovingError
    return number_of(data, keys)


def _pickle(descriptor: int) -> bytes:
    """Return what follows the header of the zip's first file, which in those of torch is `NAME/data.pkl`, not packed.

    Torch leaves its length out of the header, but a pickle knows its own end.
    """
    head = read_range(descriptor, 0, _HEADER + 512)
    if len(head) < _HEADER or head[:4] != b"PK\x03\x04" or head[8:10] != b"\0\0":
        return b""
    name, extra = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    if not head[_HEADER : _HEADER + name].endswith(b"/data.pkl"):
        return b""
    return read_range(descriptor, _HEADER + name + extra, MOST)


def number_of(data: bytes, keys: tuple[str, ...]) -> int | None:
    """Return the whole number that follows one of `keys` in a pickle, by its opcodes; None where there is none.

    Gets wrong: a file in which a nested object has the key too, and before the top one.
    """
    if not any(key.encode() in data for key in keys):
        return None
    import pickletools  # only runs with such checkpoints need it

    memo: dict[int, str] = {}
    memoized, key, found = 0, "", -1
    try:
        for opcode, argument, _position in pickletools.genops(data):
            name = opcode.name
            if name in _PUTS:
                # What was just pushed gets a number, under which it may come again; its value is still to follow.
                number = memoized if name == "MEMOIZE" else int(argument or 0)
                memoized += 1
                if key:
                    memo[number] = key
                continue
            if 0 <= found < _NUMBER_MOST and name in _NEXT:
                return found
            # A number before anything else than the dictionary's next entry, or its end, is part of something larger.
            found = argument if key and name in _WHOLE and type(argument) is int else -1
            key = ""
            if name in _KEYS and argument in keys:
                key = str(argument)
            elif name in _GETS:
                key = memo.get(int(argument or 0), "")
    except ValueError:
        # The bytes end before the pickle does: it is longer than what is looked through, or not all there yet.
        return None
    return None
