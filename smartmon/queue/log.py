"""A training's log as it grows: read on from where we were, and shortened for a terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path

from smartmon import text

CHUNK = 1 << 16
_END = re.compile(rb"[\r\n]+")
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Log:
    """Follows one log. Of what is written between two looks only the newest line is shown, and none that is set in."""

    def __init__(self, path: Path, *, at: int = 0) -> None:
        self._path = path
        self._at = at
        self._torn = b""

    def news(self) -> str:
        """Return the newest whole line since the last look, in one line without colours; empty when there is none."""
        newest = ""
        try:
            with self._path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                if end - self._at > CHUNK:
                    self._at, self._torn = end - CHUNK, b""
                file.seek(self._at)
                read = file.read(CHUNK)
        except OSError:
            return ""
        self._at += len(read)
        *whole, self._torn = _END.split(self._torn + read)
        for line in whole:
            if (plain := _plain(line)) and plain[0] != " ":
                newest = plain
        return newest


def last_lines(path: Path, number: int = 40, *, since: int = 0) -> list[str]:
    """Return the last lines of a log behind the byte `since`, without what a progress bar wrote over."""
    try:
        with path.open("rb") as file:
            file.seek(max(since, file.seek(0, os.SEEK_END) - CHUNK))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    shown = [_plain(line.rstrip(b"\r").rpartition(b"\r")[2]) for line in lines]
    return [line for line in shown if line][-number:]


def _plain(line: bytes) -> str:
    return text.clean(_COLOUR.sub("", line.decode("utf-8", "replace")).replace("\t", "  ").rstrip())
