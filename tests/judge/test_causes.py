"""The context of an anomaly: what else happened around it, and a likely cause only where the evidence is there."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from typing import Any

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Anomaly, Gpu, HostSample, Observation, RunState, Severity, StatusReport
from tests.judge.feed import T0, anomalies, feed, row

NOISE = random.Random(7)
LOSSES = [2.0 * math.exp(NOISE.gauss(0, 0.02)) for _ in range(400)]


def calm(first: int, last: int, **changes: Any) -> list[Observation]:
    """A healthy stretch; `changes` are values, or functions of the step, in place of the usual ones."""
    usual: dict[str, Any] = {"loss": lambda step: LOSSES[step % 400], "grad_norm": 1.0, "learning_rate": 1e-4}
    made = []
    for step in range(first, last):
        values = {name: value(step) if callable(value) else value for name, value in (usual | changes).items()}
        made.append(row(step, **values))
    return made


def gravest(rows: Iterable[Observation], kind: str, judge: Judge | None = None) -> Anomaly:
    """The first anomaly of a kind that somebody is told of."""
    found = [a for a in anomalies(feed(rows, judge), kind) if a.severity is not Severity.INFO]
    return found[0]


def test_a_learning_rate_that_jumped_just_before_is_the_likely_cause() -> None:
    rows = [*calm(0, 100), *calm(100, 103, learning_rate=1e-3), *calm(103, 110, loss=9.0, learning_rate=1e-3)]
    anomaly = gravest(rows, "loss_spike")
    assert anomaly.context["cause"] == (
        "The learning rate rose 10 times at step 100, just before: look at the schedule first."
    )
    assert anomaly.context["around"] == ["the learning rate went from 0.0001 to 0.001 at step 100"]


def test_a_learning_rate_that_fell_is_told_but_blamed_for_nothing() -> None:
    rows = [*calm(0, 100), *calm(100, 103, learning_rate=1e-5), *calm(103, 110, loss=9.0, learning_rate=1e-5)]
    anomaly = gravest(rows, "loss_spike")
    assert "cause" not in anomaly.context
    assert "the learning rate went from 0.0001 to 1e-05 at step 100" in anomaly.context["around"]


def test_a_warm_up_is_no_jump() -> None:
    rows = [*calm(0, 100, learning_rate=lambda step: 1e-6 * (step + 1)), *calm(100, 106, loss=9.0, learning_rate=1e-4)]
    assert "cause" not in gravest(rows, "loss_spike").context


def test_gradients_that_grew_before_the_loss_are_named_with_their_step() -> None:
    rows = [*calm(0, 100), *calm(100, 102, grad_norm=14.0), *calm(102, 106, loss=9.0, grad_norm=30.0)]
    anomaly = gravest(rows, "loss_spike")
    assert anomaly.context["cause"].startswith("The gradient norm rose 30 times at step 100, before the loss")
    assert anomaly.context["around"] == ["grad norm rose from 1 to 30 (from step 100)"]


def test_what_got_worse_later_did_not_begin_later() -> None:
    told = anomalies(feed([*calm(0, 100), *calm(100, 110, loss=9.0, grad_norm=30.0)]), "loss_spike")
    causes = {a.severity: a.context["cause"] for a in told if a.severity is not Severity.INFO}
    assert set(causes) == {Severity.WARNING, Severity.CRITICAL}
    assert all(cause.startswith("The gradient norm rose 30 times with the loss") for cause in causes.values())


def test_a_loss_that_was_no_number_for_a_while_is_told_from_its_first_step() -> None:
    judge = Judge(JudgeSettings())
    feed([*calm(0, 100), *calm(100, 110, loss=math.nan)], judge)
    status = StatusReport(T0 + 110, RunState.FAILED, "crashed", 110, error_message="gave up")
    (crash,) = anomalies(judge.report(status), "crashed")
    (around,) = crash.context["around"]
    assert around.startswith("loss is NaN since step 100 (was ")


def test_a_worse_resume_is_not_blamed_on_the_resume_once_more() -> None:
    worse = gravest([*calm(0, 120), *calm(90, 125, loss=lambda step: 1.4 * LOSSES[step % 400])], "resume_regression")
    assert "cause" not in worse.context
    assert worse.context["around"] == []


def test_a_full_disk_is_told_once_and_shown_by_a_command() -> None:
    judge = Judge(JudgeSettings())
    feed(calm(0, 50), judge)
    full = HostSample(T0 + 50, disk="/my data", disk_free=3 * 10**8, disk_total=10**12)
    (told,) = anomalies(judge.host(full), "disk_full_soon")
    assert told.context["around"] == []
    assert told.context["next"] == "df -h '/my data'"


def test_gradients_that_overflowed_explain_a_nan() -> None:
    rows = [*calm(0, 100), *calm(100, 101, grad_norm=math.inf), *calm(101, 104, loss=math.nan, grad_norm=math.nan)]
    anomaly = gravest(rows, "nonfinite")
    assert anomaly.context["cause"] == (
        "The gradients overflowed first, at step 100: with fp16 use bf16 or a lower loss scale."
    )


def test_other_data_explains_another_loss() -> None:
    judge = Judge(JudgeSettings())
    for step, file in ((1, "a.jsonl"), (100, "b.jsonl")):
        judge.report(StatusReport(T0 + step, RunState.RUNNING, step=step, extras={"current_file": file}))
        feed(calm(step, 100), judge)
    anomaly = gravest(calm(100, 106, loss=9.0), "loss_spike", judge)
    assert anomaly.context["cause"].startswith("The current file changed to b.jsonl at step 100, just before")


def test_a_resume_just_before_is_told() -> None:
    rows = [*calm(0, 120), *calm(90, 105), *calm(105, 112, loss=9.0)]
    anomaly = gravest(rows, "loss_spike")
    assert anomaly.context["cause"].startswith("The run was resumed at step 90, just before")


def test_what_happened_long_before_is_no_cause() -> None:
    rows = [*calm(0, 100), *calm(100, 300, learning_rate=1e-3), *calm(300, 306, loss=9.0, learning_rate=1e-3)]
    context = gravest(rows, "loss_spike").context
    assert "cause" not in context
    assert context["around"] == []


def test_an_accuracy_that_falls_alone_points_at_the_evaluation() -> None:
    good = calm(0, 60, accuracy=75.0, learning_rate=1e-4)
    anomaly = gravest([*good, *calm(60, 70, accuracy=40.0)], "accuracy_drop")
    assert anomaly.context["cause"].startswith("The loss did not move with it")


def test_a_full_disk_explains_a_crash_and_says_what_to_run() -> None:
    judge = Judge(JudgeSettings())
    feed(calm(0, 50), judge)
    judge.host(HostSample(T0 + 50, disk="/data", disk_free=3 * 10**8, disk_total=10**12))
    status = StatusReport(T0 + 51, RunState.FAILED, "crashed", 50, error_message="[Errno 28] No space left on device")
    (crash,) = anomalies(judge.report(status), "crashed")
    assert crash.context["cause"] == "The disk is full (300.0 MB left): saving waits for it or fails."
    assert crash.context["next"] == "df -h /data"
    assert "300.0 MB left on the disk of /data" in crash.context["around"]


def test_a_gpu_slowed_by_heat_explains_a_stall() -> None:
    judge = Judge(JudgeSettings())
    feed([row(i, loss=2.0, at=T0 + 10 * i) for i in range(60)], judge)
    judge.report(StatusReport(T0 + 600, RunState.RUNNING, step=59))
    judge.host(HostSample(T0 + 600, gpus=(Gpu(0, "H200", temperature=91.0, throttled="too hot"),)))
    (stall,) = anomalies((f for now in range(600, 900, 10) for f in judge.tick(T0 + now)), "stalled")[:1]
    assert stall.context["around"] == ["GPU 0 is slowed down at 91 °C: too hot"]
    assert stall.context["next"] == "nvidia-smi -q -d PERFORMANCE"


def test_what_is_remembered_is_bounded_and_survives_a_restart() -> None:
    judge = Judge(JudgeSettings())
    rows = [row(i, loss=2.0, **{f"metric_{j}": float(i) for j in range(200)}) for i in range(300)]
    feed(rows, judge)
    state = json.loads(json.dumps(judge.state()["evidence"]["around"]))
    assert len(state["recent"]) <= 16
    assert max(len(steps) for steps, _ in state["recent"].values()) <= 32
    again = Judge(JudgeSettings(), json.loads(json.dumps(judge.state())))
    assert again.state() == judge.state()
