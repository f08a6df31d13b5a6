"""A run's life beside its metrics: non-finite values, silence, crashes, the end, and a past read late."""

from __future__ import annotations

import math
from typing import Any

import pytest

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Change, Finding, Keep, Observation, RunState, StatusReport

from .feed import T0, anomalies, brief, changes, feed, row, rows, told

QUIET = [1.0 + 0.01 * (i % 3) for i in range(60)]


SOON: dict[str, Any] = {"detectors": {"stalled": {"least": 120}}}
"""A stall that is told after two minutes."""


def _said(state: RunState, at: float = T0, **more: object) -> StatusReport:
    return StatusReport(at, state, **more)  # type: ignore[arg-type]


def test_one_nan_warns_and_the_second_is_critical() -> None:
    found = feed(rows("loss", [*QUIET, math.nan, math.nan]))
    assert brief(found) == [("nonfinite_loss_nan", "warning"), ("nonfinite_loss_nan", "critical")]
    assert told(found) == ["nonfinite opened", "nonfinite escalated"]


def test_three_nans_of_the_last_twenty_are_critical() -> None:
    values = [1.0, math.nan, 1.0, math.inf, 1.0, math.nan]
    assert [s for _, s in brief(feed(rows("loss", values)))] == ["warning", "warning", "critical"]


def test_a_nonfinite_evaluation_is_critical_at_once_and_over_with_the_next() -> None:
    found = feed(rows("eval_loss", [1.0, math.inf, 1.0]))
    assert brief(found) == [("nonfinite_eval_loss_inf", "critical")]
    assert changes(found)[-1].change is Change.RESOLVED


def test_a_masked_nan_is_named() -> None:
    judge = Judge(JudgeSettings())
    judge.report(_said(RunState.RUNNING))
    found = feed([*rows("loss", QUIET), row(61, loss=0.0, grad_norm=math.nan)], judge)
    assert brief(found)[-1] == ("nonfinite_loss_masked", "critical")
    assert "logging_nan_inf_filter" in anomalies(found)[-1].message
    assert judge.best_loss == 1.0


def test_a_zero_proves_nothing_alone_but_twice_it_does() -> None:
    assert [s for _, s in brief(feed(rows("loss", [*QUIET, 0.0, 0.0])))] == ["critical"]
    assert brief(feed(rows("loss", [*QUIET, 0.0, 1.0, 0.0, 1.0]))) == []


def test_a_zero_is_no_nan_in_reinforcement_learning_nor_after_the_end() -> None:
    judge = Judge(JudgeSettings())
    assert brief(feed([row(i, loss=x, reward=1.0) for i, x in enumerate([*QUIET, 0.0, 0.0, 0.0])], judge)) == []
    judge = Judge(JudgeSettings())
    feed(rows("loss", QUIET), judge)
    judge.report(_said(RunState.COMPLETED, T0 + 60))
    assert brief(feed(rows("loss", [0.0, 0.0], first=61), judge)) == []


def test_a_gradient_overflow_is_recorded_and_a_habit_of_it_warns() -> None:
    values = [math.inf] * 5
    found = feed([row(i, loss=1.0, grad_norm=g) for i, g in enumerate([1.0] * 30 + values)])
    assert [s for _, s in brief(found)] == ["info"] * 4 + ["warning"]


def test_while_the_loss_is_nan_nothing_else_is_told_of() -> None:
    steps = [row(i, loss=math.nan if i > 60 else 1.0, accuracy=90.0 if i < 60 else 1.0) for i in range(90)]
    assert told(feed(steps)) == ["nonfinite opened", "nonfinite escalated"]


def test_finite_again_for_twenty_points_closes_it() -> None:
    found = feed(rows("loss", [*QUIET, math.nan, *QUIET]))
    assert [c.step for c in changes(found, Change.RESOLVED)] == [81]


def test_silence_far_beyond_the_pace_is_a_stall() -> None:
    judge = Judge(JudgeSettings(**SOON))
    feed(rows("loss", QUIET), judge)
    last = T0 + 60
    assert judge.tick(last + 119) == ()
    assert brief(judge.tick(last + 121)) == [("stalled_120s", "warning")]
    assert judge.run_state is RunState.STALLED
    assert judge.tick(last + 200) == ()
    assert brief(judge.tick(last + 241)) == [("stalled_240s", "critical")]
    found = feed([row(61, loss=1.0, at=last + 300)], judge)
    assert changes(found, Change.RESOLVED)[0].resolution == "moving again after 5m 00s"
    assert judge.run_state is RunState.RUNNING


