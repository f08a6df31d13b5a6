"""What the store and the log are told about snapshots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import structlog

from smartmon import text
from smartmon.config import Config
from smartmon.notify import routing
from smartmon.records import Json, Severity, Snapshot
from smartmon.retention import Action, Verdict
from smartmon.snapshots import folder as folders
from smartmon.store import KeepRow, RunRow, Store

log = structlog.get_logger(__name__)

_TOLD_SKIPPED = 5


class Records:
    """Writes keeps, events and the index. Each method is one transaction."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._config = config
        self._warned: dict[str, float] = {}

    def bases(self) -> list[Path]:
        """Every base dir there is. One in the config may be a pattern: the runs know which folders it stood for."""
        named = [*self._config.base_dirs, *(run.base_dir for run in self._store.runs())]
        return [base for base in dict.fromkeys(named) if base.is_dir()]

    def index(self, base: Path) -> list[Snapshot]:
        """Make the index what the folder says; returns what is in it."""
        snapshots = folders.scan(self._config.snapshots_dir(base))
        self._store.index_snapshots(base, snapshots)
        return snapshots

    def open_incidents(self) -> dict[str, set[str]]:
        """Run -> keys of its open incidents."""
        names = {run.id: run.name for run in self._store.runs()}
        keys: dict[str, set[str]] = defaultdict(set)
        for incident in self._store.incidents(open_only=True, limit=10_000):
            keys[names.get(incident.run_id, "")].add(incident.key)
        return dict(keys)

    def done(self, keep: KeepRow, run: RunRow, path: Path, told: Mapping[str, Json], now: float) -> None:
        """A snapshot is published."""
        step, size = told.get("checkpoint_step"), text.size(told.get("bytes") or 0)
        what = f"checkpoint of step {step:,}" if step is not None else "no checkpoint"
        good = told.get("last_good_checkpoint_step")
        if good is not None and good != step:
            what += f" and the last good one, of step {good:,}"
        gone = "; its trainer has deleted it since" if told.get("source_vanished") else ""
        how_much = f", {size}" if told.get("bytes") else ""
        message = f"kept {path.name}: {what}{how_much}{gone}" + (f" ({told['note']})" if told.get("note") else "")
        shown = ("checkpoint_step", "checkpoint_age_steps", "bytes", "copy_method", "state", "reason")
        data = {"name": path.name, "path": str(path), **{key: told.get(key) for key in shown}}
        with self._store.transaction():
            self._store.update_keep(keep.id, state="done", snapshot=path.name, note="")
            event = self._event("snapshot_created", message, now, keep=keep, data=data)
            routing.enqueue_event(self._store, self._config, run.id, event, "snapshot_created", Severity.INFO, now)
            self._warn_of_skipped(keep, path.name, told, now)
            self.index(run.base_dir)
        log.info("snapshot.created", run=run.name, name=path.name, bytes=told.get("bytes"), checkpoint_step=step)

    def held(self, keep: KeepRow, run: RunRow) -> None:
        """A snapshot is set aside; it takes the place of an earlier one of its run's attempt."""
        with self._store.transaction():
            for other in self._store.keeps(states=("held",), run_id=keep.run_id):
                if other.attempt == keep.attempt and other.id != keep.id:
                    self._store.update_keep(other.id, state="dropped", note="a better one took its place")
            self._store.update_keep(keep.id, state="held", note="")
        log.info("snapshot.held", run=run.name, step=keep.step)

    def skipped(self, keep: KeepRow, run: RunRow, why: str, now: float) -> None:
        """A snapshot was not made. The first of a row of such is told to everybody."""
        message = f"no snapshot of {', '.join(keep.reasons)} at step {keep.step:,}: {why}"
        with self._store.transaction():
            last = self._store.events(run_id=run.id, kinds=("snapshot_created", "snapshot_skipped"), limit=1)
            self._store.update_keep(keep.id, state="skipped", note=why)
            data = {"reason": why, "reasons": list(keep.reasons)}
            event = self._event("snapshot_skipped", message, now, keep=keep, severity=Severity.CRITICAL, data=data)
            if not last or last[-1].kind != "snapshot_skipped":
                self._tell(run, event, message, keep, now)
        log.error("snapshot.skipped", run=run.name, step=keep.step, reason=why)

    def _tell(self, run: RunRow, event: int, message: str, keep: KeepRow, now: float) -> None:
        told = {"kind": "snapshot_skipped", "message": message, "step": keep.step, "attempt": keep.attempt, "at": now}
        for notifier in self._config.notifiers:
            if not notifier.kinds or "snapshot_skipped" in notifier.kinds:
                self._store.add_delivery(
                    notifier=notifier.name,
                    kind="event",
                    severity=Severity.CRITICAL.value,
                    created_at=now,
                    run_id=run.id,
                    event_id=event,
                    payload={"run": run.name, "event": told},
                )

    def removed(self, base: Path, verdict: Verdict, now: float) -> None:
        """Retention gave up a snapshot, or its weights."""
        snapshot, why = verdict.snapshot, verdict.reasons[-1]
        done = "removed" if verdict.action is Action.REMOVE else "gave up the weights of"
        run = self._store.run(snapshot.run)
        with self._store.transaction():
            self._store.add_event(
                at=now,
                kind="snapshot_removed",
                message=f"{done} {snapshot.name} ({text.size(snapshot.bytes)}): {why}",
                run_id=run.id if run is not None else None,
                step=snapshot.step,
                data={"name": snapshot.name, "action": verdict.action.value, "reasons": list(verdict.reasons)},
            )
            self.index(base)
        log.info("snapshot.removed", name=snapshot.name, action=verdict.action.value, reason=why)

    def warn(self, message: str, now: float) -> None:
        """Something about the snapshots dir is wrong; told again after a day at the earliest."""
        if now < self._warned.get(message, 0.0):
            return
        self._warned[message] = now + 86400.0
        self._store.add_event(at=now, kind="warning", message=message, severity=Severity.WARNING)
        log.warning("snapshots.trouble", message=message)

    def _warn_of_skipped(self, keep: KeepRow, name: str, told: Mapping[str, Json], now: float) -> None:
        odd = [file for file in told.get("skipped") or () if "excluded" not in file["why"]]
        if odd:
            shown = ", ".join(f"{text.clean(file['path'])} ({file['why']})" for file in odd[:_TOLD_SKIPPED])
            more = f" and {len(odd) - _TOLD_SKIPPED} more" if len(odd) > _TOLD_SKIPPED else ""
            message = f"{name} does not hold everything: {shown}{more} was left out"
            self._event("warning", message, now, keep=keep, severity=Severity.WARNING, data={"skipped": odd[:100]})

    def _event(
        self,
        kind: str,
        message: str,
        now: float,
        *,
        keep: KeepRow,
        severity: Severity = Severity.INFO,
        data: Mapping[str, Json],
    ) -> int:
        return self._store.add_event(
            at=now,
            kind=kind,
            message=message,
            run_id=keep.run_id,
            attempt=keep.attempt,
            severity=severity,
            step=keep.step,
            data=data,
        )
