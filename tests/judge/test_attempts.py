"""Whose a metric is, when a run began anew, and in which unit an accuracy is."""

from __future__ import annotations

import math

import pytest

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import AttemptStarted, Change, Finding, Rescaled, RunState, SourceRank, StatusReport

from .feed import T0, anomalies, brief, changes, feed, row, rows

STATUS = {"source": "status", "rank": SourceRank.STATUS}
QUIET = [1.0 + 0.01 * (i % 3) for i in range(60)]


def started(findings: list[Finding]) -> list[tuple[int, int, bool]]:
    return [(f.attempt, f.step, f.reset) for f in findings if isinstance(f, AttemptStarted)]


def test_the_stream_owns_a_metric_that_the_status_repeats() -> None:
    judge = Judge(JudgeSettings())
    judge.observe(row(1, loss=1.0, **STATUS))
    assert judge.observe(row(1, loss=1.0)).values == {"loss": 1.0}
    assert judge.observe(row(2, loss=9.0, gpu_memory_mb=5, **STATUS)).values == {"gpu_memory_mb": 5}


def test_a_step_that_another_source_told_is_stored_but_not_judged_again() -> None:
    judge = Judge(JudgeSettings())
    for obs in rows("loss", [1, 1, 1, 1, 9], every=100, **STATUS):
        judge.observe(obs)
    again = judge.observe(row(401, loss=9.0))
    assert again.values == {"loss": 9.0}
    assert again.findings == ()


def test_the_same_value_at_the_same_step_is_ignored() -> None:
    once = feed(rows("loss", [1, 1, 1, 1, 9], every=100))
    twice = feed([obs for obs in rows("loss", [1, 1, 1, 1, 9], every=100) for _ in (0, 1)])
    assert brief(twice) == brief(once)


def test_another_value_at_the_same_step_is_judged_in_place_of_the_first() -> None:
    judge = Judge(JudgeSettings())
    feed([*rows("loss", [1, 1, 1, 1], every=100), row(401, loss=9.0)], judge)
    assert judge.observe(row(401, loss=1.0)).values == {"loss": 1.0}
    assert brief(feed([row(501, loss=1.5)], judge)) == [("loss_spike_50.0pct", "warning")]


def test_no_second_anomaly_of_a_kind_at_a_step() -> None:
    found = feed([*rows("loss", [1, 1, 1, 1], every=100), row(401, loss=9.0), row(401, loss=8.0)])
    assert len(anomalies(found, "loss_spike")) == 1


def test_a_step_back_is_a_resume() -> None:
    found = feed([*rows("loss", QUIET), *rows("loss", QUIET, first=40)])
    assert started(found) == [(2, 40, False)]


def test_a_step_back_to_the_start_with_the_first_loss_is_a_new_run() -> None:
    judge = Judge(JudgeSettings())
    found = feed([*rows("loss", [5 - i / 100 for i in range(400)]), row(1, loss=5.1)], judge)
    assert started(found) == [(2, 1, True)]
    assert judge.best_loss == 5.1


def test_a_resume_keeps_the_best_loss_and_the_values_before_it() -> None:
    judge = Judge(JudgeSettings())
    feed([*rows("loss", [0.5, *QUIET]), row(40, loss=1.0)], judge)
    assert (judge.best_loss, judge.attempt) == (0.5, 2)
    assert len(anomalies(feed([row(41, loss=3.5)], judge), "loss_spike")) == 1


def test_statistics_rest_for_ten_points_after_a_resume() -> None:
    found = feed([*rows("loss", QUIET), *rows("loss", [1.7, 1.7, 1.7], first=40)])
    assert [s for _, s in brief(found, "loss_spike")] == ["info"] * 3


