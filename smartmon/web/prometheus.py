"""`/metrics`: what is known now, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import smartmon
from smartmon import queries
from smartmon.records import RunState
from smartmon.store import Store
from smartmon.web.masks import legible
from smartmon.web.site import Site
from smartmon.web.views.cards import glance, moved_at
from smartmon.web.views.stats import EXPERTS

TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_RUNS = 100
"""Runs that are told of, those that moved last: each has a few dozen series."""

Line = tuple[dict[str, str], float | int | None]


def text(site: Site, store: Store | None) -> bytes:
    """Return all metrics; of a database that is not there yet, that nobody watches."""
    parts = [_family("build_info", "The version of smartmon.", [({"version": smartmon.__version__}, 1)])]
    if store is None:
        parts.append(_family("daemon_up", "Whether the daemon is alive.", [({}, 0)]))
        return "".join(parts).encode()
    now = site.clock()
    with store.transaction():
        parts += _daemon(site, store)
        rows = sorted(store.runs(), key=moved_at)[-MOST_RUNS:]
        parts += _runs([glance(site, store, row, now) for row in rows], store)
    return "".join(parts).encode("utf-8", "backslashreplace")


def _daemon(site: Site, store: Store) -> Iterator[str]:
    info = queries.daemon_info(store, now=site.clock())
    yield _family("daemon_up", "Whether the daemon is alive.", [({}, int(info.alive))])
    yield _family("daemon_beat_timestamp_seconds", "When the daemon last said that it lives.", [({}, info.beat_at)])
    workers: list[Line] = [({"worker": name}, int(well)) for name, well in info.workers.items()]
    yield _family("daemon_worker_up", "Whether a worker of the daemon is getting on.", workers)
    counts: list[Line] = [({"state": "pending"}, info.pending_deliveries), ({"state": "dead"}, info.failed_deliveries)]
    yield _family("deliveries", "Alerts on their way, and alerts that were given up.", counts)
    yield _family("last_event_id", "The number of the newest event.", [({}, store.last_event_id())])


def _runs(runs: list[queries.RunInfo], store: Store) -> Iterator[str]:
    def each(pick: object) -> list[Line]:
        return [({"run": info.row.name}, pick(info)) for info in runs]  # type: ignore[operator]

    states: list[Line] = [
        ({"run": info.row.name, "state": state.value}, int(info.row.state is state))
        for info in runs
        for state in RunState
    ]
    yield _family("run_state", "1 for the state that a run is in.", states)
    yield _family("run_step", "The newest step.", each(lambda info: info.row.step))
    yield _family("run_total_steps", "The step that a run goes to.", each(lambda info: info.row.total_steps))
    yield _family("run_attempt", "The stretch between restarts that a run is in.", each(lambda info: info.row.attempt))
    yield _family("run_eta_seconds", "Time left.", each(lambda info: info.eta_seconds))
    yield _family("run_steps_per_second", "The pace.", each(lambda info: info.steps_per_sec))
    yield _family(
        "run_last_step_timestamp_seconds", "When the newest row was written.", each(lambda info: info.last_step_at)
    )
    best: list[Line] = [({"run": info.row.name, "metric": info.best_metric or "loss"}, info.best_loss) for info in runs]
    yield _family("run_best", "The lowest value so far of the metric that a run is judged by.", best)
    values: list[Line] = [
        ({"run": info.row.name, "metric": name}, value)
        for info in runs
        for name, value in info.latest.items()
        if not name.startswith(EXPERTS)
    ]
    yield _family("run_metric", "The newest value of a metric.", values)
    open_now: list[Line] = [
        (
            {"run": info.row.name, "severity": severity},
            sum(incident.severity.value == severity for incident in info.open_incidents),
        )
        for info in runs
        for severity in ("warning", "critical")
    ]
    yield _family("run_open_incidents", "Open incidents.", open_now)
    kept = store.snapshots()
    yield _family("snapshots", "Snapshots that are kept.", [({}, len(kept))])
    yield _family("snapshots_bytes", "Their size together.", [({}, sum(one.bytes for one in kept))])


def _family(name: str, about: str, lines: list[Line]) -> str:
    """Return one metric family, all of them gauges; nothing where nothing is known."""
    rows = [f"smartmon_{name}{_labels(labels)} {_value(value)}\n" for labels, value in lines if value is not None]
    return f"# HELP smartmon_{name} {about}\n# TYPE smartmon_{name} gauge\n{''.join(rows)}" if rows else ""


def _labels(labels: dict[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    plain: str = legible(value)
    return plain.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _value(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)
