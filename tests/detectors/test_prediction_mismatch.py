"""`prediction_mismatch`: answers and losses of golden samples that do not belong together."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from typing import Any

import pytest

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Finding, RunState, StatusReport
from tests.detectors.streams import anomalies, incidents
from tests.judge.feed import T0, row

KIND = "prediction_mismatch"
Sample = tuple[bool, float]


def status(step: int, **extras: Any) -> StatusReport:
    return StatusReport(T0 + step, RunState.RUNNING, step=step, extras=extras)


def told(samples: Iterable[Sample], *, stored: bool = False, polls: int = 1) -> list[Finding]:
    """Judge a run whose status tells one sample a step, as often as it is polled."""
    judge, found = Judge(JudgeSettings()), []
    for step, (right, loss) in enumerate(samples, 1):
        found += judge.observe(row(step, loss=loss)).findings
        answer = {"golden_answer": "4", "model_answer": "4" if right else "5", "answer_matches": right}
        for _ in range(polls):
            found += judge.report(status(step, current_prompt=f"{step}?", **answer))
        if stored:
            judge = Judge(JudgeSettings(), json.loads(json.dumps(judge.state(), allow_nan=False)))
    return found


def turned(count: int, seed: int = 1) -> list[Sample]:
    """Right answers around a loss of 2, wrong ones around 1."""
    rng = random.Random(seed)
    return [(i % 2 == 0, (2.0 if i % 2 == 0 else 1.0) * rng.lognormvariate(0, 0.1)) for i in range(count)]


def test_right_answers_with_the_higher_losses_are_recorded_and_told_when_it_lasts() -> None:
    found = told(turned(50))
    assert [a.severity.value for a in anomalies(found, KIND)] == ["info", "warning"]
    assert [(change, severity) for _, change, severity in incidents(found, KIND)] == [("opened", "warning")]
    assert "right answers have the higher losses" in anomalies(found, KIND)[1].message


def test_it_is_over_when_the_losses_fit_the_answers_again() -> None:
    fitting = [(right, 3.0 - loss) for right, loss in turned(30)]
    assert [change for _, change, _ in incidents(told(turned(50) + fitting), KIND)] == ["opened", "resolved"]


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_learns_is_quiet(seed: int) -> None:
    rng = random.Random(seed)
    losses = [2.5 * math.exp(-i / 60) * rng.lognormvariate(0, 0.3) + 0.1 for i in range(200)]
    assert anomalies(told([(rng.random() > loss / 3, loss) for loss in losses]), KIND) == []


def test_losses_that_have_nothing_to_do_with_the_answers_wake_nobody() -> None:
    rng = random.Random(11)
    found = told([(rng.random() < 0.5, rng.lognormvariate(0, 0.3)) for _ in range(1000)])
    assert incidents(found, KIND) == []


def test_a_status_that_is_polled_often_is_one_sample() -> None:
    assert anomalies(told(turned(9), polls=20), KIND) == []
    assert [a.step for a in anomalies(told(turned(50), polls=5), KIND)] == [
        a.step for a in anomalies(told(turned(50)), KIND)
    ]


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ((True, 5.0), "prediction_mismatch_right_at_high_loss"),
        ((False, 0.01), "prediction_mismatch_wrong_at_low_loss"),
    ],
)
def test_answers_all_alike_against_their_losses_are_recorded_once(sample: Sample, reason: str) -> None:
    assert [(a.reason, a.severity.value) for a in anomalies(told([sample] * 60), KIND)] == [(reason, "info")]


@pytest.mark.parametrize("sample", [(True, 0.3), (False, 2.0), (True, 0.001), (False, 8.0)])
def test_answers_all_alike_with_their_losses_are_quiet(sample: Sample) -> None:
    assert anomalies(told([sample] * 60), KIND) == []


@pytest.mark.parametrize("golden", ["Paris", "PARIS.", " Paris \n"])
def test_answers_that_differ_in_spelling_only_point_at_the_comparison(golden: str) -> None:
    judge, found = Judge(JudgeSettings()), []
    for step in range(1, 30):
        judge.observe(row(step, loss=1.0))
        said = {"golden_answer": golden, "model_answer": "paris", "answer_matches": False}
        found += judge.report(status(step, **said))
    assert [a.reason for a in anomalies(found, KIND)] == ["prediction_mismatch_spelling"]


def test_recent_examples_bring_their_own_losses() -> None:
    judge, found = Judge(JudgeSettings()), []
    examples = [
        {"step": i, "prompt": f"{i}?", "golden": "4", "model_output": "4", "matches": right, "loss": loss}
        for i, (right, loss) in enumerate(turned(50))
    ]
    for step in range(5, 51):
        judge.observe(row(step, loss=1.0))
        found += judge.report(status(step, recent_examples=examples[step - 5 : step]))
    assert [a.severity.value for a in anomalies(found, KIND)] == ["info", "warning"]


@pytest.mark.parametrize(
    "extras",
    [
        {"answer_matches": "yes", "golden_answer": 4},
        {"answer_matches": True, "golden_answer": ["4"], "model_answer": None},
        {"recent_examples": [None, 3, {"matches": True}, {"matches": True, "loss": math.nan}]},
        {"recent_examples": "none", "answer_matches": None},
        {"answer_matches": False, "golden_answer": "\ud800", "model_answer": "\ud800"},
    ],
)
def test_odd_samples_raise_nothing(extras: dict[str, Any]) -> None:
    judge = Judge(JudgeSettings())
    found = list(judge.report(status(1, **extras)))
    for step in range(2, 40):
        found += judge.observe(row(step, loss=math.nan if step % 2 else 1.0)).findings
        found += judge.report(status(step, **extras))
    assert [a for a in anomalies(found, KIND) if a.reason != "prediction_mismatch_spelling"] == []


def test_a_resume_forgets_the_samples() -> None:
    judge, found = Judge(JudgeSettings()), []
    for count, (right, loss) in enumerate(turned(50)):
        step = 100 + count if count < 25 else 90 + count
        found += judge.observe(row(step, loss=loss, at=T0 + 1000 * count)).findings
        found += judge.report(status(step, answer_matches=right, golden_answer=str(loss)))
    assert judge.attempt == 2
    assert [a.severity.value for a in anomalies(found, KIND)] == ["info", "info"]


def test_a_state_stored_after_every_row_gives_the_same() -> None:
    samples = turned(50) + [(right, 3.0 - loss) for right, loss in turned(30)]
    assert told(samples, stored=True) == told(samples)
