"""The questions people ask, and the answers."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon import queries
from smartmon.errors import UsageError
from smartmon.records import Change, IncidentChange, Severity
from smartmon.store import RunRow, Store

NOW = 10_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "smartmon.db") as store:
        yield store


def make_run(store: Store, name: str = "my-run", **columns: object) -> RunRow:
    # A folder that is there: of a run whose folder is gone no incident is open.
    base = store.path.parent
    (base / name).mkdir(exist_ok=True)
    run = store.ensure_run(name, base / name, base, 5000.0)
    store.update_run(run.id, **columns)
    return store.run(name)


def beat(store: Store, **changes: object) -> None:
    row = {"pid": os.getpid(), "started_at": 1.0, "beat_at": NOW - 5, "version": "1", "state": "running", "workers": {}}
    store.set_meta("daemon", json.dumps({**row, **changes}))


@pytest.mark.parametrize(
    ("changes", "alive", "state"),
    [
        ({}, True, "running"),
        ({"state": "degraded"}, True, "degraded"),
        ({"beat_at": NOW - 120}, False, "dead"),
        ({"pid": 2**22 + 1}, False, "dead"),
        ({"state": "stopped"}, False, "stopped"),
    ],
)
def test_a_daemon_is_alive_while_it_beats_and_its_process_lives(store: Store, changes, alive: bool, state: str):
    beat(store, **changes)
    info = queries.daemon_info(store, now=NOW)
    assert (info.alive, info.state) == (alive, state)


def test_where_no_daemon_ever_ran_it_says_so(store: Store):
    info = queries.daemon_info(store, now=NOW)
    assert (info.alive, info.state, info.beat_at) == (False, "never", None)


def test_failed_deliveries_are_counted(store: Store):
    delivery = store.add_delivery(notifier="n", kind="test", severity="info", created_at=1.0, payload={})
    store.update_delivery(delivery, state="dead")
    store.add_delivery(notifier="n", kind="test", severity="info", created_at=1.0, payload={})
    info = queries.daemon_info(store, now=NOW)
    assert (info.failed_deliveries, info.pending_deliveries) == (1, 1)


def test_status_has_the_keys_that_scripts_rely_on(store: Store):
    run = make_run(store, state="running", step=10, data={"latest": {"loss": math.nan}, "best_loss": 0.5})
    store.save_incident(run.id, INCIDENT)
    document = queries.status(store, now=NOW).to_json()
    assert set(document) == {"daemon", "runs"}
    (shown,) = document["runs"]
    promised = "run state step total_steps loss accuracy best_loss best_loss_step open_incidents"
    assert set(promised.split()) <= set(shown)
    assert (shown["run"], shown["state"], shown["step"], shown["best_loss"]) == ("my-run", "running", 10, 0.5)
    assert math.isnan(shown["loss"])
    (incident,) = shown["open_incidents"]
    assert {"kind", "severity", "start_step", "end_step", "anomalies", "since", "message"} <= set(incident)


INCIDENT = IncidentChange("k", "loss_spike", "spike", Change.OPENED, Severity.WARNING, 90.0, 5, 5, 6, 2, "r", "m")


def test_resolved_incidents_are_not_open(store: Store):
    run = make_run(store)
    store.save_incident(run.id, INCIDENT)
    assert queries.status(store, now=NOW).open_incidents == 1
    store.save_incident(run.id, IncidentChange(**{**fields(INCIDENT), "change": Change.RESOLVED}))
    assert queries.status(store, now=NOW).open_incidents == 0


def fields(change: IncidentChange) -> dict[str, object]:
    return {name: getattr(change, name) for name in IncidentChange.__dataclass_fields__}


def test_the_time_left_follows_the_pace_and_shrinks_while_nothing_comes(store: Store):
    run = make_run(store, state="running", step=100, total_steps=200)
    for step in range(90, 101):
        # One evaluation of 500 s does not make the run slow.
        store.append(run.id, 1, step, 9000.0 + step * 2 + (500 if step > 95 else 0), {"loss": 1.0})
    info = queries.run_info(store, run, now=9700.0)
    assert info.steps_per_sec == 0.5
    assert info.eta_seconds == 200.0
    assert queries.run_info(store, run, now=9750.0).eta_seconds == 150.0
    # Silent for longer than the rest would take: that is not "no time left".
    assert queries.run_info(store, run, now=9950.0).eta_seconds is None


def test_rows_that_came_all_at_once_tell_no_pace(store: Store):
    run = make_run(store, state="running", step=40, total_steps=100)
    for step in range(1, 41):
        store.append(run.id, 1, step, 9000.0 + step / 1000, {"loss": 1.0})
    info = queries.run_info(store, run, now=9010.0)
    assert info.steps_per_sec is None
    assert info.eta_seconds is None


def test_without_a_total_the_trainers_own_estimate_is_shown(store: Store):
    run = make_run(store, state="running", step=100, data={"latest": {"eta_seconds": 60.0}, "last_step_at": NOW - 10})
    assert queries.run_info(store, run, now=NOW).eta_seconds == 50.0


@pytest.mark.parametrize("state", ["completed", "paused", "failed", "stalled"])
def test_a_run_that_does_not_run_has_no_time_left(store: Store, state: str):
    run = make_run(store, state=state, step=1, total_steps=2, data={"latest": {"eta_seconds": 60.0}})
    assert queries.run_info(store, run, now=NOW).eta_seconds is None


def test_a_run_is_found_by_its_name_or_any_unambiguous_start(store: Store):
    for name in ("qlora", "qlora-7b", "other"):
        make_run(store, name)
    assert queries.resolve_run(store, "qlora").name == "qlora"
    assert queries.resolve_run(store, "qlora-").name == "qlora-7b"
    assert queries.resolve_run(store, "o").name == "other"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("ql", "several runs: qlora-13b, qlora-7b"),
        ("qlora_7b", "did you mean qlora-7b"),
        ("zzz", "there are: qlora-13b, qlora-7b"),
    ],
)
def test_a_name_that_does_not_fit_is_answered_with_those_that_would(store: Store, asked: str, told: str):
    for name in ("qlora-13b", "qlora-7b"):
        make_run(store, name)
    with pytest.raises(UsageError, match=told):
        queries.resolve_run(store, asked)


def test_asking_for_a_run_before_there_is_any(store: Store):
    with pytest.raises(UsageError, match="no run has been seen yet"):
        queries.status(store, now=NOW, run="x")


def test_the_current_run_is_one_that_runs_else_the_last_that_moved(store: Store):
    assert queries.current_run(store) is None
    make_run(store, "old", state="completed", data={"last_step_at": 10.0})
    make_run(store, "new", state="failed", data={"last_step_at": 20.0})
    assert queries.current_run(store).name == "new"
    make_run(store, "live", state="running", data={"last_step_at": 5.0})
    assert queries.current_run(store).name == "live"


def test_runs_are_picked_by_state_and_time(store: Store):
    make_run(store, "a", state="failed", data={"last_step_at": 10.0})
    make_run(store, "b", state="running", data={"last_step_at": 20.0})
    assert [one.row.name for one in queries.runs(store, now=NOW, states=["failed"])] == ["a"]
    assert [one.row.name for one in queries.runs(store, now=NOW, since=15.0)] == ["b"]
    assert [one.row.name for one in queries.runs(store, now=NOW, limit=1)] == ["b"]
    with pytest.raises(UsageError, match="there are: pending, running"):
        queries.runs(store, now=NOW, states=["sleeping"])


def test_an_event_has_the_keys_that_scripts_rely_on(store: Store):
    run = make_run(store)
    store.add_event(at=0.0, kind="x", message="m", run_id=run.id, data={"a": 1})
    shown = queries.event_json(queries.events(store, run="my")[0])
    assert list(shown) == ["id", "time", "run", "attempt", "kind", "severity", "step", "message", "historic", "data"]
    assert shown["run"] == "my-run"


@pytest.mark.parametrize(("text", "moment"), [("2h", NOW - 7200), ("1.5 d", NOW - 129600), (None, None)])
def test_since_takes_a_duration(text: str | None, moment: float | None):
    assert queries.since(text, NOW) == moment


def test_since_takes_a_date_with_or_without_a_zone():
    assert queries.since("1970-01-01T01:00:00+00:00", NOW) == 3600.0
    assert queries.since("2025-11-12 14:30", NOW) == pytest.approx(1762957800, abs=15 * 3600)


@pytest.mark.parametrize("text", ["yesterday", "2", "-3h", ""])
def test_since_refuses_what_is_no_moment(text: str):
    with pytest.raises(UsageError, match="2h"):
        queries.since(text, NOW)


def test_a_moment_out_of_any_calendar_is_no_moment():
    assert queries.iso(1e300) is None
    assert queries.iso(math.nan) is None
