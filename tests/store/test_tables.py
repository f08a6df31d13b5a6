"""Runs, timeline, requests for snapshots, outbox, notes: each keeps what it is given and hands out the newest."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from smartmon.records import Change, IncidentChange, RunState, Severity, Snapshot, SnapshotState
from smartmon.store import KeepRow, RunRow, Store

OPENED = IncidentChange(
    key="loss_spike-1-500",
    kind="loss_spike",
    family="spike",
    change=Change.OPENED,
    severity=Severity.WARNING,
    at=100.0,
    step=500,
    start_step=500,
    end_step=500,
    anomalies=1,
    reason="loss_spike_40.7pct",
    message="loss 1.4 at step 500",
    context={"z": math.nan},
)


# Runs


def test_a_run_is_known_by_its_folder(store: Store, run: RunRow):
    again = store.ensure_run("my-run", run.path, run.base_dir, 2000.0)
    assert (again.id, again.first_seen, again.last_seen) == (run.id, 1000.0, 2000.0)
    renamed = store.ensure_run("other-name", run.path, run.base_dir, 3000.0)
    assert (renamed.id, renamed.name) == (run.id, "other-name")


def test_a_run_whose_training_directory_moved_is_the_same_run(store: Store, run: RunRow, tmp_path: Path):
    moved = store.ensure_run("my-run", tmp_path / "new" / "my-run", tmp_path / "new", 2000.0)
    assert (moved.id, moved.path) == (run.id, tmp_path / "new" / "my-run")


def test_runs_of_one_name_in_two_base_dirs_are_two_runs(store: Store, run: RunRow, tmp_path: Path):
    run.path.mkdir()
    other = store.ensure_run("my-run", tmp_path / "b" / "my-run", tmp_path / "b", 2000.0)
    third = store.ensure_run("my-run", tmp_path / "c" / "b" / "my-run", tmp_path / "c" / "b", 2000.0)
    assert [one.name for one in store.runs()] == ["my-run", "b/my-run", "b/my-run-2"]
    assert store.ensure_run("my-run", other.path, other.base_dir, 3000.0).name == "b/my-run"
    assert third.id != other.id


def test_a_run_whose_name_is_not_text_survives(store: Store, tmp_path: Path):
    name = os.fsdecode(b"caf\xe9\x1b")
    made = store.ensure_run(name, tmp_path / name, tmp_path, 1.0)
    assert store.run(name) == made
    assert os.fsencode(made.path).endswith(b"/caf\xe9\x1b")


def test_data_is_merged_and_columns_are_set(store: Store, run: RunRow):
    store.update_run(run.id, state="running", step=5, data={"best_loss": 1.0, "latest": {"loss": math.nan}})
    store.update_run(run.id, state=RunState.FAILED, total_steps=2**80, data={"best_loss": 0.5})
    row = store.run("my-run")
    assert (row.state, row.step, row.total_steps) == (RunState.FAILED, 5, 2**63 - 1)
    assert row.data["best_loss"] == 0.5
    assert math.isnan(row.data["latest"]["loss"])


def test_attempts_are_listed_and_the_run_is_in_the_last(store: Store, run: RunRow):
    store.begin_attempt(run.id, 2, 300, 5.0, "the step went back")
    store.begin_attempt(run.id, 1, 0, 1.0, "first")
    assert [attempt.attempt for attempt in store.attempts(run.id)] == [1, 2]
    assert store.run("my-run").attempt == 2


def test_cursors_judge_states_and_notes_come_back(store: Store, run: RunRow):
    store.set_cursor(run.id, "logs/\udcff", {"offset": 2**70})
    store.save_judge_state(run.id, {"mean": math.inf, "seen": [1, 2]})
    assert store.cursor(run.id, "logs/\udcff") == {"offset": 2**70}
    assert store.judge_state(run.id) == {"mean": math.inf, "seen": [1, 2]}
    assert (store.cursor(run.id, "else"), store.judge_state(99), store.meta("none")) == (None, None, None)


# Timeline


def add_events(store: Store, run: RunRow, count: int) -> list[int]:
    kinds = ("checkpoint_saved", "loss_spike")
    return [
        store.add_event(
            at=100.0 + n, kind=kinds[n % 2], message="m", run_id=run.id, severity="info" if n % 4 else "critical"
        )
        for n in range(count)
    ]


def test_events_are_the_newest_and_oldest_first(store: Store, run: RunRow):
    add_events(store, run, 10)
    assert [event.at for event in store.events(limit=3)] == [107.0, 108.0, 109.0]
    assert {event.run for event in store.events()} == {"my-run"}


def test_events_are_picked_by_kind_run_time_and_severity(store: Store, run: RunRow):
    add_events(store, run, 10)
    store.add_event(at=500.0, kind="daemon_started", message="hello")
    assert len(store.events(kinds=["loss_spike"])) == 5
    assert len(store.events(run_id=run.id)) == 10
    assert [event.at for event in store.events(since=108.0)] == [108.0, 109.0, 500.0]
    assert [event.at for event in store.events(min_severity="warning")] == [100.0, 104.0, 108.0]


def test_a_follower_misses_no_event_even_one_dated_back(store: Store, run: RunRow):
    first = add_events(store, run, 3)
    late = store.add_event(at=1.0, kind="x", message="from an old log", run_id=run.id, historic=True)
    add_events(store, run, 1)
    assert [event.id for event in store.events(after_id=first[-1], limit=1)] == [late]
    assert [event.id for event in store.events(after_id=late)] == [late + 1]


def test_an_events_text_may_hold_anything(store: Store):
    message, data = "nul \0 lone \udcff esc \x1b[31m", {"loss": math.nan, "path": Path("/x"), "n": 2**90}
    store.add_event(at=1.0, kind="warning", message=message, data=data)
    (event,) = store.events()
    assert event.message == message
    assert math.isnan(event.data["loss"])
    assert (event.data["path"], event.data["n"]) == ("/x", 2**90)


def test_the_events_that_matter_are_found_by_index(store: Store):
    plan = store._all(
        "EXPLAIN QUERY PLAN SELECT * FROM events e WHERE e.severity <> 'info' ORDER BY e.at DESC, e.id DESC"
    )
    assert "event_that_matters" in plan[0][3]


def test_an_incident_is_one_row_from_opening_to_resolution(store: Store, run: RunRow):
    first = store.save_incident(run.id, OPENED)
    grown = replace(OPENED, change=Change.ESCALATED, severity=Severity.CRITICAL, at=200.0, end_step=600, anomalies=4)
    assert store.save_incident(run.id, grown) == first
    (row,) = store.incidents(open_only=True)
    assert (row.opened_at, row.severity, row.end_step, row.anomalies) == (100.0, Severity.CRITICAL, 600, 4)
    done = replace(grown, change=Change.RESOLVED, at=300.0, message="resolved", resolution="recovered")
    store.save_incident(run.id, done)
    assert store.incidents(open_only=True) == []
    (row,) = store.incidents(run_id=run.id)
    assert (row.state, row.opened_at, row.resolved_at, row.resolution) == ("resolved", 100.0, 300.0, "recovered")
    assert row.message == "loss 1.4 at step 500"


def test_incidents_are_the_newest_and_oldest_first(store: Store, run: RunRow):
    for number in range(5):
        store.save_incident(run.id, replace(OPENED, key=f"k{number}", at=float(number)))
    assert [row.key for row in store.incidents(limit=2)] == ["k3", "k4"]


# Requests for snapshots


def request(store: Store, run: RunRow, **changes: object) -> KeepRow:
    values = {
        "at": 10.0,
        "kinds": ["loss_spike"],
        "reasons": ["loss_spike_40.7pct"],
        "severity": "warning",
        "hold": False,
        "incident_keys": ["a"],
        "payload": {"loss": math.nan, "anomalies": [{"kind": "loss_spike"}]},
        **changes,
    }
    return store.keep(store.request_keep(run.id, 1, 500, **values))


def test_requests_for_one_step_become_one_snapshot(store: Store, run: RunRow):
    first = request(store, run, hold=True)
    second = request(
        store,
        run,
        kinds=["divergence", "loss_spike"],
        reasons=["divergence_detected"],
        severity="critical",
        incident_keys=["b"],
        payload={"loss": 9.0, "epoch": 2, "anomalies": [{"kind": "divergence"}]},
    )
    assert (second.id, second.uid, second.hold) == (first.id, first.uid, False)
    assert second.kinds == ("loss_spike", "divergence")
    assert second.reasons == ("loss_spike_40.7pct", "divergence_detected")
    assert (second.severity, second.incident_keys) == (Severity.CRITICAL, ("a", "b"))
    assert math.isnan(second.payload["loss"])
    assert second.payload["epoch"] == 2
    assert [one["kind"] for one in second.payload["anomalies"]] == ["loss_spike", "divergence"]


def test_a_request_already_being_copied_takes_nothing_in(store: Store, run: RunRow):
    first = request(store, run)
    store.update_keep(first.id, state="copying")
    assert request(store, run).id != first.id
    assert [keep.id for keep in store.keeps(states=["copying"])] == [first.id]


def test_the_request_of_an_incident_is_found(store: Store, run: RunRow):
    keep = request(store, run, incident_keys=["x", "\udcff"])
    store.update_keep(keep.id, state="done", snapshot="anomaly_1", note="ok")
    assert store.keep_for_incident(run.id, "\udcff").snapshot == "anomaly_1"
    assert store.keep_for_incident(run.id, "y") is None


SNAPSHOT = Snapshot(
    name="anomaly_1",
    path=Path("/x/anomaly_1"),
    run="my-run",
    created_at="2025-11-12T14:30:22+01:00",
    reason="r",
    triggers=("loss_spike",),
    step=500,
    loss=math.inf,
    accuracy=None,
    checkpoint_step=400,
    bytes=10,
    pinned=True,
    state=SnapshotState.OK,
    metadata={"run": "my-run"},
)


def test_the_index_is_what_the_last_scan_of_each_base_dir_saw(store: Store):
    later = replace(SNAPSHOT, name="anomaly_2", created_at="2025-11-13T14:30:22+01:00")
    store.index_snapshots(Path("/x"), [later, SNAPSHOT])
    store.index_snapshots(Path("/y"), [replace(SNAPSHOT, run="b")])
    assert store.snapshots(run="my-run") == [SNAPSHOT, later]
    store.index_snapshots(Path("/x"), [replace(later, pinned=False)])
    assert [(one.run, one.pinned) for one in store.snapshots()] == [("b", True), ("my-run", False)]
    assert store.snapshots(limit=1)[0].name == "anomaly_2"


# Outbox


def add_delivery(store: Store, **changes: object) -> str:
    values = {
        "notifier": "phone",
        "kind": "opened",
        "severity": "warning",
        "created_at": 10.0,
        "payload": {},
        **changes,
    }
    return store.add_delivery(**values)


def test_a_delivery_has_an_id_of_16_hex_characters_and_is_due_at_once(store: Store):
    delivery = add_delivery(store)
    assert len(delivery) == 16
    assert int(delivery, 16) >= 0
    assert [row.id for row in store.due_deliveries(10.0)] == [delivery]


def test_deliveries_are_due_in_order_once_their_time_has_come(store: Store):
    ids = [add_delivery(store, next_at=at) for at in (30.0, 20.0, 10.0)]
    assert store.next_delivery_at() == 10.0
    assert [row.id for row in store.due_deliveries(20.0)] == ids[1:]
    assert [row.id for row in store.due_deliveries(99.0, limit=2)] == ids[:2]


def test_a_delivery_that_ended_is_due_no_more(store: Store):
    delivery = add_delivery(store)
    store.update_delivery(delivery, state="dead", attempts=3, last_error="404", sent_at=None)
    assert store.due_deliveries(99.0) == []
    assert store.next_delivery_at() is None
    (row,) = store.deliveries(states=["dead"])
    assert (row.attempts, row.last_error) == (3, "404")
    assert store.count_deliveries("dead", "sent") == 1


def test_deliveries_are_the_newest_and_oldest_first(store: Store):
    ids = [add_delivery(store, created_at=float(number)) for number in range(5)]
    assert [row.id for row in store.deliveries(limit=2)] == ids[3:]


# Retention


def test_pruning_forgets_what_is_old_and_keeps_what_is_still_open(store: Store, run: RunRow):
    add_events(store, run, 10)
    sent, pending = add_delivery(store), add_delivery(store)
    store.update_delivery(sent, state="sent")
    old, new = (
        request(store, run),
        store.request_keep(
            run.id, 1, 900, at=10.0, kinds=[], reasons=[], severity="info", hold=False, incident_keys=[], payload={}
        ),
    )
    store.update_keep(old.id, state="done")
    store.save_incident(run.id, replace(OPENED, change=Change.RESOLVED))
    assert store.prune(1000.0, max_age=895.0, max_events=100) == 5 + 1 + 1
    assert [event.at for event in store.events()] == [105.0, 106.0, 107.0, 108.0, 109.0]
    assert [row.id for row in store.deliveries()] == [pending]
    assert [keep.id for keep in store.keeps()] == [new]
    assert len(store.incidents()) == 1


def test_pruning_holds_the_number_of_events(store: Store, run: RunRow):
    add_events(store, run, 10)
    assert store.prune(200.0, max_age=10**6, max_events=4) == 6
    assert [event.at for event in store.events()] == [106.0, 107.0, 108.0, 109.0]


def test_observations_of_a_run_long_gone_go_and_their_space_comes_back(path: Path, store: Store, run: RunRow):
    with store.transaction():
        for step in range(20_000):
            store.append(run.id, 1, step, 1.0, {"loss": step / 3})
    store.append(run.id, 1, 20_000, 1.0, {"loss": 1.0})
    store._all("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size
    assert store.prune(1000.0 + 10**6, max_age=10**6 - 1, max_events=100) == 1
    store._all("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (store._one("PRAGMA freelist_count"), path.stat().st_size < before) == ((0,), True)
    assert store.metrics(run.id) == []
    store.append(run.id, 1, 1, 1.0, {"loss": 7.0})
    assert store.last_values(run.id, "loss", 5) == [7.0]


def test_an_unknown_column_is_a_bug_that_shows(store: Store, run: RunRow):
    with pytest.raises(KeyError):
        store.update_run(run.id, nonsense=1)
