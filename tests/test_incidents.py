"""Incidents: when they open, join, escalate, reopen and resolve, and who is told."""

from __future__ import annotations

import json
from typing import Any

from smartmon.incidents import Incidents
from smartmon.records import Anomaly, Change, IncidentChange, Severity

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


def anomaly(kind: str = "loss_spike", severity: Severity = WARNING, step: int = 100, **more: Any) -> Anomaly:
    own = {"metric": "loss", "at": float(step), "value": 2.0, "expected": 1.0, "limit": 1.3, "reason": kind}
    return Anomaly(kind=kind, severity=severity, step=step, message="", **{**own, **more})


def seen(change: IncidentChange | None) -> tuple[str, bool]:
    assert change is not None
    return change.change.value, change.notify


def test_info_opens_nothing_and_best_models_belong_to_none() -> None:
    incidents = Incidents()
    assert incidents.add(anomaly(severity=INFO)) is None
    assert incidents.add(anomaly("best_model")) is None


def test_the_first_warning_opens_and_is_told() -> None:
    change = Incidents().add(anomaly())
    assert seen(change) == ("opened", True)
    assert change is not None
    assert change.key == "loss_spike-1-100"


def test_info_shortly_before_belongs_to_the_incident() -> None:
    incidents = Incidents()
    incidents.add(anomaly(severity=INFO, step=98))
    incidents.points += 2
    change = incidents.add(anomaly(step=100))
    assert change is not None
    assert (change.start_step, change.anomalies, change.key) == (98, 2, "loss_spike-1-98")


def test_info_long_before_does_not() -> None:
    incidents = Incidents()
    incidents.add(anomaly(severity=INFO, step=10))
    incidents.points += 50
    change = incidents.add(anomaly(step=100))
    assert change is not None
    assert (change.start_step, change.anomalies) == (100, 1)


def test_a_storm_is_one_incident_with_a_count() -> None:
    incidents = Incidents()
    found = [incidents.add(anomaly(step=step)) for step in range(500)]
    assert [c.notify for c in found if c].count(True) == 1
    assert found[-1] is not None
    assert (found[-1].change, found[-1].anomalies, found[-1].end_step) == (Change.UPDATED, 500, 499)


def test_it_escalates_once() -> None:
    incidents = Incidents()
    assert seen(incidents.add(anomaly())) == ("opened", True)
    assert seen(incidents.add(anomaly(severity=CRITICAL))) == ("escalated", True)
    assert seen(incidents.add(anomaly(severity=CRITICAL))) == ("updated", False)


def test_within_a_family_only_a_higher_severity_is_told() -> None:
    incidents = Incidents()
    incidents.add(anomaly())
    assert seen(incidents.add(anomaly("divergence"))) == ("opened", False)
    assert seen(incidents.add(anomaly("divergence", CRITICAL))) == ("escalated", True)
    assert seen(incidents.add(anomaly("accuracy_drop"))) == ("opened", True)


def test_a_family_is_told_to_be_over_once_with_its_last() -> None:
    incidents = Incidents()
    incidents.add(anomaly())
    incidents.add(anomaly("divergence"))
    assert [c.notify for c in incidents.resolve("loss_spike", 1.0, 1, "")] == [False]
    assert [c.notify for c in incidents.resolve("divergence", 1.0, 1, "")] == [True]


def test_the_dedup_key_dies_with_the_incident() -> None:
    incidents = Incidents()
    incidents.add(anomaly())
    incidents.resolve("loss_spike", 110.0, 110, "recovered")
    incidents.points += 51
    change = incidents.add(anomaly(step=200))
    assert seen(change) == ("opened", True)
    assert change is not None
    assert change.key == "loss_spike-1-200"


def test_firing_shortly_after_closing_reopens_it_and_is_not_told_again() -> None:
    incidents = Incidents()
    incidents.add(anomaly())
    incidents.resolve("loss_spike", 110.0, 110, "recovered")
    incidents.points += 30
    change = incidents.add(anomaly(step=140))
    assert seen(change) == ("opened", False)
    assert change is not None
    assert (change.key, change.anomalies) == ("loss_spike-1-100", 2)
    assert seen(incidents.add(anomaly(severity=CRITICAL))) == ("escalated", True)


def test_a_second_stall_is_a_new_incident_however_soon() -> None:
    incidents = Incidents()
    incidents.add(anomaly("stalled"))
    incidents.resolve("stalled", 110.0, 110, "moving")
    again = incidents.add(anomaly("stalled", step=101))
    assert seen(again) == ("opened", True)


def test_while_the_loss_is_not_finite_its_other_troubles_are_silent() -> None:
    incidents = Incidents()
    incidents.add(anomaly("nonfinite", CRITICAL))
    assert seen(incidents.add(anomaly())) == ("opened", False)
    assert seen(incidents.add(anomaly("stalled"))) == ("opened", True)


def test_it_is_over_after_enough_calm_in_a_row() -> None:
    incidents = Incidents()
    incidents.add(anomaly())
    calm = [incidents.calm("loss_spike", 3, calm=c) for c in (True, True, False, True, True, True)]
    assert calm == [False] * 5 + [True]


def test_what_was_never_told_is_not_told_to_be_over() -> None:
    incidents = Incidents()
    incidents.add(anomaly(historic=True))
    assert [c.notify for c in incidents.resolve("loss_spike", 1.0, 1, "")] == [False]


def test_reminders_end_at_last() -> None:
    incidents = Incidents()
    incidents.add(anomaly("nonfinite", CRITICAL))
    told = [len(incidents.remind(1000.0 * day, 10.0)) for day in range(1, 100)]
    assert sum(told) == 42


def test_the_state_survives_json() -> None:
    incidents = Incidents()
    incidents.add(anomaly(severity=CRITICAL))
    incidents.add(anomaly("divergence", INFO))
    copy = Incidents()
    copy.restore(json.loads(json.dumps(incidents.state())))
    assert copy == incidents
