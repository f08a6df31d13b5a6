"""The four named detectors, by the examples that people are shown."""

from __future__ import annotations

import pytest

from smartmon.records import Change

from .feed import anomalies, brief, changes, feed, rows

DIVERGING = [1.00, 1.01, 1.02, 1.03, 1.025, 1.04, 1.05, 1.06, 1.07, 1.08]


def test_a_loss_far_above_the_last_ones_is_a_spike() -> None:
    found = feed(rows("loss", [0.74, 0.73, 0.72, 0.71, 1.02], every=100))
    assert brief(found) == [("loss_spike_40.7pct", "warning")]
    assert anomalies(found)[0].context["z"] == pytest.approx(17.1, abs=0.1)


def test_a_drop_of_accuracy_is_told_in_points() -> None:
    found = feed(rows("accuracy", [75, 75, 74, 76, 75, 62], every=100))
    assert brief(found) == [("accuracy_drop_13.0pct", "warning")]


def test_a_new_lowest_loss_is_the_best_model_and_wakes_nobody() -> None:
    found = feed(rows("loss", [0.6589, 0.6321], every=100))
    assert brief(found, "best_model") == [("best_model_loss_0.6321", "info")]
    assert changes(found) == []


def test_a_loss_that_keeps_rising_diverges() -> None:
    assert brief(feed(rows("loss", DIVERGING, every=100))) == [("divergence_detected", "warning")]


def test_the_spike_threshold_is_a_share_of_the_mean() -> None:
    settings = {"detectors": {"loss_spike": {"threshold": 0.2}}}
    assert brief(feed(rows("loss", [1.0, 1.0, 1.0, 1.19]), **settings)) == []
    assert brief(feed(rows("loss", [1.0, 1.0, 1.0, 1.204]), **settings)) == [("loss_spike_20.4pct", "info")]


@pytest.mark.parametrize(
    ("metric", "values", "severity"),
    [
        ("loss", [1.0, 1.0, 1.0, 1.31], "warning"),
        ("accuracy", [80, 80, 80, 69], "warning"),
        ("loss", DIVERGING, "critical"),
        ("loss", [1.0, 0.9], "info"),
    ],
)
def test_without_the_noise_guard_severity_goes_by_kind(metric: str, values: list[float], severity: str) -> None:
    found = feed(rows(metric, values), noise_guard=False)
    assert [a.severity.value for a in anomalies(found) or anomalies(found, "best_model")] == [severity]


def test_an_anomaly_carries_its_evidence() -> None:
    anomaly = anomalies(feed(rows("loss", [0.74, 0.73, 0.72, 0.71, 1.02], every=100)))[0]
    assert anomaly.context["loss_history"] == [0.74, 0.73, 0.72, 0.71, 1.02]
    assert anomaly.context["latest"] == {"loss": 1.02}
    assert (anomaly.context["best_loss"], anomaly.context["best_loss_step"]) == (0.71, 301)


def test_a_second_lasting_step_of_a_per_step_log_opens_the_incident_at_the_first() -> None:
    quiet = [1.0 + 0.01 * (i % 3) for i in range(60)]
    found = feed(rows("loss", [*quiet, 1.6, 1.6]))
    assert [severity for _, severity in brief(found, "loss_spike")] == ["info", "warning"]
    opened = next(c for c in changes(found, Change.OPENED) if c.kind == "loss_spike")
    assert (opened.start_step, opened.anomalies) == (61, 2)


def test_one_bad_batch_of_a_per_step_log_wakes_nobody() -> None:
    quiet = [1.0 + 0.01 * (i % 3) for i in range(60)]
    found = feed(rows("loss", [*quiet, 1.6, *quiet]))
    assert brief(found) == [("loss_spike_58.1pct", "info")]


def test_one_huge_batch_is_told_at_once_and_over_when_it_is_over() -> None:
    quiet = [1.0 + 0.01 * (i % 3) for i in range(60)]
    found = feed(rows("loss", [*quiet, 4.0, *quiet]))
    assert [c.change for c in changes(found)] == [Change.OPENED, Change.RESOLVED]
    assert changes(found)[1].resolution == "recovered after 20 steps"


def test_a_gradient_spike_beside_the_loss_spike_makes_it_a_warning() -> None:
    losses = [1.0 + 0.01 * (i % 3) for i in range(60)] + [1.6]
    norms = [0.5 + 0.01 * (i % 4) for i in range(60)] + [9.0]
    both = [rows("loss", [x], first=i + 1)[0] for i, x in enumerate(losses)]
    for obs, norm in zip(both, norms):
        obs.values["grad_norm"] = norm  # type: ignore[index]
    assert brief(feed(both), "loss_spike")[0][1] == "warning"
