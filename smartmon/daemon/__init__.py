"""The daemon: its threads, its signals, its word to the service manager. All it knows about training lies below it.

Three workers share one store: `watch` reads, `keep` makes snapshots, `send` delivers alerts. The main thread sleeps,
takes signals, and says that all is well only while every worker's own beat is fresh.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

import structlog

import smartmon
from smartmon import lock, log
from smartmon.config import Config
from smartmon.daemon.watch import Watch
from smartmon.daemon.worker import Worker
from smartmon.errors import ConfigError, PartialError
from smartmon.keeper import Keeper
from smartmon.monitor import Monitor
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
ONCE_PATIENCE = 60.0
"""Seconds that `--once` gives snapshots and deliveries after the reading is done."""

Clock = Callable[[], float]


class Daemon:
    """One daemon over one configuration; `run` returns the exit code."""

    def __init__(self, load: Callable[[], Config], environ: Mapping[str, str], clock: Clock = time.time) -> None:
        self._load = load
        self._environ = environ
        self._clock = clock
        self._stop = threading.Event()
        self._attention = threading.Event()
        self._reload = False
        self._signals = 0
        self._systemd = Notifier(environ)
        self._started_at = clock()
        self._config = self._loaded()
        self._workers: list[Worker] = []
        self._close_log: Callable[[], None] = lambda: None

    def _loaded(self) -> Config:
        config = self._load()
        config.require_secrets()
        return config

    def run(self, *, once: bool = False) -> int:
        """Watch until told to stop, or with `once` until all that is there is read and acted on.

        Raises LockedError when another daemon watches one of the base dirs, StoreError when state cannot be kept.
        """
        config = self._config
        folders = list(dict.fromkeys([config.state_dir, *(base / ".smartmon" for base in expand(config.base_dirs))]))
        with lock.held(folders, config.database), Store.open(config.database) as store:
            self._set_up_logging(config)
            self._take_signals()
            now = self._clock()
            message = f"smartmon {smartmon.__version__} watches {', '.join(map(str, config.base_dirs))}"
            store.add_event(at=now, kind="daemon_started", message=message)
            if config.dashboard.enabled:
                logger.warning("dashboard.missing", message="this version has no web page yet; use: smartmon watch")
            logger.info("daemon.started", version=smartmon.__version__, pid=os.getpid(), once=once)
            try:
                return self._once(store) if once else self._serve(store)
            finally:
                self._systemd.stopping()
                self._say_goodbye(store)

    def _set_up_logging(self, config: Config) -> None:
        folder = config.log_dir(config.base_dirs[0])
        self._close_log()
        self._close_log = log.setup(
            form=config.log.format,
            level=config.log.level,
            folder=folder,
            redact=Redactor(config).clean,
            environ=self._environ,
        )

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            # Asked twice: whoever asks does not want to wait. Nothing is lost, the next start redoes it.
            os._exit(130 if number == signal.SIGINT else 0)
        self._stop.set()
        self._attention.set()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True
        self._attention.set()

    def _serve(self, store: Store) -> int:
        heartbeat = self._start(store)
        next_row = 0.0
        while not self._stop.is_set():
            now, mono = self._clock(), time.monotonic()
            stuck = [worker.name for worker in self._workers if not worker.healthy(mono)]
            if not stuck:
                self._systemd.alive()
            heartbeat.beat(now, healthy=not stuck)
            if mono >= next_row:
                next_row = mono + BEAT_EVERY
                self._systemd.status(self._status_line(stuck))
                self._row(store, now, stuck)
            self._attention.wait(min(BEAT_EVERY, self._systemd.watchdog_interval or BEAT_EVERY))
            self._attention.clear()
            if self._reload and not self._stop.is_set():
                self._reload = False
                heartbeat = self._reload_config(store, heartbeat)
        self._halt()
        heartbeat.stop()
        return 0

    def _start(self, store: Store) -> Heartbeat:
        config = self._config
        workers: dict[str, Worker] = {}

        def on(name: str, act: Callable[[Worker], None]) -> Callable[[], None]:
            return lambda: act(workers[name])

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
        self._workers = list(workers.values())
        for worker in self._workers:
            worker.start()
        # READY means watching. A first look that cannot be finished (a full disk) must not hold it back for ever.
        deadline = time.monotonic() + READY_WITHIN
        while not (watch.scanned.wait(0.05) or self._stop.is_set() or time.monotonic() > deadline):
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
        config = self._config
        monitor = Monitor(store, config)
        watch = Watch(monitor, store, config, lambda: None, self._clock, events=False)
        keeper = Keeper(store, config, cancel=self._stop.is_set, beat=lambda: None)
        outbox = Outbox(store, config, cancel=self._stop.is_set, beat=lambda: None)
        keeper.sweep(self._clock())
        outbox.recover(self._clock())
        watch.read_everything(self._stop.is_set)
        deadline = time.monotonic() + ONCE_PATIENCE
        while not self._stop.is_set() and time.monotonic() < deadline:
            if keeper.keep_one(self._clock()) or outbox.deliver_one(self._clock()):
                continue
            waiting = store.keeps(states=("pending", "copying"), limit=1) or outbox.due_soon(self._clock())
            if not waiting:
                break
            # A checkpoint must stand still between two looks; there is nothing to do but look again.
            self._stop.wait(0.2)
        keeper.finish(self._clock())
        while not self._stop.is_set() and outbox.deliver_one(self._clock()):
            pass
        return self._once_code(store)

    @staticmethod
    def _once_code(store: Store) -> int:
        dead = store.deliveries(states=("pending", "dead"), limit=1)
        if dead and dead[-1].attempts:
            raise PartialError("an alert could not be delivered; see: smartmon alerts list")
        return 0
