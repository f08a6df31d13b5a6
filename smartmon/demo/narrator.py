"""Prints the demonstration as it happens: who says it, what is said, at 80 columns."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Callable

WIDTH = 80


class Narrator:
    """Prints one thing after the other, whichever thread has something to say."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._lock, self._last = say, threading.Lock(), ""

    def tell(self, who: str, line: str) -> None:
        """Print what somebody says."""
        with self._lock:
            if self._last == "alert":
                self._say("")
            self._last = who
            for row in wrapped(f"{who:>9} | ", line):
                self._say(row)

    def alert(self, title: str, body: str, *, whole: bool) -> None:
        """Print a message as it arrived, or of a later one what makes it differ: what, and the likely cause."""
        lines = body.splitlines()
        if not whole:
            lines = [line for line in lines if line is lines[0] or line.startswith("Likely cause")]
        with self._lock:
            self._say("")
            self._last = "alert"
            self._say(f"    ALERT # {title}")
            for line in lines:
                # A command is there to be copied: it stays in one line, however long.
                for row in [f"          # {line}"] if line.startswith("smartmon ") else wrapped("          # ", line):
                    self._say(row)

    def plain(self, *lines: str) -> None:
        """Print lines as they are."""
        with self._lock:
            self._last = ""
            for line in lines:
                self._say(line)


def wrapped(margin: str, line: str) -> list[str]:
    """Break a line at 80 columns; what goes on keeps the margin's bar and is set in."""
    bar = margin[-2:].rjust(len(margin))
    rows = _rows(line, WIDTH - len(margin) - 2)
    return [margin + rows[0], *(f"{bar}  {row}" for row in rows[1:])]


def hanging(label: str, line: str) -> list[str]:
    """Break a line at 80 columns behind a label; what goes on stands under its beginning."""
    rows = _rows(line, WIDTH - len(label))
    return [label + rows[0], *(" " * len(label) + row for row in rows[1:])]


def _rows(line: str, width: int) -> list[str]:
    # Names and paths are there to be copied, so they stay whole.
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
