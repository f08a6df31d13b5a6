"""Writes what a round found into the store: events, incidents, snapshot requests, deliveries, the run's own row.

Every method runs inside the caller's transaction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from smartmon import text
from smartmon.config import Config
from smartmon.monitor.watched import Watched
from smartmon.notify import routing
from smartmon.records import (
    Anomaly,
    AttemptStarted,
    Change,
    Checkpoint,
    Finding,
    IncidentChange,
    Json,
    Keep,
    Note,
    Observation,
    Rescaled,
    RunState,
    Severity,
)
from smartmon.store import Store

log = structlog.get_logger(__name__)

_CHANGE_EVENTS = {
    Change.OPENED: "incident_opened",
    Change.ESCALATED: "incident_escalated",
    Change.RESOLVED: "incident_resolved",
}
_EVAL_COSTS = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
"""What Hugging Face reports of the evaluation itself, not of the model."""
HISTORY_AGE = 600.0
"""Seconds: rows older than this, of a run seen for the first time, are history and not news."""
SILENT = 3600.0
"""Seconds without a step after which a run seen for the first time is not called running."""
_KEPT_LATEST = 64
"""How many latest values a run's row shows; every one of them has its own series anyway."""


class Ledger:
    """The store's entries that follow from findings."""

    def __init__(self, store: Store, config: Config, on_work: Callable[[], None]) -> None:
        self._store = store
        self._on_work = on_work
        self._config = config

    def _event(
        self,
        watched: Watched,
        kind: str,
        message: str,
        *,
        at: float,
        severity: Severity = Severity.INFO,
        step: int | None = None,
        historic: bool = False,
        data: Mapping[str, Json] | None = None,
    ) -> int:
        return self._store.add_event(
            at=at,
            kind=kind,
            message=message,
            run_id=watched.id,
            attempt=watched.judge.attempt,
            severity=severity,
            step=step,
            historic=historic,
            data=dict(data or {}),
        )

    def run_appeared(self, watched: Watched, now: float) -> None:
        """A run was seen for the first time."""
        sources = ", ".join(source.spec.format for source in watched.sources) or "nothing to read yet"
        self._event(watched, "run_started", f"{watched.name} is under watch ({sources})", at=now)
        log.info("run.found", run=watched.name, path=str(watched.found.path), sources=sources)

    def note(self, watched: Watched, source: str, note: Note, now: float) -> None:
        """What a source says about itself."""
        data = {**note.data, "source": source}
        at, step = data.get("at") or now, data.get("step")
        historic = watched.history and at < now - HISTORY_AGE
        self._event(
            watched, note.kind, note.message, at=at, severity=note.severity, step=step, historic=historic, data=data
        )
        tell = log.info if note.severity is Severity.INFO else log.warning
        tell(f"source.{note.kind}", run=watched.name, source=source, message=note.message)

    def before_rows(self, watched: Watched, findings: Iterable[Finding]) -> None:
        """Record what the rows themselves depend on: a new attempt, a change of unit."""
        for finding in findings:
            if isinstance(finding, AttemptStarted):
                reason = "new run" if finding.reset else "resumed"
                self._store.begin_attempt(watched.id, finding.attempt, finding.step, finding.at, reason)
                data = {"previous_step": finding.previous_step, "reset": finding.reset}
                kind = "run_started" if finding.reset else "run_resumed"
                self._event(
                    watched,
                    kind,
                    finding.message,
                    at=finding.at,
                    step=finding.step,
                    historic=finding.historic,
                    data=data,
                )
                log.info(f"run.{kind[4:]}", run=watched.name, attempt=finding.attempt, step=finding.step)
            elif isinstance(finding, Rescaled):
                self._store.rescale(watched.id, finding.attempt, finding.metric, finding.factor)

    def findings(self, watched: Watched, findings: Sequence[Finding], now: float) -> None:
        """Record anomalies and what became of incidents."""
        for finding in findings:
            if isinstance(finding, Anomaly):
                self._anomaly(watched, finding)
            elif isinstance(finding, IncidentChange):
                self._incident(watched, finding, now)

    def _anomaly(self, watched: Watched, anomaly: Anomaly) -> None:
        watched.anomalies += 1
        data = {
            "metric": anomaly.metric,
            "value": anomaly.value,
            "expected": anomaly.expected,
            "limit": anomaly.limit,
            "reason": anomaly.reason,
            "onset_step": anomaly.onset_step,
            "last_good_step": anomaly.last_good_step,
        }
        event_id = self._event(
            watched,
            anomaly.kind,
            anomaly.message,
            at=anomaly.at,
            severity=anomaly.severity,
            step=anomaly.step,
            historic=anomaly.historic,
            data=data,
        )
        if anomaly.historic:
            return
        if anomaly.keep is not Keep.NO:
            watched.asked.append(anomaly)
        routing.enqueue_event(
            self._store, self._config, watched.id, event_id, anomaly.kind, anomaly.severity, anomaly.at
        )
        tell = log.info if anomaly.severity is Severity.INFO else log.warning
        tell(
            "ALERT",
            reason=anomaly.reason,
            run=watched.name,
            step=anomaly.step,
            severity=anomaly.severity.value,
            message=anomaly.message,
        )

    def _incident(self, watched: Watched, change: IncidentChange, now: float) -> None:
        incident_id = self._store.save_incident(watched.id, change)
        event_id = None
        if change.change in _CHANGE_EVENTS:
            over = change.change is Change.RESOLVED
            words = f"{change.kind} since step {change.start_step:,}: {change.resolution or 'over'}"
            event_id = self._event(
                watched,
                _CHANGE_EVENTS[change.change],
                words if over else change.message,
                at=change.at,
                severity=Severity.INFO if over else change.severity,
                step=change.step,
                historic=change.historic,
                data={"incident": change.key, "kind": change.kind, "anomalies": change.anomalies},
            )
            if not change.historic:
                # What was seen stands in the ALERT line above it.
                log.info(
                    f"incident.{change.change.value}",
                    run=watched.name,
                    kind=change.kind,
                    severity=change.severity.value,
                    step=change.step,
                    **({"why": change.resolution} if over else {"reason": change.reason}),
                )
        run = self._store.run(watched.name)
        assert run is not None
        # Always: notifiers take only what is to be told, hooks also what the family rule keeps from people.
        if routing.enqueue(self._store, self._config, run, change, incident_id, event_id, now):
            self._on_work()

    def observed(self, watched: Watched, obs: Observation, values: Mapping[str, float]) -> None:
        """Keep the pace, the evaluation events and the statistics line every so many steps."""
        watched.rows += 1
        if obs.timed:
            watched.pace.add(obs.step, obs.at)
        if "eval_loss" in values:
            shown = {key: value for key, value in values.items() if key.startswith("eval_") and key not in _EVAL_COSTS}
            message = ", ".join(f"{key} {text.number(value)}" for key, value in list(shown.items())[:4])
            self._event(
                watched,
                "evaluation",
                f"evaluation at step {obs.step:,}: {message}",
                at=obs.at,
                step=obs.step,
                historic=obs.historic,
                data=shown,
            )
        every = self._config.monitor.stats_every
        # Rows of several sources may be told in turns, some steps back and forth.
        last, now_at = watched.told, (watched.judge.attempt, obs.step)
        if not obs.historic and (last is None or (now_at[0], obs.step // every) > (last[0], last[1] // every)):
            if last is not None:
                self._statistics(watched, obs.step)
            watched.told = now_at

    def _statistics(self, watched: Watched, step: int) -> None:
        judge = watched.judge
        shown = {key: judge.latest.get(key) for key in ("loss", "eval_loss", "accuracy", "learning_rate")}
        fields = {key: value for key, value in shown.items() if value is not None}
        if judge.best_loss is not None:
            fields |= {"best_loss": judge.best_loss}
        log.info(f"Monitoring: Step {step}", run=watched.name, **fields)

    def state_changed(self, watched: Watched, *, historic: bool, at: float) -> None:
        """Record that a run finished, failed, stalled or moved again."""
        state, before = watched.present_state, watched.state
        if state == before:
            return
        watched.state = state
        self._store.update_run(watched.id, state=state.value)
        step = watched.judge.latest_step
        said = watched.status.error_message if watched.status is not None else ""
        if state in (RunState.COMPLETED, RunState.STOPPED):
            kind, severity, message = "run_finished", Severity.INFO, self._finished(watched, state)
        elif state is RunState.FAILED:
            error = watched.status.error_type if watched.status is not None else ""
            words = ": ".join(part for part in (error, said) if part) or "no reason given"
            kind, severity = "run_failed", Severity.CRITICAL
            message = f"{watched.name} failed at step {text.count(step)}: {words}"
        else:
            return
        event_id = self._event(
            watched, kind, message[:500], at=at, severity=severity, step=step, historic=historic, data={}
        )
        self._store.update_run(watched.id, finished_at=at)
        if not historic:
            log.info(f"run.{kind[4:]}", run=watched.name, state=state.value, step=step)
            # A failure is told by its `crashed` incident; this reaches those who asked for the kind itself.
            self._tell_who_asked(watched, event_id, kind, Severity.INFO, at)

    def _tell_who_asked(self, watched: Watched, event_id: int, kind: str, severity: Severity, at: float) -> None:
        if routing.enqueue_event(self._store, self._config, watched.id, event_id, kind, severity, at):
            self._on_work()

    @staticmethod
    def _finished(watched: Watched, state: RunState) -> str:
        judge = watched.judge
        total = f" of {watched.total_steps:,}" if watched.total_steps else ""
        best = ""
        if judge.best_loss is not None:
            best = f"; best loss {text.number(judge.best_loss)} at step {text.count(judge.best_loss_step)}"
        return f"{watched.name} {state.value} at step {text.count(judge.latest_step)}{total}{best}"

    def checkpoints(self, watched: Watched, checkpoints: Sequence[Checkpoint], now: float) -> None:
        """Record checkpoints that the trainer began to write."""
        for checkpoint in checkpoints:
            name = checkpoint.path.name
            message = f"the trainer saved {text.clean(name)} ({text.size(checkpoint.bytes)} so far)"
            watched.judge.checkpoint(checkpoint.step)
            self._event(watched, "checkpoint_saved", message, at=now, step=checkpoint.step, data={"path": name})

    def progress(self, watched: Watched, now: float) -> None:
        """Bring the run's row up to date."""
        judge = watched.judge
        latest = dict(list(judge.latest.items())[:_KEPT_LATEST])
        pace = watched.pace.steps_per_sec()
        if "steps_per_sec" not in latest and pace is not None:
            latest["steps_per_sec"] = pace
        status = watched.status
        epoch = latest.get("epoch", status.epoch if status is not None else None)
        data: dict[str, Json] = {
            "latest": latest,
            "best_loss": judge.best_loss,
            "best_loss_step": judge.best_loss_step,
            "best_metric": judge.best_metric,
            "last_step_at": judge.last_step_at,
        }
        if status is not None:
            data |= {
                "model_name": status.model_name,
                "error_type": status.error_type,
                "error_message": status.error_message[:2000],
                "status_word": status.word,
                "samples": dict(status.extras),
            }
        self._store.update_run(
            watched.id,
            last_seen=now,
            state=watched.present_state.value,
            attempt=judge.attempt,
            step=judge.latest_step,
            total_steps=watched.total_steps,
            epoch=epoch if epoch is not None and math.isfinite(epoch) else None,
            data=data,
        )

    def history_read(self, watched: Watched, now: float) -> None:
        """The run's past is known: from here on, what is seen is news."""
        self._store.update_run(watched.id, data={"history_done": True})
        last = watched.judge.last_step_at
        if watched.judge.run_state is RunState.RUNNING and last is not None and last < now - SILENT:
            # Its files say that it runs, and nobody is paged for the past: but it has long been silent.
            watched.fell_silent()
            watched.state = watched.present_state
            self._store.update_run(watched.id, state=watched.state.value)
        if watched.rows:
            log.info("history.read", run=watched.name, rows=watched.rows, anomalies=watched.anomalies)
