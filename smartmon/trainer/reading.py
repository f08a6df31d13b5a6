"""Reading a dataset's file: JSON Lines, or one JSON array, gzipped or not. It knows nothing of tokens."""

from __future__ import annotations

import gzip
import json
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from smartmon.errors import DataError
from smartmon.text import clean, size

MAX_LINE = 16 << 20
"""Bytes of a row. A longer one is named and skipped: it is a file without line ends more often than a conversation."""

MAX_ARRAY = 2 << 30
"""Bytes of a JSON array, which has to be read whole."""

_HALF = re.compile(r"[\ud800-\udfff]")
_MAGIC = (
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row is not used."""

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{clean(self.file)}:{self.line}: {clean(self.reason)}"


@dataclass(frozen=True, slots=True)
class Found:
    """A row as it stands in the file: its value, or why there is none, and where to find it again."""

    line: int
    value: Any
    reason: str = ""
    offset: int = 0
    length: int = 0
    check: int = 0
    """CRC-32 of its bytes."""


def read_values(path: Path) -> Iterator[Found]:
    """Yield what each line, or each element of an array, holds; raise `DataError` for a file that holds no rows."""
    try:
        with opened(path) as file:
            head = file.read(4096)
            _check(path, head)
            file.seek(0)
            begin = head.removeprefix(_MARK).lstrip()[:1]
            yield from _array(path, file) if begin == b"[" else _lines(file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the dataset {clean(path)} cannot be read: {reason}") from None


def opened(path: Path) -> BinaryIO:
    """Open a dataset for reading, through gzip if it is compressed so; raise `DataError` for what is no file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise DataError(f"there is no dataset at {clean(path)}; name a file of JSON Lines") from None
    if stat.S_ISDIR(mode):
        inside = sorted(item.name for item in path.iterdir() if ".json" in item.name)[:3]
        hint = f", such as {clean(' or '.join(inside))}" if inside else ""
        raise DataError(f"the dataset {clean(path)} is a directory; name a file of JSON Lines in it{hint}")
    if not stat.S_ISREG(mode):
        raise DataError(f"the dataset {clean(path)} is not a regular file; write the rows to a file first")
    file = path.open("rb")
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not packed:
        return file
    file.close()
    return cast(BinaryIO, gzip.open(path))


def read_again(path: Path, offset: int, length: int, check: int) -> Any:
    """Return the value that was found there; raise `LookupError` if the file is another one now."""
    try:
        with opened(path) as file:
            file.seek(offset)
            raw = file.read(length)
    except (OSError, EOFError, zlib.error, DataError):
        raise LookupError from None
    if zlib.crc32(raw) != check:
        raise LookupError
    return json.loads(raw.removeprefix(_MARK))


def _check(path: Path, head: bytes) -> None:
    if not head:
        raise DataError(f"the dataset {clean(path)} is empty")
    kind = next((name for magic, name in _MAGIC if head.startswith(magic)), "")
    if not kind and b"\0" in head:
        kind = "a binary file"
    if not kind and path.suffix.lower() in (".csv", ".tsv"):
        kind = "a table of text"
    if kind:
        raise DataError(
            f"the dataset {clean(path)} is {kind}; write it as JSON Lines in UTF-8: one object on each line"
        )


def _lines(file: BinaryIO) -> Iterator[Found]:
    offset, line = 0, 0
    while raw := file.readline(MAX_LINE + 1):
        line += 1
        begin, offset = offset, offset + len(raw)
        if len(raw) > MAX_LINE and not raw.endswith(b"\n"):
            while rest := file.readline(1 << 20):
                offset += len(rest)
                if rest.endswith(b"\n"):
                    break
            yield Found(line, None, f"is longer than {size(MAX_LINE)}")
        elif raw.strip():
            value, reason = _value(raw.removeprefix(_MARK) if line == 1 else raw)
            yield Found(line, value, reason, begin, len(raw), zlib.crc32(raw))


def _array(path: Path, file: BinaryIO) -> Iterator[Found]:
    data = file.read(MAX_ARRAY + 1)
    if len(data) > MAX_ARRAY:
        raise DataError(
            f"the dataset {clean(path)} is one JSON array of over {size(MAX_ARRAY)}; write it as JSON Lines"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"the dataset {clean(path)} is not UTF-8 text (byte {error.start:,})") from None
    at, line, done, offset = text.index("[") + 1, 1 + text.count("\n", 0, text.index("[")), 0, 0
    decoder, blank = json.JSONDecoder(), re.compile(r"[\s,]*")
    while True:
        begin = blank.match(text, at).end()  # type: ignore[union-attr]  # an empty match is one too
        line += text.count("\n", at, begin)
        if text[begin : begin + 1] == "]":
            return
        try:
            value, end = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            reason = _reason(error)
            raise DataError(f"the dataset {clean(path)} is one JSON array that {reason} in line {line}") from None
        offset += len(text[done:begin].encode())
        raw = text[begin:end].encode()
        yield Found(line, value, _halves(raw, value), offset, len(raw), zlib.crc32(raw))
        offset, done, at = offset + len(raw), end, end
        line += text.count("\n", begin, end)


def _value(raw: bytes) -> tuple[Any, str]:
    """The value of a line, and why there is none."""
    try:
        value = json.loads(raw.decode("utf-8").rstrip())
    except UnicodeDecodeError as error:
        return None, f"is not UTF-8: byte 0x{raw[error.start]:02x} at column {error.start + 1}"
    except (ValueError, RecursionError) as error:
        return None, _reason(error)
    return value, _halves(raw, value)


def _halves(raw: bytes, value: Any) -> str:
    """Why a row cannot be encoded as text: JSON can spell one half of a pair of surrogates, UTF-8 cannot."""
    suspect = rb"\ud" in raw or rb"\uD" in raw
    return "holds half of a surrogate pair" if suspect and _HALF.search(json.dumps(value, ensure_ascii=False)) else ""


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} at column {error.colno}"
    return "is nested too deeply" if isinstance(error, RecursionError) else f"is not JSON: {error}"
