"""Events and incidents, and everything about one incident."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smartmon import queries
from smartmon.config.kinds import ANOMALIES, EVENTS
from smartmon.notify import render, words
from smartmon.notify.redact import Redactor
from smartmon.records import Change, IncidentChange, Severity, SnapshotState
from smartmon.store import DeliveryRow, EventRow, IncidentRow, KeepRow, RunRow, Store
from smartmon.text import clock, count
from smartmon.web.masks import hidden
from smartmon.web.models import Event, Events, Icon, Incident, Incidents
from smartmon.web.models_detail import Delivery, IncidentDetail, Kept
from smartmon.web.site import AbsentError, Site
from smartmon.web.views.cards import chosen, finite
from smartmon.web.views.kept import snapshot
from smartmon.web.views.stats import EXPERTS

_ICONS: Mapping[str, Icon] = {
    "best_model": "best",
    "evaluation": "evaluation",
    "checkpoint_saved": "checkpoint",
    "run_started": "run",
    "run_finished": "run",
    "run_failed": "warning",
    "run_resumed": "run",
    "incident_opened": "incident",
    "incident_escalated": "incident",
    "incident_resolved": "incident",
    "snapshot_created": "snapshot",
    "snapshot_skipped": "snapshot",
    "snapshot_removed": "snapshot",
    "alert_delivered": "alert",
    "alert_failed": "alert",
    "daemon_started": "daemon",
    "daemon_stopped": "daemon",
    "status_unreadable": "warning",
    "source_truncated": "warning",
    "warning": "warning",
}
_EVENTS_TOLD = 200
_BEFORE, _AFTER = 200, 50
"""Steps that a chart of an incident shows around it, at least."""
_HISTORIES = {"loss": "loss_history", "accuracy": "accuracy_history", "learning_rate": "lr_history"}
_SAYING_NOTHING = ("epoch", "eta_seconds")
"""Metrics that go their way whatever happens."""
_TELLING = ("loss", "eval_loss", "grad_norm", "learning_rate", "accuracy", "tokens_per_sec")


def icon(kind: str) -> Icon:
    """Return what kind of kind an event is of; a detector's own is an anomaly."""
    return _ICONS.get(kind, "anomaly")


def event(row: EventRow) -> Event:
    """Return a line of the timeline."""
    plain = queries.event_json(row)
    told = {"message": hidden(row.message), "data": numbers(row.data), "at": row.at, "icon": icon(row.kind)}
    return Event(**{**plain, **told})


def numbers(value: Any) -> Any:
    """Return JSON that a browser reads: NaN and the infinities spelled as words."""
    if isinstance(value, float) and value - value != 0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 - it is NaN
    if isinstance(value, Mapping):
        return {str(key): numbers(item) for key, item in value.items()}
    return [numbers(item) for item in value] if isinstance(value, (list, tuple)) else value


