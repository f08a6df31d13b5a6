"""Losses that are not called `loss`: a NaN in one of them is told of too."""

from __future__ import annotations

import math

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Change, Finding

from .feed import anomalies, changes, feed, row

NAN = math.nan


def severities(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(a.reason, str(a.severity)) for a in anomalies(findings, "nonfinite")]


def test_one_nan_in_a_part_of_the_loss_warns_and_the_second_is_critical() -> None:
    found = feed([row(1, loss=1.0, loss_control=NAN), row(2, loss=1.0, loss_control=NAN)])
    assert severities(found) == [
        ("nonfinite_loss_control_nan", "warning"),
        ("nonfinite_loss_control_nan", "critical"),
    ]


def test_losses_of_other_data_count_and_other_metrics_do_not() -> None:
    found = feed([row(1, **{"loss": 1.0, "val/seg_loss": math.inf, "val/precision": NAN})])
    assert severities(found) == [("nonfinite_val/seg_loss_inf", "warning")]


def test_a_part_without_samples_is_no_news_in_reinforcement_learning() -> None:
    assert severities(feed([row(1, loss=0.1, reward=0.5, value_loss=NAN)])) == []


def test_it_is_one_incident_while_it_lasts_and_over_after_twenty_finite_rows() -> None:
    rows = [row(i, loss=1.0, aux_loss=NAN if i <= 50 else 1.0) for i in range(1, 80)]
    found = changes(feed(rows), Change.OPENED, Change.ESCALATED, Change.RESOLVED)
    assert [(c.change.value, c.step) for c in found] == [("opened", 1), ("escalated", 2), ("resolved", 70)]


def test_it_continues_from_its_state() -> None:
    judge = Judge(JudgeSettings())
    feed([row(1, loss=1.0, aux_loss=NAN)], judge)
    copy = Judge(JudgeSettings(), judge.state())
    assert severities(feed([row(2, loss=1.0, aux_loss=NAN)], copy)) == [("nonfinite_aux_loss_nan", "critical")]
