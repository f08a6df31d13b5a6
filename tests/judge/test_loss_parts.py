"""Losses that are not called `loss`: NaN in one of them is told of too, once, and when it is over."""

from __future__ import annotations

import math
from typing import Any

import pytest

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Change, Finding, Observation

from .feed import anomalies, changes, feed, row

NAN = math.nan


def severities(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(a.reason, str(a.severity)) for a in anomalies(findings, "nonfinite")]


def repeated(count: int, first: int = 1, **values: Any) -> list[Observation]:
    """So many rows with the same values."""
    return [row(first + i, **values) for i in range(count)]


def test_a_part_of_the_loss_that_is_nan_twice_is_a_warning_while_the_loss_is_finite() -> None:
    assert severities(feed(repeated(1, loss=1.0, loss_control=NAN))) == []
    found = feed(repeated(60, loss=1.0, loss_control=NAN))
    assert severities(found) == [("nonfinite_loss_control_nan", "warning")]
    assert anomalies(found)[0].message == "loss_control is NaN at step 2, 2 in a row while the loss is finite."


def test_losses_of_other_data_count_and_other_metrics_do_not() -> None:
    odd = {"val/seg_loss": math.inf, "val/precision": NAN, "loss scale": math.inf, "best_val_loss": math.inf}
    assert severities(feed(repeated(9, loss=1.0, **odd))) == [("nonfinite_val/seg_loss_inf", "warning")]


def test_several_at_once_are_one_anomaly_that_names_them() -> None:
    found = feed(repeated(5, loss=1.0, loss_control=NAN, loss_total=NAN, loss_data=NAN))
    assert severities(found) == [("nonfinite_loss_control_nan", "warning")]
    assert "loss_control, as loss_total, loss_data, is NaN" in anomalies(found)[0].message


@pytest.mark.parametrize("name", ["perplexity", "train_ppl"])
@pytest.mark.parametrize(("count", "told"), [(4, 0), (5, 1)])
def test_a_perplexity_that_overflows_is_told_of_where_it_stays_so(name: str, count: int, told: int) -> None:
    found = feed([*repeated(count, loss=1.0, **{name: math.inf}), *repeated(5, 1 + count, loss=1.0, **{name: 3.0})])
    assert len(severities(found)) == told


def test_in_reinforcement_learning_a_part_may_be_without_samples_for_a_while() -> None:
    assert severities(feed(repeated(4, loss=0.1, reward=0.5, value_loss=NAN))) == []
    alternating = [row(i, loss=0.1, reward=0.5, value_loss=NAN if i % 5 else 1.0) for i in range(100)]
    assert severities(feed(alternating)) == []
    assert len(severities(feed(repeated(5, loss=0.1, reward=0.5, value_loss=NAN)))) == 1


def test_a_run_whose_only_loss_stays_nan_is_critical() -> None:
    expected = [("nonfinite_train/ploss_nan", "warning"), ("nonfinite_train/ploss_nan", "critical")]
    name = {"train/ploss": NAN, "epoch": 0.1}
    assert severities(feed(repeated(25, **name))) == expected
    both = feed(repeated(25, **{"ce_loss": NAN, "accuracy_top5": 0.1}))
    assert [severity for _, severity in severities(both)] == ["warning", "critical"]


def test_a_metric_that_is_no_loss_does_not_count_beside_another_one() -> None:
    assert severities(feed(repeated(25, **{"train/ploss": NAN, "reach": 1.0}))) == []


def test_while_the_loss_itself_is_nan_its_parts_say_nothing() -> None:
    found = severities(feed(repeated(30, loss=NAN, loss_control=NAN)))
    assert {reason for reason, _ in found} == {"nonfinite_loss_nan"}


def test_it_is_one_incident_while_it_lasts_and_over_after_twenty_finite_rows() -> None:
    for others in ({"loss": 1.0}, {}):
        rows = [row(i, aux_loss=NAN if i <= 50 else 1.0, **others) for i in range(1, 80)]
        found = changes(feed(rows), Change.OPENED, Change.RESOLVED)
        assert [(c.change.value, c.step) for c in found] == [("opened", 2), ("resolved", 70)]
        assert found[1].resolution == "aux_loss finite again"


def test_one_that_stays_nan_is_told_again_every_hundred_rows_and_stays_one_incident() -> None:
    found = feed(repeated(350, loss=1.0, aux_loss=NAN))
    assert [a.step for a in anomalies(found, "nonfinite")] == [2, 100, 200, 300]
    assert len(changes(found, Change.OPENED)) == 1


def test_names_without_end_are_not_all_followed() -> None:
    judge = Judge(JudgeSettings())
    feed([row(i, **{"loss": 1.0, f"loss_{i}": NAN}) for i in range(500)], judge)
    kept = judge.state()["panel"]["nonfinite"]
    assert len(kept["in_row"]) <= 32


def test_it_continues_from_its_state() -> None:
    judge = Judge(JudgeSettings())
    feed(repeated(1, loss=1.0, aux_loss=NAN), judge)
    copy = Judge(JudgeSettings(), judge.state())
    assert severities(feed(repeated(1, 2, loss=1.0, aux_loss=NAN), copy)) == [("nonfinite_aux_loss_nan", "warning")]
