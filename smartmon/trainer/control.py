"""The control file: one word in `<base-dir>/.control` that a training obeys. Standard library only.

Whoever may write into the base dir may write it: a person, a cron job, a hook of the daemon.
"""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

WORDS = ("pause", "resume", "stop", "checkpoint")
NAME = ".control"
_LONGEST = 64

Identity = tuple[int, int, int]
"""Inode, mtime in nanoseconds, size: two writes differ in at least one."""


class Control:
    """Reads the control file. Each write of it is obeyed once; one from before the training started, never."""

    def __init__(self, base_dir: str | os.PathLike[str] = ".") -> None:
        self.path = Path(base_dir).absolute() / NAME
        self.id = ""
        """Which write of the file was read last, as `identity` names it."""
        self.refused = ""
        """What was read last, where it is no word that is known."""
        self.ignored = ""
        """The word that was there before this training."""
        self._seen = _look(self.path)
        if self._seen is not None:
            self.ignored = _read(self.path)

    def poll(self) -> str | None:
        """Return the word of a new write, else None: nothing new, or a word that is none (see `refused`).

        A file that is not there costs two microseconds.
        """
        found = _look(self.path)
        if found is None or found == self._seen:
            return None
        text = _read(self.path)
        if not text:
            return None  # a shell has opened it and not written yet
        self._seen, self.id = found, identity(found)
        word = text.lower()
        self.refused = "" if word in WORDS else text
        return word if word in WORDS else None


def send(base_dir: str | os.PathLike[str], word: str) -> str:
    """Write a word for the training in `base_dir`, atomically; return the id under which it is acknowledged.

    Raises ValueError for a word that no training knows, and OSError where the file cannot be written.
    """
    if word not in WORDS:
        raise ValueError(f"{word!r} is none of {', '.join(WORDS)}")
    target = Path(base_dir) / NAME
    temporary = target.with_name(f"{NAME}.{os.getpid()}-{threading.get_ident()}")
    try:
        temporary.write_text(word + "\n", encoding="ascii")
        found = temporary.stat()
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return identity((found.st_ino, found.st_mtime_ns, found.st_size))


def identity(found: Identity) -> str:
    """Name one write of the file."""
    return "-".join(map(str, found))


def _look(path: Path) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked twice a second for days
    except (OSError, ValueError):
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST)
    except OSError:
        return ""
    text = raw.decode("utf-8", "replace").strip()
    return "".join(c if c.isprintable() else "?" for c in text)
