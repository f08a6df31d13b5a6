"""The lock that keeps a second daemon off a base dir, and the pointer from a secondary base dir to its database.

The kernel holds the lock (`flock`), so a killed daemon leaves none behind and a reused process id means nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from smartmon import text
from smartmon.errors import LockedError, StoreError

POINTER = "database"


@contextlib.contextmanager
def held(folders: Sequence[Path], database: Path) -> Iterator[None]:
    """Hold the lock of every state folder in `folders` (created when missing) while the body runs.

    The first folder holds the database; each other one gets the one-line file that names it, unless its base dir is
    read-only: that is what `state_dir` is for.
    Raises LockedError when another daemon holds one, StoreError when the first folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        for index, folder in enumerate(folders):
            try:
                stack.callback(os.close, _lock(folder))
            except StoreError:
                if index == 0:
                    raise
                continue
            if folder != database.parent:
                _point(folder, database)
        yield


def _lock(folder: Path) -> int:
    path = folder / "lock"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(
            f"cannot keep state in {text.clean(folder)}: {error.strerror}; "
            "make it writable, or set state_dir in the config"
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise LockedError(
            f"another daemon (pid {text.clean(owner or 'unknown')}) already watches {text.clean(folder.parent)}; "
            "stop it first, or choose another --base-dir"
        ) from None
    except OSError as error:
        os.close(fd)
        raise StoreError(f"cannot lock {text.clean(path)}: {error.strerror}; set state_dir to a local disk") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _point(folder: Path, database: Path) -> None:
    pointer = folder / POINTER
    temporary = folder / f".{POINTER}.new"
    temporary.write_bytes(os.fsencode(database) + b"\n")
    temporary.replace(pointer)
