"""The curves: what is injected is where it says, and what smartmon answered is read as a person would be told."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.detection import contestant, corpus, inject, plan, synthetic
from benchmarks.detection.curves import Curve, Row, write_jsonl

FLAT = inject.Base("flat", "made", "dev", [10 * point for point in range(1600)], [2.0] * 1600)


def made(shape: str) -> Curve:
    return next(inject.injected(FLAT, (shape,)))


def losses(curve: Curve) -> list[float]:
    return curve.series("loss")


def test_every_shape_finds_room_in_a_long_curve_and_is_the_same_each_time():
    first, second = list(inject.injected(FLAT)), list(inject.injected(FLAT))
    assert {curve.shape for curve in first} == {shape.name for shape in inject.SHAPES}
    assert len({curve.id for curve in first}) == len(first) == sum(shape.copies for shape in inject.SHAPES)
    assert [curve.events for curve in first] == [curve.events for curve in second]


@pytest.mark.parametrize(
    ("shape", "at_onset", "after_100"),
    [
        ("1 pt x3", 6.0, 2.0),
        ("x2 decay 20", 4.0, 2 * (1 + math.exp(-5))),
        ("+50 % step", 3.0, 3.0),
        ("+0.5 %/pt", 2.0, 2 * 1.005**100),
        ("explosion", 2.0, 2000.0),
        ("masked zeros", 0.0, 0.0),
    ],
)
def test_a_shape_begins_at_its_onset_and_not_before(shape: str, at_onset: float, after_100: float):
    curve = made(shape)
    onset = curve.events[0].onset
    assert set(losses(curve)[:onset]) == {2.0}
    assert losses(curve)[onset] == pytest.approx(at_onset)
    assert losses(curve)[onset + 100] == pytest.approx(after_100)
    assert curve.begin == onset - 2


def test_nan_comes_once_or_for_good():
    once, good = made("NaN once"), made("NaN for good")
    assert [math.isnan(value) for value in losses(once)].count(True) == 1
    assert all(math.isnan(value) for value in losses(good)[good.events[0].onset :])


def test_a_resume_goes_back_and_does_the_same_steps_again():
    curve = made("resume clean")
    assert curve.events == []
    assert curve.healthy
    back, row = curve.rows[curve.begin], curve.rows[curve.begin - 1]
    assert back.step < row.step
    assert back.at > row.at
    assert max(abs(value - 2.0) for value in losses(curve)) < 0.02
    assert max(losses(made("resume with bump"))) > 2.3


def test_a_changed_interval_logs_means_of_ten():
    curve = made("interval 1 to 10")
    later = curve.rows[curve.begin :]
    assert {b.step - a.step for a, b in pairwise(later)} == {100}
    assert curve.healthy


def test_a_stall_and_a_slowdown_move_the_clock_and_nothing_else():
    stall, slow = made("stall 2 h"), made("slowdown x2")
    onset = stall.events[0].onset
    assert stall.rows[onset].at - stall.rows[onset - 1].at > 7200
    times = [b.at - a.at for a, b in pairwise(slow.rows)]
    onset = slow.events[0].onset
    assert sum(times[onset:]) / len(times[onset:]) > 1.8 * sum(times[:onset]) / onset
    assert set(losses(stall)) == set(losses(slow)) == {2.0}


def test_evaluations_worsen_from_the_onset_only():
    for shape, metric, worse in (("accuracy drop", "eval_accuracy", -0.2), ("overfit", "eval_loss", 0.2)):
        curve = made(shape)
        onset = curve.places[metric].index(curve.events[0].onset)
        values = curve.series(metric)
        assert abs(values[onset - 1] - values[0]) < 0.1
        assert (values[onset + 8] - values[0]) / worse > 1


def test_a_curve_is_written_as_smartmon_reads_it(tmp_path: Path):
    curve = made("NaN once")
    read = corpus.read_rows(write_jsonl(curve, tmp_path))
    assert [row.step for row in read] == [row.step for row in curve.rows]
    assert all(row.timed for row in read)
    same = [
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip((r.values["loss"] for r in read), losses(curve))
    ]
    assert all(same)


def test_noise_has_the_deviation_that_its_name_says():
    curve = synthetic.healthy(0.2, False, 1, 1)[0]
    logs = [math.log(row.values["loss"] / synthetic.level(row.step - 1)) for row in curve.rows]
    assert math.sqrt(sum(value * value for value in logs) / len(logs)) == pytest.approx(0.2, rel=0.05)


def test_a_crash_loop_gets_nowhere_and_its_counterpart_gets_further():
    loop, gain = synthetic.crashes()[:2]
    assert max(row.step for row in loop.rows[loop.begin :]) < 450
    assert max(row.step for row in gain.rows) > 900
    assert (len(loop.events), len(gain.events), gain.healthy) == (1, 0, True)


def test_a_repository_is_always_on_one_side_of_the_split():
    assert corpus.split_of("karpathy/nanoGPT") == "test"
    assert corpus.split_of("KellerJordan/modded-nanogpt") == "dev"


def test_without_a_corpus_only_what_needs_none_is_planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SMARTMON_CORPUS", str(tmp_path))
    names = [task.name for task in plan.plan(list(plan.PARTS))]
    assert len(names) == 2 + 16 + 1
    assert not any(name.startswith(("dev", "test", "provoked")) for name in names)


def anomaly(kind: str, step: int, severity: str, attempt: int = 1) -> dict[str, object]:
    return {"kind": kind, "metric": "loss", "step": step, "severity": severity, "attempt": attempt}


def incident(kind: str, start: int, end: int, severity: str, attempt: int = 1) -> dict[str, object]:
    key = f"{kind}-{attempt}-{start}"
    both = {"start_step": start, "end_step": end}
    return {"kind": kind, "severity": severity, "attempt": attempt, "key": key, **both}


def told(curve: Curve, anomalies: list[object], incidents: list[object], attempts: int = 1) -> list[tuple[int, str]]:
    answer = {"anomalies": anomalies, "incidents": incidents, "attempts": attempts}
    return [(alarm.row, alarm.kind) for alarm in contestant.alarms(curve, answer)]


def test_a_person_is_told_when_an_incident_opens_and_when_it_gets_worse():
    flat = Curve("c", "s", "corpus", "dev", [Row(step, 0.0, {"loss": 1.0}) for step in range(100)], "loss")
    found = [
        anomaly("loss_spike", 5, "info"),
        anomaly("loss_spike", 10, "warning"),
        anomaly("loss_spike", 11, "warning"),
        anomaly("loss_spike", 12, "critical"),
    ]
    assert told(flat, found, [incident("loss_spike", 10, 12, "critical")]) == [(10, "loss_spike"), (12, "loss_spike")]


def test_a_second_kind_of_a_family_says_nothing_while_the_first_is_as_bad():
    flat = Curve("c", "s", "corpus", "dev", [Row(step, 0.0, {"loss": 1.0}) for step in range(100)], "loss")
    found = [
        anomaly("loss_spike", 10, "warning"),
        anomaly("divergence", 15, "warning"),
        anomaly("loss_spike", 20, "warning"),
        anomaly("divergence", 50, "warning"),
    ]
    open_ones = [incident("loss_spike", 10, 20, "warning"), incident("divergence", 15, 15, "warning")]
    assert told(flat, found, [*open_ones, incident("divergence", 50, 50, "warning")]) == [
        (10, "loss_spike"),
        (50, "divergence"),
    ]


def test_an_alarm_on_a_repeated_step_belongs_to_its_attempt():
    steps = [*range(50), *range(30, 80)]
    again = Curve("c", "s", "corpus", "dev", [Row(step, 0.0, {"loss": 1.0}) for step in steps], "loss")
    found = [anomaly("loss_spike", 40, "warning", attempt=2)]
    assert told(again, found, [incident("loss_spike", 40, 40, "warning", attempt=2)], 2) == [(60, "loss_spike")]


def test_smartmon_itself_answers_for_several_files_at_once(tmp_path: Path):
    curves = [made("explosion"), synthetic.healthy(0.05, False, 1, 1)[0]]
    for curve in curves:
        curve.path = write_jsonl(curve, tmp_path)
    answers = contestant.replay(curves, [])
    assert set(answers) == {curve.id for curve in curves}
    assert contestant.alarms(curves[0], answers[curves[0].id])[0].row >= curves[0].events[0].onset
    assert contestant.alarms(curves[1], answers[curves[1].id]) == []
    assert json.dumps(answers)
