"""What every dialect of printed logs shares: how a line becomes a record, and how single values are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from smartmon.records import Json

State = dict[str, Any]
"""What a dialect must know of the lines before: JSON without NaN, for it is stored in the cursor."""
Record = dict[str, object]
"""One logged line in the trainer's own keys, numbers as floats."""

_POWER = r"(?:[eE][-+]?\d+)?"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
NUMBER = rf"[-+]?(?:{_DIGITS}(?:\.\d*)?{_POWER}|\.\d+{_POWER}|(?i:nan|inf(?:inity)?))"
"""A number as people and programs print it."""
_VALUE = re.compile(rf"(?:(?:tensor|np\.\w+|array)\()?\[?\s*({NUMBER})([KMBT](?![A-Za-z]))?")
_SCALES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_WRITTEN = re.compile(
    r"(20\d\d)[-/](\d\d)[-/](\d\d)[ T](\d\d:\d\d:\d\d)(?:[.,](\d{1,6})\d*)?\s?(Z|[-+]\d\d:?\d\d(?!\d))?"
)
_WRITTEN_WITHIN = 96
"""A line's own time stands near its start; further in it is part of what the line says."""


@dataclass(frozen=True, slots=True)
class Written:
    """The moment that a line carries."""

    at: float
    zoned: bool
    """Whether the line named its time zone."""


@dataclass(slots=True)
class Logged:
    """One record that was printed."""

    record: Record
    end: int
    """The offset just after its line."""
    written: Written | None = None


class Dialect:
    """Reads the lines of one trainer. All that it remembers is in `state`."""

    key: ClassVar[str] = ""
    """What the cursor calls it."""
    name: ClassVar[str] = ""
    """What people call it."""
    hit: ClassVar[re.Pattern[str]]
    """Found in every line that this dialect measures by, and in nobody else's."""

    def __init__(self, state: State | None = None) -> None:
        self.state: State = {} if state is None else state

    def line(self, text: str, end: int) -> list[Logged]:
        """Return the records that this line completes: usually one, or none."""
        record = self.parse(text)
        return [Logged(record, end, written(text))] if record else []

    def parse(self, text: str) -> Record | None:
        """Return the record of a line that stands for itself, or None."""
        raise NotImplementedError

    @classmethod
    def says(cls, text: str) -> bool:
        """Whether a line is one that this dialect measures by."""
        return cls.hit.search(text) is not None

    def flush(self) -> list[Logged]:
        """Return the records that still waited for a later line."""
        return []


def value(text: str) -> float | None:
    """Return the number that a text begins with: `41.20%`, `500.00ms`, `1,234,567`, `5.83M`, `tensor(1.5)`, `nan`."""
    if "_" in text:
        return None
    try:
        return float(text.rstrip("ms%,"))
    except ValueError:
        found = _VALUE.match(text.lstrip())
    if found is None:
        return None
    number = float(found[1].replace(",", ""))
    return number * _SCALES[found[2]] if found[2] else number


def written(text: str) -> Written | None:
    """Return the moment at the start of a line (`[2026-11-21 07:38:01.123456]`, `2026-11-21T07:38:01Z`), or None."""
    found = _WRITTEN.search(text, 0, _WRITTEN_WITHIN)
    if found is None:
        return None
    year, month, day, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{year}-{month}-{day}T{clock}.{fraction or '0':0<6}{zone or ''}")
        return Written(moment.timestamp(), zone is not None)
    except (ValueError, OverflowError, OSError):
        return None


def plain(name: str) -> str:
    """Return a printed name as a key: `Train L1 Loss` is `train_l1_loss`."""
    return "_".join(name.lower().split())


def count(state: State, key: str) -> int:
    """Return a whole number of the state, 0 where there is none."""
    found: Json = state.get(key)
    return found if isinstance(found, int) else 0