def test_each_source_falls_back_for_itself_and_joins_the_attempt() -> None:
    log, status = rows("loss", QUIET), rows("tokens_per_sec", [100.0] * 60, **STATUS)
    judge = Judge(JudgeSettings())
    found = feed([o for pair in zip(log, status) for o in pair], judge)
    found += feed([row(30, loss=1.0, at=T0 + 100), row(61, **STATUS, tokens_per_sec=1.0)], judge)
    found += feed([row(31, **STATUS, tokens_per_sec=1.0, at=T0 + 101), row(31, loss=1.0, at=T0 + 101)], judge)
    assert started(found) == [(2, 30, False)]


def test_a_source_that_is_first_read_late_does_not_open_attempts_again() -> None:
    judge = Judge(JudgeSettings())
    feed([*rows("loss", QUIET), *rows("loss", QUIET, first=30, at=T0 + 1000)], judge)
    late = [
        *rows("eval_loss", [1, 1], every=30, first=10),
        *rows("eval_loss", [1, 1], every=30, first=31, at=T0 + 2000),
    ]
    attempts = [judge.observe(obs.__class__(**{**_fields(obs), "source": "eval"})).attempt for obs in late]
    assert attempts == [1, 1, 2, 2]
    assert judge.attempt == 2


def _fields(obs: object) -> dict[str, object]:
    return {name: getattr(obs, name) for name in obs.__slots__}  # type: ignore[attr-defined]


def test_a_new_attempt_closes_what_was_open() -> None:
    found = feed([*rows("loss", [*QUIET, math.nan, math.nan]), row(40, loss=1.0)])
    assert changes(found, Change.RESOLVED)[0].resolution == "attempt 2 began at step 40"


def test_accuracies_are_fractions_until_one_exceeds_one() -> None:
    judge = Judge(JudgeSettings())
    assert judge.observe(row(1, accuracy=0.5)).values == {"accuracy": 50.0}
    judged = judge.observe(row(2, accuracy=60.0))
    assert judged.values == {"accuracy": 60.0}
    assert judged.findings == (Rescaled("accuracy", 0.01, 1),)


def test_a_percentage_is_never_scaled() -> None:
    judge = Judge(JudgeSettings())
    assert judge.observe(row(1, accuracy=0.5, percent=True)).values == {"accuracy": 0.5}
    fixed = Judge(JudgeSettings(accuracy_unit="percent"))
    assert fixed.observe(row(1, accuracy=0.5)).values == {"accuracy": 0.5}


def test_nothing_fires_where_the_unit_turns_out() -> None:
    assert brief(feed(rows("accuracy", [0.9, 0.8, 0.9, 0.9, 1.5, 1.0, 0.9], every=100))) == []


def test_a_null_where_a_loss_was_is_nan() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", QUIET), judge)
    assert math.isnan(judge.observe(row(61, nulls=frozenset({"loss"}))).values["loss"])


def test_a_null_beside_an_evaluation_or_before_any_loss_is_nothing() -> None:
    judge = Judge(JudgeSettings())
    assert judge.observe(row(1, nulls=frozenset({"loss"}))).values == {}
    feed(rows("loss", QUIET, first=2), judge)
    assert "loss" not in judge.observe(row(62, eval_loss=1.0, nulls=frozenset({"loss"}))).values


def test_three_attempts_without_progress_are_a_crash_loop() -> None:
    found = feed(rows("loss", QUIET))
    judge = Judge(JudgeSettings())
    found = feed(
        [*rows("loss", QUIET), row(50, loss=1.0), row(51, loss=1.0), row(50, loss=1.0), row(51, loss=1.0)], judge
    )
    assert anomalies(found, "crashed") == []
    assert brief(feed([row(50, loss=1.0)], judge)) == [("crashed_loop", "critical")]


def test_a_crash_loop_is_over_when_the_run_gets_further_and_not_before() -> None:
    judge = Judge(JudgeSettings())
    feed([row(step, loss=1.0) for first in (0, 10, 10, 10) for step in range(first, 60)], judge)
    assert [incident.kind for incident in judge.open_incidents if incident.kind == "crashed"] == ["crashed"]
    found = feed([row(step, loss=1.0) for step in range(60, 90)], judge)
    over = [c for c in changes(found, Change.RESOLVED) if c.kind == "crashed"]
    assert [c.resolution for c in over] == ["training again at step 79"]


