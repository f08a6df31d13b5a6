"""The few fields of TensorBoard's `Event` message that hold scalars, decoded by hand: no protobuf is needed.

Field numbers are those of tensorflow's event.proto, summary.proto and tensor.proto.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")
_double, _float = _DOUBLE.unpack_from, _FLOAT.unpack_from
_TEMPLATES = 4096
_PROBE = b"\x53\x4d\x0d\x41"
"""A number that no trainer is likely to have written just there."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_FORMATS = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 17: "H", 19: "e", 22: "I", 23: "Q"}
"""TensorFlow's DataType -> the struct format of one element in `tensor_content`."""
_BFLOAT16, _HALF = 14, 19
_LISTS = {5: "f", 6: "d"}
"""TensorProto's repeated fields of fixed width; the others (7 int, 10 int64, 11 bool, 13 half, ...) are varints."""
_VARINT_LISTS = (7, 10, 11, 13, 16, 17)

Value = int | bytes


class BadProto(ValueError):
    """Bytes that are no such message."""


@dataclass(slots=True)
class Event:
    """What an event says, as far as it matters here."""

    wall_time: float = 0.0
    step: int = 0
    scalars: list[tuple[str, float]] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)
    """What it holds besides, such as `histograms`, and the tag of each."""
    version: str = ""
    """`brain.Event:2` in a file's first event."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise BadProto("a number has no end")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _fields(data: bytes) -> Iterator[tuple[int, int, Value]]:
    """Yield each field of a message: its number, its wire type, and a number or its bytes."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        wire, value = key & 7, b""
        if wire == _VARINT:
            number, at = _varint(data, at)
            yield key >> 3, wire, number
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise BadProto(f"a field of type {wire}")
        value = data[at : at + length]
        if len(value) != length:
            raise BadProto("a field is cut short")
        at += length
        yield key >> 3, wire, value


class Decoder:
    """Decodes events. It remembers what surrounds the number in the events seen, so that most need no parsing."""

    def __init__(self) -> None:
        self._templates: dict[bytes, str] = {}
        self._cuts: dict[int, tuple[int, ...]] = {}
        """Length of an event's summary -> where in it the number may lie, from its end."""

    def quick(self, data: bytes) -> tuple[float, int, dict[str, float]] | None:
        """Return wall time, step and the scalar of an event of a shape seen before; None for any other.

        A writer repeats `wall_time, step, summary { value { tag, ... } }` byte for byte but for three numbers.
        """
        if len(data) < 16 or data[0] != 9:
            return None
        at, step = 9, 0
        if data[9] == 16:
            byte = data[10]
            at, step, shift = 11, byte & 127, 7
            while byte > 127:
                if at >= len(data) or shift > 56:
                    return None
                byte = data[at]
                step |= (byte & 127) << shift
                at, shift = at + 1, shift + 7
        for cut in self._cuts.get(len(data) - at, ()):
            place = len(data) - cut
            tag = self._templates.get(data[at:place] + data[place + 4 :])
            if tag is not None:
                return _double(data, 1)[0], step, {tag: _float(data, place)[0]}
        return None

    def event(self, data: bytes) -> Event:
        """Return what any event says; raise `BadProto` if it is none."""
        event = _event(data)
        if len(event.scalars) == 1 and not event.others and data[0] == 9 and len(self._templates) < _TEMPLATES:
            self._remember(data, *event.scalars[0])
        return event

    def _remember(self, data: bytes, tag: str, value: float) -> None:
        """Remember the surroundings of a scalar of four bytes: where other bytes give another number, it lies there."""
        at = _varint(data, 10)[1] if data[9] == 16 else 9
        if not math.isfinite(value) or abs(value) > 1e38 or _float(number := _FLOAT.pack(value))[0] != value:
            return
        place = data.find(number, at)
        while place >= 0:
            other = data[:place] + _PROBE + data[place + 4 :]
            try:
                found = _event(other).scalars
            except BadProto:
                found = []
            if found == [(tag, _float(_PROBE)[0])]:
                self._templates[data[at:place] + data[place + 4 :]] = tag
                cuts = self._cuts.get(len(data) - at, ())
                self._cuts[len(data) - at] = tuple(sorted({*cuts, len(data) - place}))
                return
            place = data.find(number, place + 1)


