"""Files that grow by whole lines and files that are replaced whole, on a disk that may be full. Standard library only.

What could not be written is kept, within bounds, and written once the disk takes it. Nothing here raises for a disk.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

ROOM = 8 << 20
"""Bytes of unwritten lines that are kept."""


class Disk:
    """The files of one base dir. Used by one thread alone."""

    def __init__(self, base_dir: Path) -> None:
        self.base_dir = base_dir
        self._pending: dict[str, bytearray] = {}
        """Log -> what of its lines is not written yet; a line may have been written in part."""
        self._opened: set[str] = set()
        self._trouble = ""

    @property
    def full(self) -> bool:
        """Whether more lines have to wait elsewhere."""
        return sum(map(len, self._pending.values())) >= ROOM

    @property
    def clean(self) -> bool:
        """Whether everything is written."""
        return not self._pending

    def add(self, name: str, line: str) -> None:
        """Take a line for a log; `flush` writes it."""
        self._pending.setdefault(name, bytearray()).extend(line.encode("ascii", "backslashreplace") + b"\n")

    def flush(self) -> bool:
        """Write what is pending; return whether nothing is left."""
        for name in list(self._pending):
            try:
                self._append(name)
            except OSError as problem:
                self._tell(name, problem)
                return False
        return True

    def replace(self, name: str, text: str, *, sync: bool = False) -> bool:
        """Replace a file by another, so that no reader ever sees half of one; return whether it went well."""
        target = self.base_dir / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(text.encode("ascii", "backslashreplace") + b"\n")
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as problem:
            with contextlib.suppress(OSError):
                temporary.unlink()
            self._tell(name, problem)
            return False
        return True

    def recovered(self) -> None:
        """Say that all is written again, if it was not."""
        if self._trouble:
            self._trouble = ""
            say(f"writing to {self.base_dir} works again; what was kept has been written")

    def _append(self, name: str) -> None:
        waiting = self._pending[name]
        path = self.base_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if name not in self._opened and _torn(handle):
                # Whoever wrote here before was killed within a line.
                waiting[:0] = b"\n"
            self._opened.add(name)
            while waiting:
                written = os.write(handle, waiting)
                del waiting[:written]
        finally:
            os.close(handle)
        del self._pending[name]

    def _tell(self, name: str, problem: OSError) -> None:
        """Say once that the disk takes nothing, however long it lasts."""
        if not self._trouble:
            reason = problem.strerror or str(problem)
            say(f"cannot write {self.base_dir / name} ({reason}); the training goes on, and what it tells is kept")
        self._trouble = self._trouble or name


def _torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"


def say(text: str) -> None:
    """Tell the person at the training's terminal, who may have closed it."""
    with contextlib.suppress(Exception):
        sys.stderr.write(f"smartmon: {text}\n")
        sys.stderr.flush()
