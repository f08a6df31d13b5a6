"""One batch of what sources read becomes, in one transaction, everything that smartmon knows.

Per round and run: rows and cursors, what the detectors now know, events, incidents, snapshot requests and deliveries
are stored together or not at all. A crash, a full disk or a locked database replays the round; it never half-knows.
No threads and no clock here: the daemon calls, and brings `now`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from smartmon.config import Config
from smartmon.judge import Judge
from smartmon.monitor.ledger import HISTORY_AGE, Ledger
from smartmon.monitor.requests import Requests
from smartmon.monitor.watched import Watched
from smartmon.records import (
    Batch,
    Checkpoint,
    Finding,
    HostSample,
    Note,
    Observation,
    RunState,
    Severity,
    StatusReport,
)
from smartmon.sources import FoundRun, Source
from smartmon.sources.merging import in_time_order
from smartmon.store import RunRow, Store

__all__ = ["Monitor", "Watched"]

log = structlog.get_logger(__name__)


class Monitor:
    """Everything between a file that changed and a stored fact."""

    def __init__(self, store: Store, config: Config, on_work: Callable[[], None] = lambda: None) -> None:
        """`on_work` is called when a snapshot or a delivery was asked for: someone else's work."""
        self._store = store
        self._config = config
        self._ledger = Ledger(store, config, on_work)
        self._requests = Requests(store, config, on_work)
        self.runs: dict[str, Watched] = {}
        """Runs under watch, by path."""

    def adopt(self, found: FoundRun, now: float) -> Watched:
        """Take a run that discovery found under watch, or renew the sources of one that is."""
        known = self.runs.get(str(found.path))
        if known is not None:
            known.renew(found)
            return known
        with self._store.transaction():
            row = self._store.ensure_run(found.name, found.path, found.base_dir, now)
            entry = self._config.run_entry(row.name)
            watched = Watched(found, row, self._judge(row.name, row.id), self._store, entry)
            if row.first_seen == round(now, 3):
                self._ledger.run_appeared(watched, now)
        self.runs[str(found.path)] = watched
        return watched

    def _judge(self, name: str, run_id: int) -> Judge:
        return Judge(self._config.judge_settings(name), self._store.judge_state(run_id))

    def drop(self, path: str, now: float) -> None:
        """Stop watching a run whose folder is gone; what is stored of it stays."""
        watched = self.runs.pop(path, None)
        if watched is not None:
            log.info("run.vanished", run=watched.name)
            self.settle_gone(self._store.run(watched.name), now)

    def settle_gone(self, row: RunRow | None, now: float) -> None:
        """A run whose folder is gone is not running, whatever it said last."""
        if row is None or row.state is not RunState.RUNNING or row.path.is_dir():
            return
        with self._store.transaction():
            self._store.update_run(row.id, state=RunState.STOPPED.value)
            message = f"the folder of {row.name} is gone; what was kept and stored of it stays"
            self._store.add_event(at=now, kind="warning", message=message, run_id=row.id, attempt=row.attempt)

    def read(self, watched: Watched, now: float, *, only: frozenset[str] | None = None) -> bool:
        """Read one batch of each source of a run that moved, store what follows, and say whether there is more.

        `only` limits the look to the sources of these formats. When the transaction fails, the run is as it was before
        the call, on disk and in memory, and the next call reads the same again; the error goes on to the caller.
        """
        taken = []
        for source in watched.sources:
            if only is None or source.spec.format in only:
                stamp = source.stamp()
                if watched.moved(source, stamp):
                    taken.append((source, stamp, _batch(watched, source, now)))
        if not taken:
            return self._end_history(watched, now) if only is None else False
        try:
            with self._store.transaction():
                self._apply(watched, [(source, batch) for source, _stamp, batch in taken], now)
        except BaseException:
            watched.judge = self._judge(watched.name, watched.id)
            watched.forget_unsaved()
            raise
        for source, stamp, batch in taken:
            watched.read(source, stamp, batch)
        return any(batch.more for _source, _stamp, batch in taken) or self._end_history(watched, now)

    def _apply(self, watched: Watched, taken: Sequence[tuple[Source, Batch]], now: float) -> None:
        for _source, batch in taken:
            # Logs and Hugging Face states report too, but only the status file has the words that a snapshot keeps.
            if batch.status is not None and (batch.status.raw or watched.status is None):
                watched.status = batch.status
            elif batch.status is not None and watched.status is not None and batch.status.extras:
                extras = {**watched.status.extras, **batch.status.extras}
                watched.status = dataclasses.replace(watched.status, extras=extras)
        for source, batch in taken:
            for note in batch.notes:
                self._ledger.note(watched, source.spec.id, note, now)
        for obs in in_time_order([batch.observations for _source, batch in taken]):
            self._observe(watched, obs, now)
        for _source, batch in taken:
            if batch.status is not None:
                self._report(watched, batch.status, now)
        for source, batch in taken:
            self._store.set_cursor(watched.id, source.spec.id, dict(batch.cursor))
        self._requests.flush(watched)
        self._ledger.progress(watched, now)
        self._store.save_judge_state(watched.id, watched.judge.state())

    def _observe(self, watched: Watched, obs: Observation, now: float) -> None:
        if watched.history and obs.at < now - HISTORY_AGE:
            obs = dataclasses.replace(obs, historic=True)
        judged = watched.judge.observe(obs)
        # A new attempt, or a change of unit, must be on record before the row that told of it.
        self._ledger.before_rows(watched, judged.findings)
        if judged.values:
            self._store.append(watched.id, judged.attempt, obs.step, obs.at, judged.values)
        self._ledger.findings(watched, judged.findings, now)
        self._ledger.observed(watched, obs, judged.values)

    def _report(self, watched: Watched, status: StatusReport, now: float) -> None:
        historic = watched.history and status.at < now - HISTORY_AGE
        findings = watched.judge.report(status, historic=historic)
        self._ledger.before_rows(watched, findings)
        self._ledger.findings(watched, findings, now)
        self._ledger.state_changed(watched, historic=historic, at=status.at)

    def _end_history(self, watched: Watched, now: float) -> bool:
        if watched.history:
            with self._store.transaction():
                self._ledger.findings(watched, watched.judge.end_of_history(now), now)
                self._ledger.history_read(watched, now)
                self._store.save_judge_state(watched.id, watched.judge.state())
            watched.history = False
        return False

    def host(self, sample: Callable[[Path, bool], HostSample], now: float) -> None:
        """Let every run that moves judge the machine; of them all one answers for what they share.

        `sample(folder, answers)` returns how the machine is now, with the disk that a folder lies on.
        """
        moving = [w for w in self.runs.values() if w.state is RunState.RUNNING and not w.history]
        for index, watched in enumerate(sorted(moving, key=lambda each: each.id)):
            findings = watched.judge.host(sample(watched.found.path, index == 0))
            if findings:
                self._store_findings(watched, findings, (), now)

    def tick(self, now: float) -> None:
        """Let time pass for every run: stalls, reminders, what resolves by itself, and checkpoints that appeared."""
        for watched in self.runs.values():
            if watched.history:
                continue
            findings = watched.judge.tick(now)
            checkpoints = watched.new_checkpoints()
            if findings or checkpoints:
                self._store_findings(watched, findings, checkpoints, now)

    def _store_findings(
        self, watched: Watched, findings: Sequence[Finding], checkpoints: Sequence[Checkpoint], now: float
    ) -> None:
        """Store what was found without a row; a transaction that fails leaves the run as it is on disk."""
        try:
            with self._store.transaction():
                self._ledger.findings(watched, findings, now)
                self._ledger.checkpoints(watched, checkpoints, now)
                self._ledger.state_changed(watched, historic=False, at=now)
                self._requests.flush(watched)
                self._store.save_judge_state(watched.id, watched.judge.state())
        except BaseException:
            watched.judge = self._judge(watched.name, watched.id)
            watched.forget_unsaved()
            raise


def _batch(watched: Watched, source: Source, now: float) -> Batch:
    """Read one source. What trips a reader up, it may be a guest, must not blind us to the other sources."""
    name = source.spec.id
    cursor = watched.cursors.get(name)
    try:
        batch = source.read(cursor, now)
    except Exception as error:
        trouble = f"{type(error).__name__}: {error}"[:300]
        known = watched.failures.get(name) == trouble
        watched.failures[name] = trouble
        if known:
            return Batch(dict(cursor or {}))
        log.error("source.read_failed", run=watched.name, source=name, error=trouble, exc_info=True)
        text = f"reading {name} failed ({trouble}); it is tried again whenever it changes, please report this"
        return Batch(dict(cursor or {}), notes=(Note("warning", text, Severity.WARNING),))
    watched.failures.pop(name, None)
    return batch
