"""When to look at what: the scan that is the truth, and the events that make it prompt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from smartmon import lean
from smartmon.config import Config
from smartmon.errors import StoreError
from smartmon.host import Host
from smartmon.monitor import Monitor, Watched
from smartmon.records import Severity
from smartmon.sources.discovery import Discovery, expand
from smartmon.store import Store
from smartmon.watcher import Watcher, network_file_system

log = structlog.get_logger(__name__)

STATUS = frozenset({"status", "push"})
PRUNE_EVERY = 3600.0
"""Seconds between two looks for rows that are old enough to forget."""
LOOKS = 2.0
"""Seconds of the processor for which one scan looks into files of unknown names: runs under watch must not wait."""
MOST_FOLDERS = 64
"""Folders with an inotify watch at once: watchdog runs a thread for each."""


class Watch:
    """The reading worker's unit of work: discover, scan, read what moved, let time pass."""

    def __init__(
        self,
        monitor: Monitor,
        store: Store,
        config: Config,
        wake: Callable[[], None],
        clock: Callable[[], float],
        *,
        events: bool = True,
    ) -> None:
        self._monitor = monitor
        self._store = store
        self._config = config
        self._clock = clock
        self._next_scan = 0.0
        self._next_status = 0.0
        self._busy: dict[str, Watched] = {}
        """Runs with more to read at once."""
        self._folders: dict[str, list[Watched]] = {}
        own = [config.state_dir, *(config.snapshots_dir(base) for base in config.base_dirs)]
        self._discovery = Discovery(skip=own, patience=LOOKS)
        self.scanned = threading.Event()
        """Set once everything was looked at and the folders are watched: from then on nothing goes unseen."""
        self._next_prune = clock() + PRUNE_EVERY
        self._host = Host(config.monitor.host_interval)
        self._next_host = 0.0
        self._grown = True
        """Whether something long was read since memory was last given back."""
        self._trouble: dict[str, str] = {}
        self._watcher = Watcher(wake, enabled=events and self._wants_events())

    def _wants_events(self) -> bool:
        if self._config.monitor.watch != "auto":
            return self._config.monitor.watch == "inotify"
        remote = {str(base): kind for base in self._config.base_dirs if (kind := network_file_system(str(base)))}
        for base, kind in remote.items():
            log.info("watcher.polling", reason=f"{base} is on {kind}, which delivers no events", base_dir=base)
        return not remote

    def step(self) -> float:
        """One unit: whatever is due now. Returns the seconds until something is due again."""
        mono = time.monotonic()
        dirty = self._watcher.take()
        if mono >= self._next_scan:
            self._next_scan = mono + self._config.monitor.poll_interval
            self._next_status = mono + self._config.monitor.status_interval
            self.scan()
        else:
            moved = {w.found.path: w for folder in dirty for w in self._folders.get(folder, ())}
            for watched in moved.values():
                self._read(watched)
            if dirty - self._folders.keys() or any(folder in self._roots() for folder in dirty):
                # Something appeared where runs appear: look for new ones soon, but not once per created file.
                self._next_scan = min(self._next_scan, mono + 0.2)
            if mono >= self._next_status:
                self._next_status = mono + self._config.monitor.status_interval
                for watched in list(self._monitor.runs.values()):
                    # A run that has ended is left to the scan: it seldom says more.
                    if not watched.state.ended:
                        self._read(watched, STATUS)
        for watched in list(self._busy.values()):
            self._read(watched)
        if self._busy:
            return 0.0
        return max(0.01, min(self._next_scan, self._next_status) - time.monotonic())

    def scan(self) -> None:
        """Look at everything: runs that came and went, every source, and the time that passed."""
        now = self._clock()
        names = {watched.found.path: watched.name for watched in self._monitor.runs.values()} or {
            row.path: row.name for row in self._store.runs()
        }
        found, notes = self._discovery.scan(self._config.base_dirs, self._config.runs, names=names)
        if self._config.push.enabled:
            from smartmon.sources.push import with_pushes

            found = with_pushes(found, self._config.state_dir, expand(self._config.base_dirs))
        for note in notes:
            self._store.add_event(at=now, kind=note.kind, message=note.message, severity=note.severity)
            log.warning("discovery.told", message=note.message)
        present = {str(run.path) for run in found}
        for path in [path for path in self._monitor.runs if path not in present]:
            self._monitor.drop(path, now)
            self._busy.pop(path, None)
        if not self.scanned.is_set():
            for row in self._store.runs():
                # It may have gone while no daemon was there to see.
                self._monitor.settle_gone(row, now)
        for run in found:
            self._read(self._monitor.adopt(run, now))
        self._monitor.tick(now)
        self._look_at_host(now)
        self._watch_folders(now)
        self.scanned.set()
        if now >= self._next_prune:
            self._next_prune = now + PRUNE_EVERY
            self._prune(now)
        if self._grown and not self._busy:
            self._grown = False
            lean.trim()

    def _look_at_host(self, now: float) -> None:
        mono = time.monotonic()
        if mono >= self._next_host:
            self._next_host = mono + self._host.interval
            self._monitor.host(lambda folder, answers: self._host.sample(now, folder, answers=answers), now)

    def _prune(self, now: float) -> None:
        for watched in self._monitor.runs.values():
            # Its folder is there, so what is known of it is not of the past.
            self._store.update_run(watched.id, last_seen=now)
        limits = self._config.store
        self._store.prune(now, max_age=limits.keep_events_days * 86400, max_events=limits.max_events)

    def read_everything(self, stopped: Callable[[], bool]) -> None:
        """Scan once and read on until nothing is left: what `--once` does."""
        self.scan()
        behind = self._discovery.behind
        while (self._busy or behind) and not stopped():
            for watched in list(self._busy.values()):
                self._read(watched)
            if behind:
                self.scan()
                # Files that grow faster than anybody looks must not keep us here for ever.
                behind = self._discovery.behind if self._discovery.behind < behind else 0

    def stop(self) -> None:
        """End the watches."""
        self._watcher.stop()
        self._host.stop()

    def _read(self, watched: Watched, only: frozenset[str] | None = None) -> None:
        path = str(watched.found.path)
        try:
            more = self._monitor.read(watched, self._clock(), only=only)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - what one run's files provoke must not blind us to the others
            self._failed(watched, error)
            return
        self._trouble.pop(path, None)
        if more:
            self._busy[path] = watched
            self._grown = True
        elif only is None:
            self._busy.pop(path, None)

    def _failed(self, watched: Watched, error: Exception) -> None:
        path, trouble = str(watched.found.path), f"{type(error).__name__}: {error}"
        self._busy.pop(path, None)
        if self._trouble.get(path) == trouble:
            return
        self._trouble[path] = trouble
        log.error("run.read_failed", run=watched.name, error=trouble, exc_info=True)
        message = (
            f"reading {watched.name} failed ({trouble[:300]}); it is tried again at every scan, please report this"
        )
        self._store.add_event(
            at=self._clock(), kind="warning", run_id=watched.id, severity=Severity.WARNING, message=message
        )

    def _roots(self) -> set[str]:
        return {str(base) for base in expand(self._config.base_dirs)}

    def _watch_folders(self, now: float) -> None:
        folders: dict[str, list[Watched]] = {folder: [] for folder in self._roots()}
        # Those that moved last are the ones that will move next; what is past the limit has the scan.
        recent = sorted(self._monitor.runs.values(), key=lambda run: -(run.judge.last_step_at or now))
        for watched in recent:
            path = watched.found.path
            own = {str(path), str(path / "status"), str(path / "logs")}
            places = (source.spec.path for source in watched.sources)
            own |= {str(place if place.suffix == "" and place.is_dir() else place.parent) for place in places}
            for folder in own:
                if folder in folders or (len(folders) < MOST_FOLDERS and Path(folder).is_dir()):
                    folders.setdefault(folder, []).append(watched)
        self._folders = folders
        self._watcher.sync(folders)