def test_a_pause_of_a_few_minutes_wakes_nobody_by_default_and_one_of_six_does() -> None:
    for pause, expected in ((280, []), (360, ["stalled"])):
        judge = Judge(JudgeSettings())
        feed(rows("loss", QUIET), judge)
        found = [f for second in range(0, pause, 10) for f in judge.tick(T0 + 60 + second)]
        assert [a.kind for a in anomalies(found)] == expected


def test_a_replay_finds_the_stall_that_the_daemon_would_have_seen() -> None:
    found = feed([*rows("loss", QUIET), row(61, loss=1.0, at=T0 + 60 + 600)], **SOON)
    assert [a.severity.value for a in anomalies(found, "stalled")] == ["warning", "critical"]
    assert [a.at - T0 for a in anomalies(found, "stalled")] == [180, 300]


def test_rows_without_a_time_of_their_own_invent_no_stall() -> None:
    judge = Judge(JudgeSettings())
    feed([*rows("loss", QUIET), *rows("loss", QUIET, first=61, timed=False, at=T0 + 70)], judge)
    assert feed([row(200, loss=1.0, at=T0 + 90_000)], judge) == []


def test_a_rewritten_file_without_new_steps_is_a_stall_all_the_same() -> None:
    judge = Judge(JudgeSettings(**SOON))
    feed(rows("loss", QUIET), judge)
    feed([row(60, loss=1.0, at=T0 + 60 + i, source="status") for i in range(300)], judge)
    assert [a.kind for a in anomalies(judge.tick(T0 + 60 + 301))] == ["stalled", "stalled"]


def test_the_first_step_may_take_its_time() -> None:
    judge = Judge(JudgeSettings())
    judge.report(_said(RunState.RUNNING))
    assert judge.tick(T0 + 44 * 60) == ()
    assert "no first step" in anomalies(judge.tick(T0 + 46 * 60))[0].message


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.COMPLETED, RunState.STOPPED, RunState.FAILED])
def test_a_run_that_says_it_rests_or_ended_does_not_stall(state: RunState) -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", QUIET), judge)
    judge.report(_said(state, T0 + 60))
    assert anomalies(judge.tick(T0 + 90_000), "stalled") == []


def test_a_slow_evaluation_that_is_due_is_no_stall() -> None:
    steps: list[Observation] = []
    at = T0
    for i in range(1, 401):
        at += 1
        steps.append(row(i, loss=1.0, at=at))
        if i % 100 == 0:
            at += 300
            steps.append(row(i, eval_loss=1.0, at=at))
    judge = Judge(JudgeSettings())
    feed(steps[:-1], judge)
    assert anomalies(judge.tick(at - 300 + 500), "stalled") == []
    assert anomalies(judge.tick(at - 300 + 1600), "stalled")


def test_a_run_that_reached_its_last_step_does_not_stall() -> None:
    judge = Judge(JudgeSettings())
    feed([row(i, loss=1.0, total_steps=60) for i in range(1, 61)], judge)
    assert judge.tick(T0 + 90_000) == ()


def test_a_crash_is_critical_and_ends_the_other_incidents() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", [*QUIET, math.nan]), judge)
    status = _said(RunState.FAILED, T0 + 99, error_type="OutOfMemoryError", error_message="CUDA out of memory")
    found = judge.report(status)
    assert brief(found) == [("crashed_OOM", "critical")]
    assert [(c.kind, c.change.value, c.notify) for c in changes(found)] == [
        ("nonfinite", "resolved", False),
        ("crashed", "opened", True),
    ]
    assert judge.report(status) == ()


def test_a_crash_is_named_by_its_error() -> None:
    found = Judge(JudgeSettings()).report(_said(RunState.FAILED, error_type="torch.NcclError", error_message="x"))
    assert brief(found) == [("crashed_NcclError", "critical")]


