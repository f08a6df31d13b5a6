"""Decide who hears of what, and put it into the outbox within the caller's transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Protocol

from smartmon.config import Config
from smartmon.records import Change, IncidentChange, Json, Severity

HOOK = "hook:"
"""Stands before a hook's name in the column that otherwise holds a notifier's name."""

INFO_ONLY = frozenset(
    {
        "best_model",
        "plateau",
        "run_started",
        "run_finished",
        "run_failed",
        "run_resumed",
        "checkpoint_saved",
        "evaluation",
        "snapshot_created",
        "snapshot_skipped",
        "snapshot_removed",
    }
)
"""Kinds that are never more than `info`: naming one in `kinds` is wish enough, whatever `min_severity` says."""

_TEXT_MOST = 2000
_LIST_MOST = 20
_LATEST_MOST = 64


class _Event(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def at(self) -> float: ...
    @property
    def step(self) -> int | None: ...
    @property
    def attempt(self) -> int | None: ...
    @property
    def message(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Json]: ...
    @property
    def run(self) -> str | None: ...


class Deliveries(Protocol):
    """What routing needs of the store."""

    def add_delivery(
        self,
        *,
        notifier: str,
        kind: str,
        severity: str,
        created_at: float,
        run_id: int | None = None,
        incident_id: int | None = None,
        event_id: int | None = None,
        next_at: float | None = None,
        payload: Mapping[str, Json],
    ) -> str:
        """Put one row into the outbox."""

    def events(self, *, run_id: int | None = None, limit: int = 50, after_id: int | None = None) -> Sequence[_Event]:
        """Read the timeline."""


class Run(Protocol):
    """What routing needs of a run."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def quiet_until(hours: str | None, severity: Severity, now: float) -> float | None:
    """Return when quiet hours such as `22:00-07:00` (local time) end, or None when they do not hold it back."""
    if not hours or severity is Severity.CRITICAL:
        return None
    start, end = (_minutes(part) for part in hours.split("-"))
    local = time.localtime(now)
    minute = local.tm_hour * 60 + local.tm_min
    inside = start <= minute < end if start <= end else minute >= start or minute < end
    if not inside:
        return None
    day = local.tm_mday + (1 if end <= minute else 0)
    # mktime settles the last day of a month and the change to summer time.
    return time.mktime((local.tm_year, local.tm_mon, day, end // 60, end % 60, 0, 0, 0, -1))


def hooks(config: Config) -> dict[str, Any]:
    """Return the hooks by the names that the outbox knows them by; of equal labels the later get `-2`, `-3`, ..."""
    named: dict[str, Any] = {}
    for hook in config.hooks:
        name, n = hook.label, 1
        while HOOK + name in named:
            n += 1
            name = f"{hook.label}-{n}"
        named[HOOK + name] = hook
    return named


def _small(value: Json) -> Json:
    if isinstance(value, str):
        return value[-_TEXT_MOST:]
    if isinstance(value, Mapping):
        return {str(key): _small(item) for key, item in list(value.items())[:_LATEST_MOST]}
    if isinstance(value, (list, tuple)):
        return [_small(item) for item in value[-_LIST_MOST:]]
    return value


def pack(change: IncidentChange) -> dict[str, Json]:
    """Return a change as JSON, its evidence cut to what a message can use."""
    packed = asdict(change)
    packed["message"] = change.message[:2000]
    packed["context"] = _small(dict(change.context))
    return packed


def unpack(data: Mapping[str, Json]) -> IncidentChange:
    """Undo `pack`; keys of another version are left aside."""
    known = {field.name for field in fields(IncidentChange)}
    values = {key: value for key, value in data.items() if key in known}
    values["change"], values["severity"] = Change(values["change"]), Severity(values["severity"])
    return IncidentChange(**values)


def _allows(target: Any, kind: str, severity: Severity) -> bool:
    kinds: Sequence[str] = getattr(target, "kinds", None) or getattr(target, "on", None) or ()
    return severity.rank >= Severity(target.min_severity).rank and (not kinds or kind in kinds)


def enqueue(  # noqa: PLR0917 - the monitor's one call, in the order of its own sentence
    store: Deliveries,
    config: Config,
    run: Run,
    change: IncidentChange,
    incident_id: int | None,
    event_id: int | None,
    now: float,
) -> list[str]:
    """Put one row into the outbox for each notifier and each hook that wants this change; returns their ids.

    Called for every change, inside the transaction that stores it. Notifiers hear what the judge wants told
    (`notify`). Hooks also run for what a family rule keeps from people, but never for history.
    """
    ids = []
    common: dict[str, Any] = {
        "severity": change.severity.value,
        "created_at": now,
        "run_id": run.id,
        "incident_id": incident_id,
        "event_id": event_id,
        "payload": {"run": run.name, "change": pack(change)},
    }
    if change.notify:
        for notifier in config.notifiers:
            if _allows(notifier, change.kind, change.severity):
                held = quiet_until(notifier.quiet_hours, change.severity, now)
                ids.append(store.add_delivery(notifier=notifier.name, kind=change.change.value, next_at=held, **common))
    of_note = change.change in (Change.OPENED, Change.ESCALATED, Change.RESOLVED) and not change.historic
    if change.notify or of_note:
        for name, hook in hooks(config).items():
            if _allows(hook, change.kind, change.severity):
                ids.append(store.add_delivery(notifier=name, kind="hook", **common))
    return ids


def _wants_event(target: Any, kind: str, severity: Severity) -> bool:
    kinds: Sequence[str] = getattr(target, "kinds", None) or getattr(target, "on", None) or ()
    return kind in kinds and (kind in INFO_ONLY or _allows(target, kind, severity))


def enqueue_event(  # noqa: PLR0917 - as `enqueue`
    store: Deliveries, config: Config, run_id: int, event_id: int, kind: str, severity: Severity, at: float
) -> list[str]:
    """Put an event of the timeline into the outbox for those who named its kind; returns the rows' ids.

    Called inside the transaction that added the event. From `warning` on it is an incident's business: `enqueue`.
    """
    if severity is not Severity.INFO:
        return []
    notifiers = [notifier for notifier in config.notifiers if _wants_event(notifier, kind, severity)]
    wanted = [name for name, hook in hooks(config).items() if _wants_event(hook, kind, severity)]
    if not notifiers and not wanted:
        return []
    event = next((e for e in store.events(run_id=run_id, after_id=event_id - 1, limit=10) if e.id == event_id), None)
    if event is None:
        return []
    told: dict[str, Json] = {
        "kind": kind,
        "message": event.message[:2000],
        "step": event.step,
        "attempt": event.attempt,
    }
    told |= {"at": event.at, "data": _small(dict(event.data))}
    common: dict[str, Any] = {"severity": severity.value, "created_at": at, "run_id": run_id, "event_id": event_id}
    common["payload"] = {"run": event.run, "event": told}
    ids = []
    for notifier in notifiers:
        held = quiet_until(notifier.quiet_hours, severity, at)
        ids.append(store.add_delivery(notifier=notifier.name, kind="event", next_at=held, **common))
    return ids + [store.add_delivery(notifier=name, kind="hook", **common) for name in wanted]
