"""TFRecord framing: `u64 length | u32 masked crc32c of it | data | u32 masked crc32c of the data`, little endian.

The format has no marks to find again where a length is damaged: what follows such a place is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

from smartmon.sources.safe_read import read_at

LARGE = 1 << 20
"""Bytes of a record from which it is passed over without being loaded: images, graphs, audio."""
LONGEST = 1 << 31
"""What a protocol buffer can be at most; a longer record was never written."""
_CHUNK = 1 << 18
_HEAD, _FOOT = 12, 4
_HEADS = 4096
_POLYNOMIAL = 0x82F63B78
_FRAME = struct.Struct("<QI")

Record = tuple[int, int, bytes | None, int]
"""Where a record begins and ends in the file, its data (None: too large to be loaded), and the data's masked crc."""


class Damaged(Exception):
    """A length that was not written so: nothing after it can be read."""


@cache
def _table() -> list[int]:
    """The remainders of all 16-bit words: two bytes a step, twice as fast as the usual table of 256."""
    single = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        single.append(crc)
    return [single[(single[word & 255] ^ word >> 8) & 255] ^ single[word & 255] >> 8 for word in range(65536)]


def masked_crc(data: bytes) -> int:
    """Return the crc32c (Castagnoli) of the data as TFRecord stores it: rotated by 15 bits, plus a constant."""
    table = _table()
    crc = 0xFFFFFFFF
    half = len(data) >> 1
    for word in struct.unpack_from(f"<{half}H", data):
        crc = table[(crc ^ word) & 0xFFFF] ^ crc >> 16
    if len(data) & 1:
        # A word whose low byte is zero is a step of one byte.
        crc = table[((crc ^ data[-1]) & 0xFF) << 8] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def data_length(head: bytes) -> int:
    """Return the length that the first 12 bytes of a record tell; raise `Damaged` if they do not fit each other."""
    length, crc = _FRAME.unpack_from(head)
    if masked_crc(head[:8]) != crc:
        raise Damaged("its length does not fit its checksum")
    if length > LONGEST:
        raise Damaged(f"it claims to be {length} bytes long")
    return int(length)


def records(descriptor: int, offset: int, size: int) -> Iterator[Record]:
    """Yield the whole records from `offset` on; a torn one at the end waits. Raises `Damaged`."""
    lengths: dict[bytes, int] = {}
    data, base, at = b"", offset, 0
    while True:
        need = _HEAD
        head = data[at : at + _HEAD]
        if len(head) == _HEAD:
            length = lengths.get(head)
            if length is None:
                if not any(head):
                    return  # space that was given to the file, but not written yet
                length = data_length(head)
                if len(lengths) < _HEADS:
                    lengths[head] = length
            end = at + _HEAD + length + _FOOT
            if base + end > size:
                return
            if end <= len(data):
                foot = end - _FOOT
                yield base + at, base + end, data[at + _HEAD : foot], int.from_bytes(data[foot:end], "little")
                at = end
                continue
            if length > LARGE:
                yield base + at, base + end, None, 0
                base, data, at = base + end, b"", 0
                continue
            need = end - at
        base, at = base + at, 0
        data = read_at(descriptor, base, min(size - base, max(need, _CHUNK)))
        if len(data) < need:
            return
