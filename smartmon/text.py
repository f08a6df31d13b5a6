"""Text for people: numbers, sizes, durations and moments, and strings that cannot harm a terminal or a log."""

from __future__ import annotations

import math
import time
import unicodedata


def clean(text: object) -> str:
    """Return the text in one line with control, format and surrogate characters spelled out (`\\x1b`).

    Run names, reasons and error messages come from files that anybody may have written; a terminal must not obey them.
    """
    out = []
    for char in str(text):
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
            code = ord(char)
            out.append(f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
        else:
            out.append(char)
    return "".join(out)


def number(value: float | None, digits: int = 4) -> str:
    """Four significant digits (`12,010` up to a thousand millions), `NaN` spelled so, or `-` for nothing known."""
    if value is None:
        return "-"
    shown = "NaN" if math.isnan(value) else f"{value:.{digits}g}"
    return f"{float(shown):,.0f}" if "e+" in shown and abs(value) < 1e9 else shown


def count(value: int | None) -> str:
    """`17500` as `17,500`."""
    return "-" if value is None else f"{value:,}"


def size(value: float) -> str:
    """Bytes for a person: `4.1 GB` (powers of ten, as disks are sold)."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def duration(seconds: float | None) -> str:
    """Seconds for a person: `42s`, `7m 05s`, `3h 20m`, `2d 4h`."""
    if seconds is None:
        return "-"
    total = max(0, round(seconds))
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m {total % 60:02}s"
    if total < 86400:
        return f"{total // 3600}h {total % 3600 // 60:02}m"
    return f"{total // 86400}d {total % 86400 // 3600}h"


def clock(at: float | None) -> str:
    """A moment in local time: `2025-11-12 14:30:22`."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
