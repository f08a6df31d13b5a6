"""The daemon: its threads, its signals, its word to the service manager. All it knows about training lies below it.

Three workers share one store: `watch` reads, `keep` makes snapshots, `send` delivers alerts. The main thread sleeps,
takes signals, and says that all is well only while every worker's own beat is fresh.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping

import structlog

import smartmon
from smartmon import lock, log, text
from smartmon.config import Config, fixed_part
from smartmon.daemon.signals import Signals
from smartmon.daemon.watch import Watch
from smartmon.daemon.worker import Worker
from smartmon.detectors.registry import installed
from smartmon.errors import ConfigError, PartialError, SourceError, StoreError
from smartmon.keeper import Keeper
from smartmon.monitor import Monitor
from smartmon.notify import routing
from smartmon.notify.heartbeat import Heartbeat
from smartmon.notify.redact import Redactor
from smartmon.outbox import Outbox
from smartmon.sources.discovery import expand
from smartmon.store import Store
from smartmon.systemd import Notifier

logger = structlog.get_logger(__name__)

STOP_WITHIN = 4.5
"""Seconds that the workers get to finish what they are at; the whole exit takes less than 5."""
READY_WITHIN = 30.0
"""Seconds that the first look may take before the service manager is told that we watch all the same."""
BEAT_EVERY = 10.0
"""Seconds between two rows that tell `smartmon status` that the daemon lives."""
LOOK_EVERY = 2.0
"""Seconds between two looks at whether the workers are well and the database is still there."""
ONCE_PATIENCE = 60.0
"""Seconds that `--once` gives snapshots and deliveries after the reading is done."""

Clock = Callable[[], float]


class Daemon:
    """One daemon over one configuration; `run` returns the exit code."""

    def __init__(self, load: Callable[[], Config], environ: Mapping[str, str], clock: Clock = time.time) -> None:
        self._load = load
        self._environ = environ
        self._clock = clock
        self._signals = Signals()
        self._systemd = Notifier(environ)
        self._started_at = clock()
        self._config = self._loaded()
        self._workers: list[Worker] = []
        self._trouble = ""
        self._close_log: Callable[[], None] = lambda: None

    def _loaded(self) -> Config:
        config = self._load()
        config.require_secrets()
        return config

    def run(self, *, once: bool = False) -> int:
        """Watch until told to stop, or with `once` until all that is there is read and acted on.

        Raises LockedError when another daemon watches one of the base dirs, StoreError when state cannot be kept, with
        `once` SourceError when there is no base dir at all.
        """
        self._signals.take()
        self._set_up_logging(self._config, to_file=False)
        if once and not expand(self._config.base_dirs):
            raise SourceError(f"{self._absent()}; name the training directory with --base-dir")
        while self._await_folder():
            try:
                code = self._live(once)
            except StoreError as error:
                if once or not error.transient:
                    raise
                # Somebody else's lock or a full disk passes, and whoever wanted a watch still wants it.
                self._retry(error)
                continue
            if code is not None:
                return code
            self._lost()
        return 0

    def _live(self, once: bool) -> int | None:
        """Watch with one database. None: it was deleted under us, and another one is to be begun."""
        config = self._config
        folders = list(dict.fromkeys([config.state_dir, *(base / ".smartmon" for base in expand(config.base_dirs))]))
        with lock.held(folders, config.database), Store.open(config.database) as store:
            self._set_up_logging(config)
            now = self._clock()
            message = f"smartmon {smartmon.__version__} watches {', '.join(map(str, config.base_dirs))}"
            store.add_event(at=now, kind="daemon_started", message=message)
            for trouble in installed().troubles:
                logger.warning("detector.not_loaded", message=trouble)
            logger.info("daemon.started", version=smartmon.__version__, pid=os.getpid(), once=once)
            try:
                return self._once(store) if once else self._serve(store)
            finally:
                if not store.lost:
                    self._systemd.stopping()
                    self._say_goodbye(store)

    def _retry(self, error: StoreError) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            logger.error("daemon.store_refused", error=self._trouble)
            self._systemd.ready(f"waiting: {error}"[:300])
        self._systemd.alive()
        self._signals.wait(LOOK_EVERY)

    def _lost(self) -> None:
        logger.error(
            "store.lost",
            database=str(self._config.database),
            message="the database was moved or deleted; a new one is begun",
        )
        # Whoever deletes the folder is not to find it made again while at it.
        self._signals.wait(LOOK_EVERY)

    def _await_folder(self) -> bool:
        """Wait for the base dir that state is kept in; False: told to stop.

        We do not make it: trainers refuse to begin in a folder that is there already and not empty.
        """
        config, signals = self._config, self._signals
        homes = [fixed_part(base) for base in config.base_dirs]
        home = next((home for home in homes if home == config.state_dir.parent), None)
        if home is not None and not home.exists():
            logger.warning("daemon.waiting", message=f"{self._absent()} yet; waiting for it")
            self._systemd.ready(f"waiting for {home}")
            while not (signals.stop or home.is_dir()):
                self._systemd.alive()
                signals.wait(min(1.0, self._systemd.watchdog_interval or 1.0))
        return not signals.stop

    def _absent(self) -> str:
        return f"there is no folder {', '.join(text.clean(base) for base in self._config.base_dirs)}"

    def _set_up_logging(self, config: Config, *, to_file: bool = True) -> None:
        folder = config.log_dir(config.base_dirs[0]) if to_file else None
        self._close_log()
        self._close_log = log.setup(
            form=config.log.format,
            level=config.log.level,
            folder=folder,
            redact=Redactor(config).clean,
            environ=self._environ,
        )

    def _serve(self, store: Store) -> int | None:
        heartbeat = self._start(store)
        try:
            self._tend(store, heartbeat)
        finally:
            if self._signals.stop:
                # A worker, or our own last words, may hang on a lock or a disk. The next start redoes what is lost.
                last = threading.Timer(STOP_WITHIN + 0.2, os._exit, [0])
                last.daemon = True
                last.start()
            self._halt()
        return 0 if self._signals.stop else None

    def _tend(self, store: Store, heartbeat: Heartbeat) -> None:
        """Until a signal ends it or the database is gone: say that all is well while it is, and take new configs."""
        next_row = 0.0
        signals = self._signals
        while not (signals.stop or store.lost):
            now, mono = self._clock(), time.monotonic()
            stuck = [worker.name for worker in self._workers if not worker.healthy(mono)]
            if not stuck:
                self._systemd.alive()
            heartbeat.beat(now, healthy=not stuck)
            if mono >= next_row:
                next_row = mono + BEAT_EVERY
                self._systemd.status(self._status_line(stuck))
                self._row(store, now, stuck)
            signals.wait(min(LOOK_EVERY, self._systemd.watchdog_interval or LOOK_EVERY))
            if signals.reload and not signals.stop:
                signals.reload = False
                heartbeat = self._reload_config(store, heartbeat)
        heartbeat.stop()

    def _start(self, store: Store) -> Heartbeat:
        config = self._config
        workers: dict[str, Worker] = {}

        def on(name: str, act: Callable[[Worker], None]) -> Callable[[], None]:
            def do() -> None:
                # What is swept up at the start beats before there are workers.
                if name in workers:
                    act(workers[name])

            return do

        def wake() -> None:
            for name in ("keep", "send"):
                workers[name].wake()

        halted = threading.Event()
        monitor = Monitor(store, config, on_work=wake)
        watch = Watch(monitor, store, config, on("watch", Worker.wake), self._clock)
        keeper = Keeper(store, config, cancel=halted.is_set, beat=on("keep", Worker.beat))
        outbox = Outbox(store, config, cancel=halted.is_set, beat=on("send", Worker.beat))
        keeper.sweep(self._clock())
        outbox.recover(self._clock())

        def keep() -> float:
            if keeper.keep_one(self._clock()):
                workers["send"].wake()
                return 0.0
            return 1.0 if store.keeps(states=("pending", "waiting", "copying"), limit=1) else 30.0

        def send() -> float:
            now = self._clock()
            if outbox.deliver_one(now):
                return 0.0
            due = outbox.next_at(now)
            return 30.0 if due is None else min(30.0, max(0.05, due - now))

        workers["watch"] = Worker("watch", watch.step, halted, close=watch.stop)
        workers["keep"] = Worker("keep", keep, halted)
        workers["send"] = Worker("send", send, halted)
        if config.push.enabled:
            # A web server and TLS come with it: 4 MB that a daemon without it need not hold.
            from smartmon.daemon.push import Receiver

            receiver = Receiver(config, lambda: {run.name: run.found.path for run in list(monitor.runs.values())})
            workers["push"] = Worker("push", receiver.step, halted, close=receiver.close)
        if config.dashboard.enabled:
            from smartmon.daemon.dashboard import Dashboard

            page = Dashboard(config)
            workers["dashboard"] = Worker("dashboard", page.step, halted, close=page.close)
        self._workers = list(workers.values())
        for worker in self._workers:
            worker.start()
        # READY means watching. A first look that cannot be finished (a full disk) must not hold it back for ever.
        deadline = time.monotonic() + READY_WITHIN
        while not (watch.scanned.wait(0.05) or self._signals.stop or time.monotonic() > deadline):
            continue
        self._systemd.ready(self._status_line())
        return Heartbeat(config.heartbeat_url, config.heartbeat_interval)

    def _halt(self) -> None:
        deadline = time.monotonic() + STOP_WITHIN
        for worker in self._workers:
            worker.halt()
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                logger.warning("daemon.worker_left", worker=worker.name)
        self._workers = []

    def _reload_config(self, store: Store, heartbeat: Heartbeat) -> Heartbeat:
        self._systemd.reloading()
        try:
            config = self._loaded()
            self._refuse_moves(config)
        except ConfigError as error:
            logger.error("config.refused", error=str(error))
            store.add_event(
                at=self._clock(),
                kind="warning",
                severity="warning",
                message=f"the new config was refused, the old one stays: {error}"[:2000],
            )
            self._systemd.ready(self._status_line())
            return heartbeat
        self._halt()
        heartbeat.stop()
        self._config = config
        self._set_up_logging(config)
        heartbeat = self._start(store)
        logger.info("config.reloaded", digest=config.digest())
        return heartbeat

    def _refuse_moves(self, config: Config) -> None:
        if (config.base_dirs, config.database) != (self._config.base_dirs, self._config.database):
            raise ConfigError("base_dirs and state_dir cannot change while the daemon runs; restart it for that")

    def _status_line(self, stuck: list[str] | None = None) -> str:
        if stuck:
            return f"stuck: {', '.join(stuck)}"
        bases = ", ".join(str(base) for base in self._config.base_dirs)
        return f"watching {bases}"

    def _row(self, store: Store, now: float, stuck: list[str], state: str = "running") -> None:
        row = {
            "pid": os.getpid(),
            "started_at": self._started_at,
            "beat_at": now,
            "version": smartmon.__version__,
            "state": "degraded" if stuck and state == "running" else state,
            "base_dirs": [str(base) for base in self._config.base_dirs],
            "workers": {worker.name: worker.name not in stuck for worker in self._workers},
        }
        try:
            store.set_meta("daemon", json.dumps(row))
        except Exception as error:  # noqa: BLE001 - the row is for show; a full disk must not end the watch
            logger.warning("daemon.beat_failed", error=str(error))

    def _say_goodbye(self, store: Store) -> None:
        now = self._clock()
        self._row(store, now, [], state="stopped")
        try:
            store.add_event(at=now, kind="daemon_stopped", message="smartmon stopped")
        except Exception as error:  # noqa: BLE001 - nothing may keep the daemon from ending
            logger.warning("daemon.goodbye_failed", error=str(error))
        logger.info("daemon.stopped", pid=os.getpid())
        self._close_log()

    def _once(self, store: Store) -> int:
        config, signals = self._config, self._signals
        monitor = Monitor(store, config)
        watch = Watch(monitor, store, config, lambda: None, self._clock, events=False)
        keeper = Keeper(store, config, cancel=signals.stopping, beat=lambda: None)
        outbox = Outbox(store, config, cancel=signals.stopping, beat=lambda: None)
        tried = _tries(store, config)
        skipped = len(store.keeps(states=("skipped",)))
        keeper.sweep(self._clock())
        outbox.recover(self._clock())
        watch.read_everything(signals.stopping)
        deadline = time.monotonic() + ONCE_PATIENCE
        while not signals.stop and time.monotonic() < deadline:
            if keeper.keep_one(self._clock()) or outbox.deliver_one(self._clock()):
                continue
            waiting = store.keeps(states=("pending", "copying"), limit=1) or outbox.due_soon(self._clock())
            if not waiting:
                break
            # A checkpoint must stand still between two looks; there is nothing to do but look again.
            signals.wait(0.2)
        keeper.finish(self._clock())
        while not signals.stop and outbox.deliver_one(self._clock()):
            pass
        if len(store.keeps(states=("skipped",))) > skipped:
            raise PartialError("a snapshot could not be made; see: smartmon events list --kind snapshot_skipped")
        if any(count > tried.get(row, 0) for row, count in _tries(store, config).items()):
            raise PartialError("an alert could not be delivered yet; see: smartmon alerts list")
        return 0


def _tries(store: Store, config: Config) -> dict[str, int]:
    """How often each alert that has not arrived was tried; one whose notifier was taken out of the config is let go."""
    known = {notifier.name for notifier in config.notifiers} | routing.hooks(config).keys()
    rows = store.deliveries(states=("pending", "dead"), limit=10_000)
    return {row.id: row.attempts for row in rows if row.notifier in known}