def test_a_dead_run_that_moves_again_is_a_new_attempt() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", QUIET), judge)
    judge.report(_said(RunState.FAILED, T0 + 61))
    found = feed(rows("loss", QUIET, first=61, at=T0 + 1000), judge)
    assert judge.attempt == 2
    assert changes(found)[-1].resolution.startswith("training again")


def test_the_last_rows_that_come_after_the_end_open_no_attempt() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", QUIET), judge)
    judge.report(_said(RunState.COMPLETED, T0 + 61))
    feed(rows("loss", [1.0], first=61), judge)
    assert (judge.attempt, judge.run_state) == (1, RunState.COMPLETED)


def test_history_is_judged_but_neither_told_nor_kept() -> None:
    judge = Judge(JudgeSettings())
    found = feed(rows("loss", [*QUIET, math.nan, math.nan], historic=True), judge)
    assert told(found) == []
    assert {a.keep for a in anomalies(found)} == {Keep.NO}
    assert told(judge.end_of_history(T0 + 9999)) == ["nonfinite summary"]
    assert judge.end_of_history(T0 + 9999) == ()


def test_an_old_run_that_is_first_seen_does_not_stall() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", QUIET, historic=True), judge)
    judge.end_of_history(T0 + 90_000)
    assert judge.tick(T0 + 90_000) == ()


def test_reminders_come_while_it_is_critical() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", [*QUIET, math.nan, math.nan]), judge)
    judge.report(_said(RunState.PAUSED, T0 + 62))
    at = T0 + 62 + 14_400
    assert told(judge.tick(at)) == ["nonfinite reminder"]
    assert told(judge.tick(at + 60)) == []
    assert told(judge.tick(at + 14_400)) == ["nonfinite reminder"]


def test_the_first_of_a_kind_is_kept_and_then_one_in_an_interval() -> None:
    found = feed(rows("loss", [2.0, 1.8, 1.6, 1.4], every=10))
    assert [a.keep for a in anomalies(found, "best_model")] == [Keep.NOW, Keep.HOLD, Keep.HOLD]
    found = feed(rows("loss", [1, 1, 1, 9, 1, 9, 1, 1, 1, 9], every=100), min_steps_between_saves=500)
    assert [a.keep for a in anomalies(found, "loss_spike")] == [Keep.NOW, Keep.NO, Keep.NOW]


def test_phases_change_the_thresholds_up_to_their_step() -> None:
    phases = [{"until_step": 400, "loss_spike_threshold": 0.5}]
    found = feed(rows("loss", [1, 1, 1, 1.4, 1, 1.45], every=100), phases=phases)
    assert [a.step for a in anomalies(found, "loss_spike")] == [501]
    assert brief(feed(rows("loss", [1, 1, 1, 1.4], every=100), phases=phases)) == []


def test_evaluation_losses_take_over_as_the_best() -> None:
    steps = [row(1, loss=0.5), row(2, loss=0.4), row(3, eval_loss=0.9), row(4, loss=0.1), row(5, eval_loss=0.7)]
    found = feed(steps)
    assert [a.reason for a in anomalies(found, "best_model")] == [
        "best_model_loss_0.4000",
        "best_model_eval_loss_0.7000",
    ]


def test_why_says_what_each_detector_saw() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", [0.74, 0.73, 0.72, 0.71], every=100), judge)
    verdicts = {v.detector: v for v in judge.observe(row(401, loss=1.02), trace=True).verdicts}
    assert set(verdicts) >= {"nonfinite", "divergence", "loss_spike", "best_model"}
    spike = verdicts["loss_spike"]
    assert (spike.expected, spike.limit, spike.fired) == (pytest.approx(0.725), pytest.approx(0.9425), True)
    assert not verdicts["best_model"].fired


def _ticks(judge: Judge, first: float, last: float) -> list[Finding]:
    found: list[Finding] = []
    at = first
    while at <= last:
        found += judge.tick(at)
        at += 10
    return found


def _watched(settings: JudgeSettings | None = None) -> Judge:
    """A run of one step a second for a minute, looked at every ten seconds."""
    judge = Judge(settings or JudgeSettings(**SOON))
    for obs in rows("loss", QUIET):
        feed([obs], judge)
        if obs.step % 10 == 0:
            judge.tick(obs.at)
    return judge


