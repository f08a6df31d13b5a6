"""System calls that the standard library lacks, each with a plain answer where the kernel or file system has none."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_FICLONE = 0x40049409
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}.get(platform.machine())
_IOPRIO_IDLE, _IOPRIO_NONE = 3 << 13, 0

NOT_HERE = frozenset(
    {
        errno.EXDEV,
        errno.EOPNOTSUPP,
        errno.ENOTTY,
        errno.ENOSYS,
        errno.EINVAL,
        errno.EAGAIN,
        errno.EPERM,
        errno.ETXTBSY,
        errno.EBADF,
    }
)
"""Errors that mean "not with this call between these files": another way of copying may work."""

_libc = ctypes.CDLL(None, use_errno=True)


def rename_new(source: Path, target: Path) -> None:
    """Rename; raise FileExistsError when anything, even an empty folder, has the target's name.

    Where the file system cannot promise that in one step, the name is looked at first: our lock keeps other
    smartmons away, and nobody else writes to the snapshots dir.
    """
    function = getattr(_libc, "renameat2", None)
    if function is not None:
        names = (ctypes.c_char_p(os.fsencode(source)), ctypes.c_char_p(os.fsencode(target)))
        if function(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_NOREPLACE)) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code), str(source), None, str(target))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def clone(source: int, target: int) -> bool:
    """Let `target` share all blocks of `source` (a reflink); False where that cannot be."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in NOT_HERE:
            return False
        raise
    return True


def reserve(descriptor: int, length: int) -> None:
    """Allocate room for a file before it is written, so that a full disk is known at once.

    The C library's own `posix_fallocate` writes every block where the file system cannot allocate; this does nothing.
    """
    function = getattr(_libc, "fallocate64", None)
    if function is None or length <= 0:
        return
    if function(descriptor, 0, ctypes.c_int64(0), ctypes.c_int64(length)) != 0:
        code = ctypes.get_errno()
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise OSError(code, os.strerror(code))


class Writeback:
    """Sends what is written to the disk as it comes, and lets go of its pages.

    Without it the last fsync of a large file takes minutes in which nothing can be cancelled, and the pages of a
    copy push everything else out of memory.
    """

    _WINDOW = 64 << 20
    _START, _WAIT = 2, 7

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._done = 0
        self._before: tuple[int, int] | None = None

    def reached(self, offset: int) -> None:
        """Everything up to `offset` has been written."""
        length = offset - self._done
        if length < self._WINDOW:
            return
        window, before = (self._done, length), self._before
        self._done, self._before = offset, window
        self._range(window, self._START)
        if before is not None:
            self._range(before, self._WAIT)
            os.posix_fadvise(self._descriptor, *before, os.POSIX_FADV_DONTNEED)

    def _range(self, window: tuple[int, int], flags: int) -> None:
        # Errors show at the fsync that follows in any case.
        function = getattr(_libc, "sync_file_range", None)
        if function is not None:
            function(self._descriptor, ctypes.c_int64(window[0]), ctypes.c_int64(window[1]), ctypes.c_uint(flags))


@contextlib.contextmanager
def idle_io() -> Iterator[None]:
    """Let this thread's reads and writes wait for everybody else's while the body runs, where the scheduler can."""
    _io_class(_IOPRIO_IDLE)
    try:
        yield
    finally:
        _io_class(_IOPRIO_NONE)


def _io_class(value: int) -> None:
    # The result does not matter: a sandbox may forbid it, and most schedulers ignore it.
    if _IOPRIO_SET is not None:
        _libc.syscall(_IOPRIO_SET, 1, 0, value)


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
