"""Opening files that somebody else owns: never blocking, never huge, never outside of where they belong."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from smartmon.sources.base import LIMIT
from smartmon.text import size

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_REASONS = {
    errno.EACCES: "permission denied: let the user that smartmon runs as read it",
    errno.EPERM: "permission denied: let the user that smartmon runs as read it",
    errno.ELOOP: "a loop of symbolic links",
    errno.ENXIO: "a socket, not a regular file",
}


class Unreadable(Exception):
    """Why a file was not read, as a plain fact that completes "X is ..." or "X: ..."."""


class Missing(Unreadable):
    """The file is not there (a dangling link is not there either)."""


class Changing(Unreadable):
    """The file was written while it was read: look again."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A file as it was at one moment."""

    data: bytes
    mtime: float
    key: tuple[int, int, int, int]
    """Device, inode, size and mtime in nanoseconds."""


@contextmanager
def opened(path: Path, root: Path | None = None) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading; raise `Unreadable` for everything else.

    The kind is looked at before opening: opening a pipe can wake its writer, and some devices act when they are opened.
    """
    try:
        _check_kind(path.stat())
        if root is not None:
            _check_inside(path, root)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise _unreadable(error) from None
    except ValueError:  # a NUL byte in the path
        raise Missing("is not there") from None
    try:
        found = os.fstat(descriptor)
        _check_kind(found)
        yield descriptor, found
    except OSError as error:
        raise _unreadable(error) from None
    finally:
        os.close(descriptor)


def read_file(path: Path, *, root: Path | None = None, limit: int = LIMIT) -> Contents:
    """Return the whole of a regular file that stood still while it was read; raise `Unreadable` otherwise."""
    with opened(path, root) as (descriptor, before):
        if before.st_size > limit:
            raise Unreadable(f"is {size(before.st_size)} long; at most {size(limit)} is read")
        data = read_at(descriptor, 0, before.st_size + 1)
        after = os.fstat(descriptor)
        if _key(after) != _key(before) or len(data) != before.st_size:
            raise Changing("was being written")
    return Contents(data, before.st_mtime, _key(before))


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Read up to `length` bytes from `offset`: less only at the end of the file."""
    parts = []
    while length > 0:
        part = os.pread(descriptor, min(length, 1 << 20), offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _key(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _check_kind(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in _KINDS if test(found.st_mode)), "something else")
        raise Unreadable(f"is {kind}, not a regular file")


def _check_inside(path: Path, root: Path) -> None:
    real, home = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath((real, home)) != home:
        raise Unreadable(
            "leads out of the base dir by a symbolic link; name the file itself in [[runs]] to have it read"
        )


def _unreadable(error: OSError) -> Unreadable:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Missing("is not there")
    reason = _REASONS.get(error.errno or 0)
    return Unreadable(f"cannot be read: {reason or error.strerror or 'unknown error'}")
