"""Runs at a glance: the list of runs, and the daemon beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from smartmon import queries
from smartmon.errors import UsageError
from smartmon.queries import RunInfo
from smartmon.records import RunState
from smartmon.store import IncidentRow, RunRow, Store
from smartmon.web.masks import hidden
from smartmon.web.models import Color, Daemon, IncidentBrief, Number, RunCard, Runs
from smartmon.web.site import AbsentError, Site
from smartmon.web.views.curves import began, identity
from smartmon.web.views.estimate import estimated_total, share

COLORS: Mapping[RunState, Color] = {
    RunState.RUNNING: "green",
    RunState.COMPLETED: "blue",
    RunState.PENDING: "yellow",
    RunState.PAUSED: "yellow",
    RunState.FAILED: "red",
    RunState.STOPPED: "grey",
    RunState.STALLED: "orange",
}
SPARKLINE = 60
_LATELY = 600.0
"""Seconds before the newest row of all runs in which another run is taken to get on as well."""
_SETTLED = 240
"""A sparkline is drawn anew once a run has gone on by one part in so many: a quarter of one of its values."""


def failure(row: RunRow) -> str | None:
    """Return what a run says that it failed with."""
    return hidden(str(row.data.get("error_message") or "")) or None


def nothing_yet(site: Site) -> Runs:
    """Return the answer where no daemon has run."""
    return Runs(daemon=no_daemon(site), current=None, last_event_id=0, count=0, runs=[])


def runs(
    site: Site,
    store: Store,
    *,
    search: str = "",
    states: tuple[RunState, ...] = (),
    limit: int = 200,
    only: str | None = None,
) -> Runs:
    """Return the runs that match, the one that moved last first."""
    now = site.clock()
    with store.transaction():
        current = current_run(store)
        rows = [row for row in store.runs() if only in (None, row.name) and _matches(row, search.lower())]
        rows = [row for row in rows if not states or row.state in states]
        rows.sort(key=lambda row: -moved_at(row))
        found = [card(site, store, row, now=now, current=current) for row in rows[:limit]]
        return Runs(
            daemon=daemon(site, store),
            current=current.name if current else None,
            last_event_id=store.last_event_id(),
            count=len(rows),
            runs=found,
        )


def chosen(store: Store, name: str | None) -> RunRow:
    """Return the run that is meant. AbsentError says which there are."""
    if name:
        try:
            return queries.resolve_run(store, name)
        except UsageError as error:
            raise AbsentError(str(error)) from None
    row = current_run(store)
    if row is None:
        raise AbsentError("no run has been seen yet")
    return row


def current_run(store: Store) -> RunRow | None:
    """Return the run that is meant where none is named: of those that moved lately, the newest that is running.

    A run that says it runs and has been silent for long does not hide one that gets on, or that has just ended.
    """
    told = [(run, float(at)) for run in store.runs() if (at := run.data.get("last_step_at"))]
    newest = max((at for _, at in told), default=0.0)
    lately = [run for run, at in told if newest - at <= _LATELY]
    running = [run for run in lately if run.state is RunState.RUNNING]
    if running:
        return max(running, key=lambda run: (run.first_seen, run.id))
    return max(lately, key=moved_at) if lately else queries.current_run(store)


def moved_at(row: RunRow) -> float:
    """Return when a run last told something."""
    return float(row.data.get("last_step_at") or row.first_seen)


def card(site: Site, store: Store, row: RunRow, *, now: float, current: RunRow | None) -> RunCard:
    """Return a run in the list."""
    info = glance(site, store, row, now)
    updated = info.last_step_at
    estimated = estimated_total(site, store, row, info)
    return RunCard(
        run=row.name,
        state=row.state.value,
        color=COLORS[row.state],
        current=current is not None and row.id == current.id,
        step=row.step,
        total_steps=row.total_steps,
        estimated_total=estimated,
        progress=share(row, info, estimated),
        epoch=finite(row.epoch),
        attempt=row.attempt,
        loss=finite(info.latest.get("loss")),
        accuracy=finite(info.accuracy),
        sparkline=sparkline(site, store, row),
        open_incidents=briefs(info),
        updated_at=updated,
        age_seconds=None if updated is None else max(0.0, round(now - updated)),
        eta_seconds=None if info.eta_seconds is None else round(info.eta_seconds),
        model_name=row.data.get("model_name") or None,
        error=failure(row),
        gone=info.gone,
        base_dir=str(row.base_dir),
        path=str(row.path),
        started_at=began(site, store, row),
        finished_at=row.finished_at if row.state.ended else None,
    )


def glance(site: Site, store: Store, row: RunRow, now: float) -> RunInfo:
    """Return what is known of a run, without reading again what its pace is told by where no row has come."""
    version = (row.attempt, row.step, row.data.get("last_step_at"))
    samples = site.memory.get(("pace", *identity(row)), version, lambda: queries.pace_samples(store, row))
    return queries.run_info(store, row, now=now, samples=samples)


def sparkline(site: Site, store: Store, row: RunRow) -> list[Number]:
    """Return the loss, or the evaluation's where there is no other, at the width of a word."""
    step = row.step or 0
    version = (row.attempt, step // max(1, step // _SETTLED))

    def find() -> list[Number]:
        for metric in ("loss", "eval_loss"):
            if points := store.series(row.id, metric, max_points=SPARKLINE).points:
                return [finite(point.last) for point in points]
        return []

    return site.memory.get(("sparkline", *identity(row)), version, find)


_GRAVEST = ("crashed", "nonfinite", "divergence", "loss_spike")
"""What brings others with it: a loss that ran away takes the accuracy along."""


def briefs(info: RunInfo) -> list[IncidentBrief]:
    """Return a run's open incidents: by severity, of the same what brings others with it, then the newest first."""

    def grave(row: IncidentRow) -> tuple[int, int, int]:
        return -row.severity.rank, _GRAVEST.index(row.kind) if row.kind in _GRAVEST else len(_GRAVEST), -row.id

    return [brief(row) for row in sorted(info.open_incidents, key=grave)]


def brief(row: IncidentRow) -> IncidentBrief:
    """Return an incident in few words."""
    return IncidentBrief(
        id=row.id, kind=row.kind, severity=row.severity.value, message=row.message, opened_at=row.opened_at
    )


def daemon(site: Site, store: Store) -> Daemon:
    """Return whether anybody watches."""
    info = queries.daemon_info(store, now=site.clock())
    return Daemon(
        running=info.alive,
        state=info.state,
        since=info.started_at,
        beat_at=info.beat_at,
        at=round(site.clock()),
        version=info.version,
        workers=dict(info.workers),
        failed_deliveries=info.failed_deliveries,
        pending_deliveries=info.pending_deliveries,
        command=site.command,
    )


def no_daemon(site: Site) -> Daemon:
    """Return that nobody has ever watched here."""
    return Daemon(
        running=False,
        state="never",
        since=None,
        beat_at=None,
        at=round(site.clock()),
        version="",
        workers={},
        failed_deliveries=0,
        pending_deliveries=0,
        command=site.command,
    )


def finite(value: object) -> float | None:
    """Return a number that can be drawn, or None."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None  # type: ignore[arg-type]


def _matches(row: RunRow, search: str) -> bool:
    told = (row.name, str(row.base_dir), str(row.data.get("model_name") or ""))
    return all(any(word in each.lower() for each in told) for word in search.split())
