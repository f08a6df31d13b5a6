"""How commands print: JSON documents and aligned tables."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence

from smartmon.records import Json
from smartmon.text import clean


def jsonable(value: Json) -> Json:
    """Return the value with every NaN and infinity as null, so that the document is JSON for every reader."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


def print_json(value: Json, *, indent: int | None = 2) -> None:
    """Write one JSON document and a line end to standard output (ASCII, so that every terminal and pipe takes it)."""
    sys.stdout.write(json.dumps(jsonable(value), indent=indent, allow_nan=False, default=str) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, right: frozenset[int] = frozenset()) -> str:
    """Lay rows out in columns under a head in capitals; columns whose index is in `right` are aligned to the right."""
    head = [name.upper() for name in head]
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(head[i]), *(len(row[i]) for row in cells)) if cells else len(head[i]) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()

    return "\n".join(line(row) for row in [head, *cells])
