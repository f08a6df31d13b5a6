"""Copies one open file into another, the cheapest way that the file systems allow, in bounded memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from smartmon.snapshots import syscalls
from smartmon.snapshots.troubles import CancelledError

CHUNK = 8 << 20


class ShorterError(Exception):
    """The source ended before the size it had when it was looked at."""


REFLINK = "reflink"
KERNEL = "copy_file_range"
BUFFER = "read_write"


class Copier:
    """Copies files; `cancel` is asked and `beat` called before every chunk."""

    def __init__(self, cancel: Callable[[], bool] = lambda: False, beat: Callable[[], None] = lambda: None) -> None:
        self._cancel = cancel
        self._beat = beat

    def copy(self, source: int, target: int, size: int) -> str:
        """Copy `size` bytes into the empty file `target`, make them durable, and return how it was done.

        Raises ShorterError when the source turns out to be, OSError in the disk's own words, CancelledError.
        """
        self.alive()
        method = self._bytes(source, target, size)
        seen = os.fstat(source)
        os.utime(target, ns=(seen.st_mtime_ns, seen.st_mtime_ns))
        os.fsync(target)
        for descriptor in (target, source):
            # A checkpoint's pages would push everything else out of memory, and be charged to our cgroup.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return method

    def alive(self) -> None:
        """Beat; raise CancelledError when the daemon is about to end."""
        self._beat()
        if self._cancel():
            raise CancelledError("the daemon is about to end")

    def _bytes(self, source: int, target: int, size: int) -> str:
        if size and syscalls.clone(source, target):
            # Some versions of ZFS cut a clone of a file that was still being written.
            if os.fstat(target).st_size == size:
                return REFLINK
            os.ftruncate(target, 0)
        extents = list(data_extents(source, size))
        sparse = sum(length for _, length in extents) < size
        if sparse:
            os.ftruncate(target, size)
        else:
            syscalls.reserve(target, size)
        method = KERNEL
        writeback = syscalls.Writeback(target)
        for offset, length in extents:
            done = self._kernel(source, target, offset, length, writeback) if method == KERNEL else 0
            if done < length:
                method = BUFFER
                self._buffer(source, target, offset + done, length - done, writeback)
        return method

    def _kernel(self, source: int, target: int, offset: int, length: int, writeback: syscalls.Writeback) -> int:
        """Return how much was copied; less than `length` where the kernel cannot do this between these files."""
        done = 0
        while done < length:
            self.alive()
            try:
                part = os.copy_file_range(source, target, min(CHUNK, length - done), offset + done, offset + done)
            except OSError as error:
                if error.errno in syscalls.NOT_HERE:
                    return done
                raise
            if not part:
                return done
            done += part
            writeback.reached(offset + done)
        return done

    def _buffer(self, source: int, target: int, offset: int, length: int, writeback: syscalls.Writeback) -> None:
        buffer = memoryview(bytearray(min(CHUNK, length)))
        while length > 0:
            self.alive()
            part = os.preadv(source, [buffer[: min(len(buffer), length)]], offset)
            if not part:
                raise ShorterError
            written = 0
            while written < part:
                written += os.pwrite(target, buffer[written:part], offset + written)
            offset, length = offset + part, length - part
            writeback.reached(offset)


def data_extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of the parts of a file that hold data: the holes of a sparse file are not copied."""
    if os.fstat(descriptor).st_blocks * 512 >= size:
        yield 0, size
        return
    offset = 0
    while offset < size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            yield offset, size - offset
            return
        end = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
        if start >= size:
            return
        yield start, end - start
        offset = end
