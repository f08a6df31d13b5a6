"""What snapshots are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

LONGEST = 120


def stamp(at: float) -> str:
    """A moment as it stands in names: `20251112_143022`, local time."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y%m%d_%H%M%S")


def created_at(at: float) -> str:
    """A moment as it stands in metadata: ISO 8601 with the local zone."""
    return datetime.fromtimestamp(at, UTC).astimezone().isoformat(timespec="milliseconds")


def reason(reasons: Sequence[str]) -> str:
    """Several reasons as one."""
    return "_".join(reasons)


def name(at: float, reasons: Sequence[str], number: int = 1) -> str:
    """The name of a snapshot; `number` counts those that would have the same one."""
    words = re.sub(r"[^A-Za-z0-9._+-]+", "_", reason(reasons)).strip("_.")
    suffix = f"_{number}" if number > 1 else ""
    return f"anomaly_{stamp(at)}_{words}"[: LONGEST - len(suffix)].rstrip("_.") + suffix