def test_an_attempt_that_gets_further_ends_the_count() -> None:
    found = feed([r for first in (1, 30, 60, 90, 120) for r in rows("loss", QUIET, first=first, at=T0 + 9999 * first)])
    assert len(started(found)) == 4
    assert anomalies(found, "crashed") == []


@pytest.mark.parametrize("accuracy", [0.67, 0.57, 0.669, 0.299])
def test_exactly_ten_points_below_is_no_drop_in_either_unit(accuracy: float) -> None:
    for scale in (1, 100):
        steady = [round(accuracy * scale, 6)] * 3
        unit = "percent" if scale == 100 else "fraction"
        assert brief(feed(rows("accuracy", [*steady, round((accuracy - 0.1) * scale, 6)]), accuracy_unit=unit)) == []
        dropped = feed(rows("accuracy", [*steady, round((accuracy - 0.1001) * scale, 6)]), accuracy_unit=unit)
        assert [reason for reason, _ in brief(dropped)] == ["accuracy_drop_10.0pct"]


def test_an_alarm_raised_in_the_wrong_unit_is_taken_back() -> None:
    judge = Judge(JudgeSettings())
    found = feed(rows("accuracy", [0.9] * 30 + [0.3] * 2, every=100), judge)
    assert [c.kind for c in changes(found, Change.OPENED)] == ["accuracy_drop"]
    found = feed([row(3201, accuracy=1.5)], judge)
    assert changes(found)[0].resolution == "accuracy turned out to be in percent"
    assert brief(found) == []
    assert judge.latest == {"accuracy": 1.5}


def test_a_unit_that_turns_out_late_in_an_old_file_is_not_lost() -> None:
    judge = Judge(JudgeSettings())
    feed([row(1, accuracy=0.5), row(10, loss=1.0), row(5, loss=1.0, at=T0 + 1000)], judge)
    judged = judge.observe(row(2, accuracy=60.0, source="other", at=T0 + 2))
    assert judged.attempt == 1
    assert [(f.metric, f.attempt) for f in judged.findings if isinstance(f, Rescaled)] == [("accuracy", 1)]


def test_a_new_run_shows_nothing_of_the_one_before() -> None:
    judge = Judge(JudgeSettings())
    feed([*rows("loss", [5.0] * 300), row(300, eval_loss=4.0), row(1, loss=5.0)], judge)
    assert judge.latest == {"loss": 5.0}


def test_an_incident_of_a_new_attempt_begins_in_it() -> None:
    found = feed([*rows("loss", [*QUIET, 1.6]), row(41, loss=1.0), row(42, loss=9.0), row(43, loss=9.0)])
    opened = changes(found, Change.OPENED)
    assert [(c.kind, c.attempt, c.start_step) for c in opened] == [("loss_spike", 2, 42)]


def test_what_came_to_its_end_was_in_no_crash_loop() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", QUIET * 10), judge)
    judge.report(StatusReport(T0 + 601, RunState.COMPLETED))
    at, found = T0 + 10_000, []
    for first in (1, 30, 60, 90):
        found += feed([row(first + i, loss=1.0, at=at + i) for i in range(40)], judge)
        at += 10_000
    assert len(started(found)) == 4
    assert anomalies(found, "crashed") == []


def test_a_status_that_tells_only_steps_can_be_resumed_too() -> None:
    found = feed([row(step, rank=SourceRank.STATUS) for step in (100, 200, 300, 150, 250)])
    assert started(found) == [(2, 150, False)]


def test_a_log_row_without_metrics_opens_no_attempt() -> None:
    assert started(feed([row(100, loss=1.0), row(200), row(150), row(300, loss=1.0)])) == []