def _event(data: bytes) -> Event:
    event = Event()
    try:
        for number, wire, value in _fields(data):
            if number == 1 and wire == _FIXED64:
                event.wall_time = _double(value)[0]  # type: ignore[arg-type]
            elif number == 2 and isinstance(value, int):
                event.step = _signed(value)
            elif number == 3 and isinstance(value, bytes):
                event.version = value.decode("utf-8", "replace")
            elif number == 5 and isinstance(value, bytes):
                _summary(value, event)
            elif number in _EVENTS:
                event.others.append((_EVENTS[number], ""))
    except (IndexError, struct.error) as error:
        raise BadProto("a number is cut short") from error
    return event


_EVENTS = {4: "graphs", 6: "log messages", 7: "session marks", 8: "run metadata", 9: "graphs"}
_VALUES = {3: "histograms", 4: "images", 5: "histograms", 6: "audio"}
_PLUGINS = {"text": "texts", "histograms": "histograms", "images": "images", "hparams": "hyperparameters"}


def _summary(data: bytes, event: Event) -> None:
    for number, _, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            _value(value, event)


def _value(data: bytes, event: Event) -> None:
    """Add one value of a summary: a scalar in either encoding, or the mention of something else."""
    tag, plugin, kind = "", "", ""
    scalar: float | None = None
    tensor: bytes | None = None
    for number, wire, value in _fields(data):
        if number == 2 and wire == _FIXED32:
            scalar = _float(value)[0]  # type: ignore[arg-type]
        elif isinstance(value, int):
            continue
        elif number == 1:
            tag = value.decode("utf-8", "backslashreplace")
        elif number == 8:
            tensor = value
        elif number == 9:
            plugin = _plugin(value)
        elif number in _VALUES:
            kind = _VALUES[number]
    if scalar is None and tensor is not None and plugin in ("", "scalars"):
        # Only a tag's first event needs to carry the plugin's name: after it the shape must tell.
        scalar = _tensor(tensor)
    if scalar is not None:
        event.scalars.append((tag, scalar))
    else:
        event.others.append((kind or _PLUGINS.get(plugin, f"{plugin or 'other'} summaries"), tag))


def _plugin(metadata: bytes) -> str:
    for number, _, value in _fields(metadata):
        if number == 1 and isinstance(value, bytes):
            for inner, _, name in _fields(value):
                if inner == 1 and isinstance(name, bytes):
                    return name.decode("utf-8", "replace")[:40]
    return ""


def _tensor(data: bytes) -> float | None:
    """Return the number of a tensor that holds exactly one."""
    dtype, found, empty = 0, None, True
    for number, wire, value in _fields(data):
        empty = empty and number < 4
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 2 and isinstance(value, bytes) and not _single(value):
            return None
        elif number == 4 and isinstance(value, bytes) and value:
            return _content(dtype, value)
        elif number in _LISTS and isinstance(value, bytes):
            form = struct.Struct("<" + _LISTS[number])
            found = float(form.unpack(value)[0]) if len(value) == form.size else None
        elif number in _VARINT_LISTS:
            found = _listed(dtype, value, wire)
    # A tensor of zeros may be written without its elements.
    return 0.0 if empty and dtype in _FORMATS else found


def _single(shape: bytes) -> bool:
    """Whether a TensorShapeProto has no dimension but such of size 1."""
    for number, _, dimension in _fields(shape):
        if number == 2 and isinstance(dimension, bytes):
            sizes = [value for inner, _, value in _fields(dimension) if inner == 1]
            if sizes != [1]:
                return False
    return True


def _content(dtype: int, content: bytes) -> float | None:
    """Return the one element of a tensor's raw bytes, which lie in the order of a little-endian machine."""
    if dtype == _BFLOAT16:
        return float(_float(b"\0\0" + content)[0]) if len(content) == 2 else None
    form = struct.Struct("<" + _FORMATS[dtype]) if dtype in _FORMATS else None
    if form is None or len(content) != form.size:
        return None
    return float(form.unpack(content)[0])


def _listed(dtype: int, value: Value, wire: int) -> float | None:
    """Return the one element of a repeated field of varints, packed or not."""
    if wire == _BYTES and isinstance(value, bytes):
        if not value:
            return None
        number, end = _varint(value, 0)
        if end != len(value):
            return None
    elif isinstance(value, int):
        number = value
    else:
        return None
    if dtype in (_HALF, _BFLOAT16):
        return _content(dtype, (number & 0xFFFF).to_bytes(2, "little"))
    return float(number if dtype == 23 else _signed(number))
