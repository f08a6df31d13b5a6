"""inotify through watchdog, as a hint: it only says which folders are worth a look right now.

The periodic scan is the truth. Events get lost on network file systems, when a folder is replaced and when inotify's
limits are hit, and watchdog goes silently blind when a watched folder is deleted and made again; none of that may
matter. So a handler does one thing, it puts a folder's path into a set, and every scan compares the identity of what is
watched with what is there.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

log = structlog.get_logger(__name__)

OWN_LOGS = "smart_monitor_"
"""smartmon's own log files lie in a folder that it watches; their events would wake it for each line it writes."""

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse", "9p", "afs", "ceph", "glusterfs", "lustre"}
"""File systems that deliver no events for what another machine writes."""


@dataclass
class _Watched:
    identity: tuple[int, int]
    handle: ObservedWatch


class Watcher:
    """Keeps a non-recursive watch on each folder it is told of, and collects the folders in which something moved."""

    def __init__(self, wake: Callable[[], None], *, enabled: bool = True) -> None:
        self._wake = wake
        self._enabled = enabled
        self._watched: dict[str, _Watched] = {}
        self._observer: BaseObserver | None = None
        self._dirty: set[str] = set()
        self._lock = threading.Lock()
        self.reason = "" if enabled else "the config says watch = poll"
        """Why there are no events, for a person; empty while there are."""

    def take(self) -> set[str]:
        """Return the folders in which something moved since the last call."""
        with self._lock:
            dirty, self._dirty = self._dirty, set()
        return dirty

    def sync(self, folders: Iterable[str]) -> None:
        """Watch exactly these folders: drop the rest, add the new, replace those whose inode changed."""
        if not self._enabled:
            return
        if self._observer is not None and self._blind():
            self.stop()
        wanted = {folder: identity for folder in folders if (identity := _identity(folder)) is not None}
        for folder, watched in list(self._watched.items()):
            if wanted.get(folder) != watched.identity:
                self._drop(folder)
        for folder, identity in wanted.items():
            if folder not in self._watched and not self._add(folder, identity):
                return

    def stop(self) -> None:
        """End all watches."""
        observer, self._observer = self._observer, None
        self._watched.clear()
        if observer is not None:
            observer.stop()
            observer.join(timeout=2)

    def _blind(self) -> bool:
        observer = self._observer
        return observer is not None and not (observer.is_alive() and all(e.is_alive() for e in observer.emitters))

    def _drop(self, folder: str) -> None:
        watched = self._watched.pop(folder)
        if self._observer is not None:
            try:
                self._observer.unschedule(watched.handle)
            except (KeyError, OSError):
                # The folder is gone and watchdog has noticed before us.
                return

    def _add(self, folder: str, identity: tuple[int, int]) -> bool:
        watcher = self

        class Handler(FileSystemEventHandler):
            # An exception here would kill watchdog's thread, and a slow handler lets its queue grow without bound.
            def on_any_event(self, event: FileSystemEvent) -> None:
                watcher._moved(folder, event)

        kinds = [DirCreatedEvent, DirMovedEvent, FileClosedEvent, FileCreatedEvent, FileModifiedEvent, FileMovedEvent]
        try:
            if self._observer is None:
                self._observer = Observer()
                self._observer.daemon = True
                self._observer.start()
            # `event_filter` keeps our own reads (opened, closed without writing) from waking us.
            handle = self._observer.schedule(Handler(), folder, recursive=False, event_filter=kinds)
        except FileNotFoundError:
            return True
        except OSError as error:
            self._give_up(error)
            return False
        self._watched[folder] = _Watched(identity, handle)
        return True

    def _moved(self, folder: str, event: FileSystemEvent) -> None:
        names = (os.fsdecode(event.src_path), os.fsdecode(event.dest_path or ""))
        if all(not name or os.path.basename(name).startswith(OWN_LOGS) for name in names):  # noqa: PTH119
            return
        with self._lock:
            self._dirty.add(folder)
        self._wake()

    def _give_up(self, error: OSError) -> None:
        self._enabled = False
        sysctl = {
            errno.ENOSPC: "fs.inotify.max_user_watches",
            errno.EMFILE: "fs.inotify.max_user_instances",
        }.get(error.errno or 0)
        advice = f"; raise it: sysctl {sysctl}" if sysctl else ""
        self.reason = f"inotify refused a watch ({error.strerror}){advice}"
        log.warning("watcher.polling", reason=self.reason)
        self.stop()


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(folder)  # noqa: PTH116
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def network_file_system(path: str) -> str | None:
    """Return the type of the network file system that `path` lies on, or None for a local one."""
    best, kind = "", ""
    real = os.path.realpath(path)
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:  # noqa: PTH123
            for line in mounts:
                _device, point, fs, *_ = line.split(" ")
                point = point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, fs
    except OSError:
        return None
    return kind if kind.split(".")[0] in _NETWORK else None