def events(
    store: Store,
    run: str | None,
    *,
    kinds: Sequence[str] = (),
    severity: str | None = None,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> Events:
    """Return a page of the timeline: what came before an event, or was added after one, or the newest."""
    with store.transaction():
        row = chosen(store, run) if run else None
        found = store.events(
            run_id=row.id if row else None,
            kinds=kinds,
            limit=limit + 1,
            before_id=before if after is None else None,
            after_id=after,
            min_severity=severity,
        )
        more = len(found) > limit
        shown = found[:limit] if after is not None else found[-limit:]
        return Events(
            run=row.name if row else None,
            last_event_id=store.last_event_id(),
            kinds={kind: icon(kind) for kind in (*ANOMALIES, *EVENTS)},
            events=[event(one) for one in reversed(shown)],
            more=more,
        )


def incidents(store: Store, run: str | None, *, open_only: bool = False, limit: int = 50) -> Incidents:
    """Return incidents, the newest first."""
    with store.transaction():
        row = chosen(store, run) if run else None
        names = {one.id: one.name for one in store.runs()}
        found = store.incidents(run_id=row.id if row else None, open_only=open_only, limit=limit)
        return Incidents(
            run=row.name if row else None,
            incidents=[incident(one, names.get(one.run_id, "")) for one in reversed(found)],
        )


def incident(row: IncidentRow, run: str) -> Incident:
    """Return an incident in a list."""
    same = {name: getattr(row, name) for name in Incident.model_fields if hasattr(row, name)}
    return Incident(
        **{
            **same,
            "run": run,
            "title": words.title(change_of(row), run),
            "severity": row.severity.value,
            "value": finite(row.value),
            "expected": finite(row.expected),
        }
    )


def change_of(row: IncidentRow) -> IncidentChange:
    """Return an incident as the change that an alert would tell of."""
    over = row.state == "resolved"
    return IncidentChange(
        key=row.key,
        kind=row.kind,
        family=row.family,
        change=Change.RESOLVED if over else Change.OPENED,
        severity=row.severity,
        at=row.updated_at,
        step=row.step,
        start_step=row.start_step,
        end_step=row.end_step,
        anomalies=row.anomalies,
        reason=row.reason,
        message=row.message,
        attempt=row.attempt,
        onset_step=row.onset_step,
        last_good_step=row.last_good_step,
        metric=row.metric,
        value=row.value,
        expected=row.expected,
        resolution=row.resolution,
        context=row.context,
    )


def detail(site: Site, store: Store, incident_id: int) -> IncidentDetail:
    """Return everything about an incident. AbsentError where there is none of this id."""
    with store.transaction():
        row = store.incident(incident_id)
        run = store.run_by_id(row.run_id) if row is not None else None
        if row is None or run is None:
            raise AbsentError(f"there is no incident {incident_id}")
        keeps = [keep for keep in store.keeps(run_id=run.id) if _is_of(keep, row)]
        names = {keep.snapshot for keep in keeps if keep.snapshot}
        snapshots = [one for one in store.snapshots(run=run.name) if one.name in names]
        context = row.context
        span = max(_BEFORE, 2 * (row.end_step - row.start_step))
        began = row.onset_step if row.onset_step is not None else row.start_step
        return IncidentDetail(
            incident=incident(row, run.name),
            since=_since(row),
            advice=words.advice(row.kind, Severity(row.severity), row.metric),
            cause=str(context.get("cause") or ""),
            around=[str(each) for each in _listed(context.get("around"))],
            latest={str(k): finite(v) for k, v in (context.get("latest") or {}).items()},
            histories={
                name: [finite(value) for value in _listed(context.get(key))] for name, key in _HISTORIES.items()
            },
            last_lines=_last_lines(context),
            metrics=_metrics(store, run, row),
            from_step=max(0, began - span),
            to_step=row.end_step + max(_AFTER, row.end_step - row.start_step),
            kept=[_kept(site, run, keep, snapshots) for keep in keeps],
            snapshots=[snapshot(site, one) for one in snapshots],
            deliveries=[_delivery(site, one) for one in store.deliveries(incident_id=row.id, limit=200)],
            events=[event(one) for one in _events(store, run, row)],
            commands=_commands(run, row, keeps),
            base_dir=str(run.base_dir),
        )


def _is_of(keep: KeepRow, row: IncidentRow) -> bool:
    """Whether a snapshot was asked for by an incident; one that opened and ended within one reading is not named."""
    within = keep.attempt == row.attempt and row.start_step <= keep.step <= row.end_step
    return row.key in keep.incident_keys or (within and row.kind in keep.kinds)


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _since(row: IncidentRow) -> str:
    noticed = row.onset_step is not None and row.onset_step < row.start_step
    start = f"about step {count(row.onset_step)}, noticed {clock(row.opened_at)}" if noticed else ""
    return start or f"step {count(row.start_step)}, {clock(row.opened_at)}"


def _last_lines(context: Mapping[str, Any]) -> list[str]:
    lines = _listed(context.get("last_lines")) or str(context.get("error_message") or "").strip().splitlines()
    return [hidden(str(line)) for line in lines[-20:]]


def _metrics(store: Store, run: RunRow, row: IncidentRow) -> list[str]:
    there = store.metrics(run.id)
    others = [name for name in there if name not in _SAYING_NOTHING and not name.startswith(EXPERTS)]
    wanted = dict.fromkeys([row.metric, *_TELLING, *others])
    return [name for name in wanted if name in there]


def _events(store: Store, run: RunRow, row: IncidentRow) -> list[EventRow]:
    """Return the incident's anomalies and changes, as far as they lie within its steps."""
    kinds = (row.kind, "incident_opened", "incident_escalated", "incident_resolved")
    found = store.events(run_id=run.id, kinds=kinds, since=row.opened_at - 1.0, limit=5 * _EVENTS_TOLD)
    own = [
        one
        for one in found
        if (one.kind == row.kind and one.attempt == row.attempt and row.start_step <= (one.step or 0) <= row.end_step)
        or one.data.get("incident") == row.key
    ]
    return own[:_EVENTS_TOLD]


def _kept(site: Site, run: RunRow, keep: KeepRow, snapshots: Iterable[Any]) -> Kept:
    known = next((one for one in snapshots if one.name == keep.snapshot), None)
    told = render.Kept(
        state=keep.state,
        note=keep.note,
        path=site.config.snapshots_dir(run.base_dir) / keep.snapshot if keep.snapshot else None,
        name=keep.snapshot,
        checkpoint_step=known.checkpoint_step if known else None,
        last_good_step=known.metadata.get("last_good_checkpoint_step") if known else None,
        has_checkpoint=known is None or known.state is not SnapshotState.NO_CHECKPOINT,
    )
    return Kept(
        state=keep.state,
        step=keep.step,
        reasons=list(keep.reasons),
        snapshot=keep.snapshot,
        note=keep.note,
        sentence=render.kept_line(told),
        checkpoint_step=told.checkpoint_step,
    )


def _delivery(site: Site, row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        notifier=row.notifier,
        kind=row.kind,
        severity=row.severity.value,
        state=row.state,
        created_at=row.created_at,
        sent_at=row.sent_at,
        next_at=row.next_at if row.state == "pending" else None,
        attempts=row.attempts,
        # It was clean when it was stored; a secret may have come into the config since.
        error=Redactor(site.config).clean(row.last_error),
    )


def _commands(run: RunRow, row: IncidentRow, keeps: Sequence[KeepRow]) -> list[str]:
    name = shlex.quote(run.name)
    kept = [keep.snapshot for keep in keeps if keep.state == "done" and keep.snapshot]
    commands = [f"smartmon snapshots restore {shlex.quote(kept[-1])} DEST"] if kept else []
    if row.kind == "crashed":
        commands.append(f"smartmon events list --run {name}")
    elif row.kind == "stalled":
        commands.append("smartmon status")
    elif row.metric:
        commands.append(f"smartmon why {name} --step {row.end_step}")
    wanted = str(row.context.get("next") or "")
    return [*commands, *([wanted] if wanted else [])]