def test_a_suspended_machine_pages_nobody_when_its_run_goes_on() -> None:
    judge = _watched()
    woken = T0 + 60 + 8 * 3600
    assert judge.tick(woken) == ()
    assert feed([row(61, loss=1.0, at=woken + 1), row(62, loss=1.0, at=woken + 2)], judge) == []
    assert _ticks(judge, woken + 10, woken + 110) == []
    assert [a.at - woken for a in anomalies(_ticks(judge, woken + 120, woken + 240))] == [122]


def test_nor_when_its_rows_are_seen_before_the_clock() -> None:
    judge = _watched()
    woken = T0 + 60 + 8 * 3600
    assert feed([row(61, loss=1.0, at=woken + 1)], judge) == []
    assert _ticks(judge, woken + 5, woken + 115) == []


def test_a_run_that_did_not_wake_up_with_its_machine_is_a_stall() -> None:
    judge = _watched()
    woken = T0 + 60 + 8 * 3600
    assert _ticks(judge, woken, woken + 110) == []
    found = anomalies(_ticks(judge, woken + 120, woken + 130))
    assert [(a.kind, a.severity.value, a.at) for a in found] == [("stalled", "warning", woken + 120)]


def test_a_clock_that_is_set_is_no_stall_and_hides_none() -> None:
    for shift in (-7200, 7200):
        judge = _watched()
        start = T0 + 70 + shift
        assert _ticks(judge, start, start + 100) == []
        assert [a.severity.value for a in anomalies(_ticks(judge, start + 110, start + 140))] == ["warning"]


def test_a_slow_look_is_known_to_be_usual() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", QUIET), judge)
    for i in range(10):
        feed([row(61 + i, loss=1.0, at=T0 + 60 + 3600 * i)], judge)
        judge.tick(T0 + 60 + 3600 * i)
    assert anomalies(judge.tick(T0 + 60 + 3600 * 9 + 4 * 3600), "stalled")


def test_what_was_only_recorded_does_not_shut_out_the_snapshot_of_what_is_told() -> None:
    found = feed(rows("loss", [*QUIET, 1.6, 1.6, 1.6, *QUIET, 4.0]))
    keeps = [(a.severity.value, a.keep) for a in anomalies(found, "loss_spike")]
    assert keeps[:3] == [("info", Keep.NOW), ("warning", Keep.NOW), ("warning", Keep.NO)]
    assert {keep for _, keep in keeps[3:]} == {Keep.NO}


def test_a_skipped_gradient_copies_nothing() -> None:
    found = feed([row(i, loss=1.0, grad_norm=math.inf if i == 3 else 1.0) for i in range(30)])
    assert [(a.severity.value, a.keep) for a in anomalies(found, "nonfinite")] == [("info", Keep.NO)]


def test_a_run_that_got_further_and_dies_again_is_told_again() -> None:
    judge = Judge(JudgeSettings())
    feed(rows("loss", QUIET), judge)
    assert told(judge.report(_said(RunState.FAILED, T0 + 61, step=60))) == ["crashed opened"]
    judge.report(_said(RunState.RUNNING, T0 + 900))
    feed(rows("loss", [1.0] * 10, first=61, at=T0 + 1000), judge)
    assert told(judge.report(_said(RunState.FAILED, T0 + 1100, step=70))) == ["crashed opened"]
    judge.report(_said(RunState.RUNNING, T0 + 1110))
    feed(rows("loss", [1.0] * 2, first=71, at=T0 + 1200), judge)
    assert told(judge.report(_said(RunState.FAILED, T0 + 1201, step=72))) == []


def test_an_accuracy_that_collapsed_is_not_called_over_for_having_got_used_to() -> None:
    judge = Judge(JudgeSettings())
    found = feed(rows("accuracy", [95.0] * 120 + [1.0] * 150, every=100), judge)
    assert changes(found, Change.RESOLVED) == []
    found = feed(rows("accuracy", [91.0] * 3, every=100, first=27_001), judge)
    assert [c.resolution for c in changes(found, Change.RESOLVED)] == ["back at 91.0 %"]


def test_minus_infinity_is_said_in_words() -> None:
    assert anomalies(feed(rows("loss", [1.0, -math.inf])))[0].message == "loss is minus infinity at step 2."
