"""Writes TensorBoard event files as torch and TensorFlow do, for tests: framing, checksums, both scalar encodings."""

from __future__ import annotations

import struct
from pathlib import Path


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum, bit by bit: slow, and with nothing in common with the reader's."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def block(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def event(wall_time: float, step: int, *rest: bytes) -> bytes:
    data = b"\x09" + struct.pack("<d", wall_time)
    if step:
        data += b"\x10" + varint(step)
    return data + b"".join(rest)


def version(wall_time: float) -> bytes:
    return record(event(wall_time, 0, block(3, b"brain.Event:2")))


def simple(tag: str, value: float) -> bytes:
    """A summary value as torch and tensorboardX write it."""
    return block(1, block(1, tag.encode()) + b"\x15" + struct.pack("<f", value))


def metadata(plugin: str) -> bytes:
    return block(9, block(1, block(1, plugin.encode())))


def content(tag: str, dtype: int, raw: bytes, plugin: str = "scalars", shape: bytes = b"") -> bytes:
    """A summary value as TensorFlow 2 writes it: a tensor of raw bytes."""
    tensor = b"\x08" + varint(dtype) + block(2, shape) + block(4, raw)
    return block(1, block(1, tag.encode()) + block(8, tensor) + (metadata(plugin) if plugin else b""))


def listed(tag: str, dtype: int, field: bytes, plugin: str = "scalars") -> bytes:
    """A summary value whose tensor holds its number in one of the repeated fields."""
    tensor = b"\x08" + varint(dtype) + block(2, b"") + field
    return block(1, block(1, tag.encode()) + block(8, tensor) + metadata(plugin))


def scalar(wall_time: float, step: int, tag: str, value: float) -> bytes:
    return record(event(wall_time, step, block(5, simple(tag, value))))


def scalars(wall_time: float, step: int, values: dict[str, float]) -> bytes:
    """One event of several values."""
    return record(event(wall_time, step, block(5, b"".join(simple(tag, value) for tag, value in values.items()))))


def summary(wall_time: float, step: int, *values: bytes) -> bytes:
    return record(event(wall_time, step, block(5, b"".join(values))))


def write(path: Path, *parts: bytes, mode: str = "ab") -> Path:
    with path.open(mode) as file:
        file.write(b"".join(parts))
    return path
