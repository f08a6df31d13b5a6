"""The lock that keeps a second training out of a base dir and an output folder: they would mix logs and checkpoints."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from smartmon.errors import LockedError, UsageError
from smartmon.text import clean

NAME = ".training.lock"


@contextlib.contextmanager
def held(folders: Iterable[Path]) -> Iterator[None]:
    """Hold the lock of each folder (created when missing) while the body runs.

    The kernel holds it (`flock`), so that a killed training leaves none behind.
    Raises LockedError when another training holds one, UsageError when a folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        for folder in dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders):
            stack.callback(os.close, _lock(folder))
        yield


def _lock(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"cannot train into {clean(folder)}: a file is in its place; choose another folder") from None
    except OSError as error:
        raise UsageError(
            f"cannot train into {clean(folder)}: {error.strerror}; make it writable, or choose another folder"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise LockedError(
            f"another training (pid {clean(owner or 'unknown')}) writes into {clean(folder)}; "
            "let it end first, or choose another --base-dir and --output-dir"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise UsageError(
            f"cannot lock {clean(folder)}: {error.strerror}; choose a --base-dir and --output-dir on a local disk"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
