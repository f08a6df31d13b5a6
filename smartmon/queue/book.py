"""The state file: read and changed under a lock, replaced whole; and the lock that keeps a second queue away."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator

from smartmon import text
from smartmon.errors import LockedError, StoreError
from smartmon.queue.files import stamp, write_json
from smartmon.queue.jobs import Jobs
from smartmon.queue.places import Places


class Book:
    """What is known of the jobs of one base dir. Every command and the running queue go through it."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._path = places.state / "state.json"
        self._kept: tuple[tuple[int, ...], Jobs] = ((), Jobs())
        """What was read last, and what the file was like then: each change is another file."""

    def read(self) -> Jobs:
        """Return the list as it is now; raise StoreError when the file cannot be used."""
        found = stamp(self._path)
        if found and found == self._kept[0]:
            return self._kept[1]
        try:
            self._kept = found, Jobs.from_json(json.loads(self._path.read_bytes()))
            return self._kept[1]
        except FileNotFoundError:
            return Jobs()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"cannot read the queue in {text.clean(self._path)}: {text.clean(error)}; move it away to begin a new "
                "list, what lies in inbox/ and active/ is then found again"
            ) from None

    def change(self, step: Callable[[Jobs], Jobs]) -> Jobs:
        """Replace the list with what `step` makes of it, with nobody else in between; return the new one."""
        with self.open() as edit:
            return edit(step)

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[Callable[[Jobs], Jobs]], Jobs]]:
        """Hold the list while the body runs, which may change it as often as it likes."""

        def edit(step: Callable[[Jobs], Jobs]) -> Jobs:
            before = self.read()
            after = step(before)
            if after != before:
                write_json(self._path, after.to_json())
            return after

        self._places.make()
        try:
            descriptor = os.open(self._places.state / "state.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"cannot change the queue in {text.clean(self._places.state)}: {error.strerror}; make it writable"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield edit
        except OSError as error:
            raise StoreError(f"cannot change the queue in {text.clean(self._places.base)}: {error}") from None
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Be the one queue of this base dir while the body runs; raise LockedError when another is."""
        self._places.make()
        path = self._places.state / "runner.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(
                    f"another queue ({_holder(descriptor)}) already trains in {text.clean(self._places.base)}; "
                    "add jobs to it with: smartmon queue add, or choose another --base-dir"
                ) from None
            os.ftruncate(descriptor, 0)
            who = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
            os.pwrite(descriptor, json.dumps(who).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def runner(self) -> str:
        """Return who runs this queue now, in words; empty when nobody does."""
        try:
            descriptor = os.open(self._places.state / "runner.lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(descriptor)
        except OSError:
            return ""
        finally:
            os.close(descriptor)
        return ""


def _holder(descriptor: int) -> str:
    try:
        who = json.loads(os.pread(descriptor, 4096, 0))
        return f"pid {who['pid']} on {text.clean(who['host'])} since {text.clock(who['since'])}"
    except (OSError, ValueError, TypeError, KeyError):
        return "unknown"
