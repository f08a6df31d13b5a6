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
SMALL = 4096
"""Bytes up to which every record is verified; of larger ones those that something is taken from."""
VERIFIED = -1
"""Stands in a record's place for a checksum that was found right."""
_CHUNK = 1 << 18
_HEAD, _FOOT = 12, 4
_HEADS = 4096
_POLYNOMIAL = 0x82F63B78
_DELTA = 0xA282EAD8
_ALL = 0xFFFFFFFF
_FRAME = struct.Struct("<QI")

Record = tuple[int, int, bytes | None, int]
"""Where a record begins and ends, its data (None: too large to be loaded), and its checksum or `VERIFIED`."""


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
    return _rotated(data) + _DELTA & _ALL


def _rotated(data: bytes) -> int:
    table = _table()
    crc = _ALL
    half = len(data) >> 1
    for word in struct.unpack_from(f"<{half}H", data):
        crc = table[(crc ^ word) & 0xFFFF] ^ crc >> 16
    if len(data) & 1:
        # A word whose low byte is zero is a step of one byte.
        crc = table[((crc ^ data[-1]) & 0xFF) << 8] ^ crc >> 8
    crc ^= _ALL
    return (crc >> 15 | crc << 17) & _ALL


def data_length(head: bytes) -> int:
    """Return the length that the first 12 bytes of a record tell; raise `Damaged` if they do not fit each other."""
    length, crc = _FRAME.unpack_from(head)
    if masked_crc(head[:8]) != crc:
        raise Damaged("its length does not fit its checksum")
    if length > LONGEST:
        raise Damaged(f"it claims to be {length} bytes long")
    return int(length)


def records(descriptor: int, offset: int, size: int) -> Iterator[list[Record]]:
    """Yield the whole records from `offset` on, many at a time; a torn one at the end waits. Raises `Damaged`."""
    lengths: dict[bytes, int] = {}
    base, need = offset, _HEAD
    while base + need <= size:
        data = read_at(descriptor, base, min(size - base, max(need, _CHUNK)))
        if len(data) < need:
            return
        found, at, damage = _framed(data, base, lengths)
        if found:
            yield _verified(found)
        if damage is not None:
            raise damage
        need = _HEAD
        if at + _HEAD <= len(data):
            if not any(data[at : at + _HEAD]):
                return  # space that was given to the file, but not written yet
            length = lengths[data[at : at + _HEAD]]
            need += length + _FOOT
            if length > LARGE and base + at + need <= size:
                yield [(base + at, base + at + need, None, VERIFIED)]
                at, need = at + need, _HEAD
        base += at


def _framed(data: bytes, base: int, lengths: dict[bytes, int]) -> tuple[list[Record], int, Damaged | None]:
    """Return the whole records at the beginning of the data, where they end, and what is wrong there."""
    found: list[Record] = []
    at, last = 0, len(data) - _HEAD
    while at <= last:
        head = data[at : at + _HEAD]
        length = lengths.get(head)
        if length is None:
            if not any(head):
                break
            try:
                length = data_length(head)
            except Damaged as damage:
                return found, at, damage
            if len(lengths) >= _HEADS:
                lengths.clear()
            lengths[head] = length
        begin = at + _HEAD
        foot = begin + length
        end = foot + _FOOT
        if end > len(data):
            break
        found.append((base + at, base + end, data[begin:foot], int.from_bytes(data[foot:end], "little")))
        at = end
    return found, at, None


def _verified(found: list[Record]) -> list[Record]:
    """Mark the small records whose checksums are right as verified.

    A crc is linear: those of messages of one length, taken together by exclusive or, are that of the messages taken
    together so (but for a constant). One calculation thus verifies thousands of events; only where it fails is each
    record looked at. Two damages would have to cancel each other bit by bit to be missed.
    """
    sums: dict[int, int] = {}
    crcs: dict[int, int] = {}
    counts: dict[int, int] = {}
    for _, _, data, crc in found:
        if data is not None and (length := len(data)) <= SMALL:
            sums[length] = sums.get(length, 0) ^ int.from_bytes(data, "little")
            crcs[length] = crcs.get(length, 0) ^ (crc - _DELTA & _ALL)
            counts[length] = counts.get(length, 0) + 1
    sound = set()
    for length, total in sums.items():
        expected = _rotated(total.to_bytes(length, "little"))
        if counts[length] % 2 == 0:
            expected ^= _rotated(bytes(length))
        if expected == crcs[length]:
            sound.add(length)
    return [
        (start, end, data, VERIFIED if data is not None and len(data) in sound else crc)
        for start, end, data, crc in found
    ]


def is_sound(data: bytes, crc: int) -> bool:
    """Whether a record's data fits its checksum."""
    return crc == VERIFIED or masked_crc(data) == crc
