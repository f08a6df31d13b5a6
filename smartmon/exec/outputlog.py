"""The log of what a command printed: bytes appended to files that together never take more than their room."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

PART = 32 * 2**20
"""Bytes after which the log is rotated."""
NEWEST = 3
"""Rotated parts that are kept besides the first one, which tells how it all began: 160 MB in all."""


class OutputLog:
    """Appends to `output.log`; full parts become `output.log.1`, `.2` and so on, which the daemon reads on.

    A full disk loses output, never the training: how much was lost stands in the log once there is room again.
    """

    def __init__(self, path: Path, *, part: int = PART, newest: int = NEWEST) -> None:
        """Open it at its end. Raises OSError where it cannot be written."""
        self._path = path
        self._part = part
        self._newest = newest
        self._file = _opened(path)
        self._size = os.fstat(self._file).st_size
        self._between = True
        """Whether the last byte ended a line."""
        self._lost = 0
        self._trouble = ""

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._file

    @property
    def trouble(self) -> str:
        """Why the last bytes were not written; empty while all is well."""
        return self._trouble

    def write(self, data: bytes) -> None:
        """Append, and rotate at the end of a line where there is one. Never raises for the disk's sake."""
        while self._size + len(data) > self._part:
            room = max(0, self._part - self._size)
            cut = data.rfind(b"\n", 0, room) + 1
            if not cut and not (self._size and self._between):
                # No line ends in the room that is left: better a part that is a little longer than a torn line.
                end = data.find(b"\n") + 1
                cut = end if 0 < end <= room + self._part // 8 else room
            self._append(data[:cut])
            self._rotate()
            data = data[cut:]
        self._append(data)

    def separate(self, line: str) -> None:
        """Write a line of our own between two attempts; nothing at the top of a log."""
        if self._size:
            self.write(f"\n--- {line} ---\n".encode())

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._file)

    def _append(self, data: bytes) -> None:
        if self._lost and data:
            note = f"\n[smartmon: {self._lost:,} bytes are missing here: {self._trouble}]\n".encode()
            if self._put(note) < len(note):
                self._lost += len(data)
                return
            self._lost, self._trouble = 0, ""
        self._lost += len(data) - self._put(data)

    def _put(self, data: bytes) -> int:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:] if done else data)
        except OSError as error:
            self._trouble = error.strerror or str(error)
        self._size += done
        if done:
            self._between = data[done - 1 : done] == b"\n"
        return done

    def _rotate(self) -> None:
        numbers = self._numbers()
        try:
            self._path.rename(f"{self._path}.{numbers[-1] + 1 if numbers else 1}")
        except OSError:
            # The folder was moved or deleted under us: begin anew, wherever that leads.
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh = _opened(self._path)
        except OSError as error:
            # What was open stays open; it must not grow without end.
            self._trouble = error.strerror or str(error)
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
            self._size = 0
            return
        self.close()
        self._file, self._size = fresh, 0
        for number in self._numbers()[1 : -self._newest]:
            with contextlib.suppress(OSError):
                Path(f"{self._path}.{number}").unlink()

    def _numbers(self) -> list[int]:
        """Return the numbers of the rotated parts, the oldest first."""
        pattern = re.compile(re.escape(self._path.name) + r"\.(\d{1,9})")
        try:
            names = os.listdir(self._path.parent)  # noqa: PTH208 - names are all that is wanted
        except OSError:
            return []
        return sorted(int(found[1]) for name in names if (found := pattern.fullmatch(name)))


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
