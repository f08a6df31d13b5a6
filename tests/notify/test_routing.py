"""Routing: who gets a row, and when it is due."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smartmon.config import Config, load
from smartmon.notify import routing
from smartmon.records import Change, IncidentChange, Severity
from smartmon.store import Store
from smartmon.store.rows import DeliveryRow, RunRow

NOW = 1_762_954_222.0

SPIKE = IncidentChange(
    key="loss_spike-1-5",
    kind="loss_spike",
    family="loss",
    change=Change.OPENED,
    severity=Severity.WARNING,
    at=NOW,
    step=5,
    start_step=5,
    end_step=5,
    anomalies=1,
    reason="loss_spike_40.7pct",
    message="loss rose",
    notify=True,
    metric="loss",
    value=math.nan,
    expected=0.6,
    context={"latest": {"loss": 2.0}, "loss_history": list(range(100))},
)

TOML = """
[[notifiers]]
name = "phone"
url = "json://127.0.0.1/a"
[[notifiers]]
name = "night"
url = "json://127.0.0.1/b"
min_severity = "critical"
[[notifiers]]
name = "finished"
url = "json://127.0.0.1/c"
kinds = ["run_finished", "divergence"]
[[hooks]]
on = ["loss_spike", "best_model"]
run = ["./a.sh"]
[[hooks]]
on = ["loss_spike"]
run = ["/opt/a.sh"]
"""


def configured(folder: Path, toml: str = TOML) -> Config:
    file = folder / "smartmon.toml"
    file.write_text(toml)
    return load(file, base_dirs=[folder], environ={})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state" / "smartmon.db") as opened:
        yield opened


def arrive(store: Store, config: Config, change: IncidentChange) -> list[DeliveryRow]:
    run = store.ensure_run("my-run", config.base_dirs[0] / "my-run", config.base_dirs[0], NOW)
    assert isinstance(run, RunRow)
    with store.transaction():
        incident = store.save_incident(run.id, change)
        routing.enqueue(store, config, run, change, incident, None, NOW)
    return store.deliveries()


def test_each_matching_notifier_and_hook_gets_one_row(store: Store, tmp_path: Path) -> None:
    rows = arrive(store, configured(tmp_path), SPIKE)
    assert [(row.notifier, row.kind) for row in rows] == [
        ("phone", "opened"),
        ("hook:a.sh", "hook"),
        ("hook:a.sh-2", "hook"),
    ]


def test_a_critical_one_reaches_those_who_want_no_less(store: Store, tmp_path: Path) -> None:
    rows = arrive(store, configured(tmp_path), replace(SPIKE, severity=Severity.CRITICAL))
    assert [row.notifier for row in rows[:2]] == ["phone", "night"]


def test_a_kind_that_was_not_asked_for_is_not_sent(store: Store, tmp_path: Path) -> None:
    rows = arrive(store, configured(tmp_path), replace(SPIKE, kind="divergence"))
    assert [row.notifier for row in rows] == ["phone", "finished"]


def test_what_a_family_keeps_from_people_still_runs_hooks(store: Store, tmp_path: Path) -> None:
    rows = arrive(store, configured(tmp_path), replace(SPIKE, notify=False))
    assert {row.kind for row in rows} == {"hook"}


@pytest.mark.parametrize("change", [Change.UPDATED, Change.OPENED])
def test_history_and_mere_counts_start_nothing(store: Store, tmp_path: Path, change: Change) -> None:
    quiet = replace(SPIKE, notify=False, historic=change is Change.OPENED, change=change)
    assert arrive(store, configured(tmp_path), quiet) == []


def test_a_row_belongs_to_its_callers_transaction(store: Store, tmp_path: Path) -> None:
    config = configured(tmp_path)
    run = store.ensure_run("my-run", tmp_path / "r", tmp_path, NOW)

    def broken() -> None:
        with store.transaction():
            assert routing.enqueue(store, config, run, SPIKE, None, None, NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert store.deliveries() == []


def test_a_change_survives_the_store(store: Store, tmp_path: Path) -> None:
    packed = arrive(store, configured(tmp_path), SPIKE)[0].payload["change"]
    back = routing.unpack({**packed, "key_of_a_later_version": 1})
    assert math.isnan(back.value or 0.0)
    assert back.context["loss_history"] == list(range(80, 100))
    assert replace(back, value=1.0, context={}) == replace(SPIKE, value=1.0, context={})


def test_huge_evidence_is_cut(store: Store, tmp_path: Path) -> None:
    huge = replace(SPIKE, message="x" * 10**6, context={"latest": {f"m{n}": "y" * 10**4 for n in range(1000)}})
    assert len(json.dumps(arrive(store, configured(tmp_path), huge)[0].payload)) < 200_000


def at(hour: int, minute: int = 0, day: int = 12) -> float:
    return time.mktime((2025, 11, day, hour, minute, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        ("22:00-07:00", at(23), at(7, day=13)),
        ("22:00-07:00", at(3), at(7)),
        ("22:00-07:00", at(7), None),
        ("22:00-07:00", at(12), None),
        ("09:30-10:00", at(9, 45), at(10)),
        ("09:30-10:00", at(9, 15), None),
        ("22:00-07:00", at(23, day=30), at(7, day=31)),
        ("08:00-08:00", at(8), None),
        (None, at(3), None),
    ],
)
def test_quiet_hours_end_when_they_say(hours: str | None, now: float, until: float | None) -> None:
    assert routing.quiet_until(hours, Severity.WARNING, now) == until


def test_critical_passes_quiet_hours() -> None:
    assert routing.quiet_until("22:00-07:00", Severity.CRITICAL, at(3)) is None


def finished(store: Store, config: Config, kind: str, severity: Severity = Severity.INFO) -> list[DeliveryRow]:
    run = store.ensure_run("my-run", config.base_dirs[0] / "my-run", config.base_dirs[0], NOW)
    with store.transaction():
        event = store.add_event(at=NOW, kind=kind, message="my-run: done", run_id=run.id, step=7, severity=severity)
        routing.enqueue_event(store, config, run.id, event, kind, severity, NOW)
    return store.deliveries()


def test_an_event_reaches_those_who_named_its_kind(store: Store, tmp_path: Path) -> None:
    rows = finished(store, configured(tmp_path), "run_finished")
    assert [(row.notifier, row.kind, row.payload["event"]["step"]) for row in rows] == [("finished", "event", 7)]


def test_a_best_model_runs_the_hook_that_named_it(store: Store, tmp_path: Path) -> None:
    assert [row.notifier for row in finished(store, configured(tmp_path), "best_model")] == ["hook:a.sh"]


def test_anomalies_from_warning_on_are_left_to_their_incident(store: Store, tmp_path: Path) -> None:
    assert finished(store, configured(tmp_path), "loss_spike", Severity.WARNING) == []
