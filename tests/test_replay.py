"""Replaying logs: the same judge, nothing written, and silence on real healthy curves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from smartmon.detectors.settings import JudgeSettings
from smartmon.errors import SourceError
from smartmon.replay import replay, run_name, why

CORPUS = Path(os.environ.get("SMARTMON_CORPUS") or Path(__file__).parents[2] / "shared" / "corpus")


def write_log(path: Path, losses: list[float], every: int = 100) -> Path:
    lines = [json.dumps({"step": (i + 1) * every, "loss": loss}) for i, loss in enumerate(losses)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_replay_finds_what_fired_and_writes_nothing(tmp_path: Path) -> None:
    log = write_log(tmp_path / "training_log.jsonl", [0.74, 0.73, 0.72, 0.71, 1.02])
    found = replay(log, JudgeSettings()).to_json()
    assert [a["reason"] for a in found["anomalies"]] == ["best_model_loss_0.7200", "loss_spike_40.7pct"]
    assert found["observations"] == 5
    assert found["incidents"][0]["start_step"] == found["incidents"][0]["end_step"] == 500
    assert [path.name for path in tmp_path.iterdir()] == ["training_log.jsonl"]


def test_the_settings_decide(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.jsonl", [1.0, 1.0, 1.0, 1.25])
    kind = JudgeSettings(detectors={"loss_spike": {"threshold": 0.2}})
    assert replay(log, JudgeSettings()).anomalies == []
    assert [a.reason for a in replay(log, kind).anomalies] == ["loss_spike_25.0pct"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"log_history": [{"step": 1, "loss": 1.0},', "breaks off"),
        ('{"log_history": [{]}', "after byte 17"),
    ],
)
def test_a_log_that_is_damaged_all_over_is_not_called_quiet(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "trainer_state.json").write_text(text)
    with pytest.raises(SourceError, match=rf"cannot replay .*trainer_state\.json: it is not valid JSON .*{problem}"):
        replay(tmp_path / "trainer_state.json", JudgeSettings())


def test_what_cannot_be_read_beside_a_log_is_told(tmp_path: Path) -> None:
    write_log(tmp_path / "training_log.jsonl", [1.0, 0.9, 0.8])
    (tmp_path / "trainer_state.json").write_text('{"log_history": [')
    found = replay(tmp_path, JudgeSettings())
    assert found.observations == 3
    assert [note.message for note in found.notes] == ["trainer_state.json is not valid JSON (it breaks off)"]


def test_a_file_that_is_no_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(SourceError, match=r"notes\.txt"):
        replay(tmp_path / "notes.txt", JudgeSettings())


def test_why_judges_a_log_up_to_a_step(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.jsonl", [1.0, 1.0, 1.0, 2.0])
    assert [v.detector for v in why(log, JudgeSettings(), 400) if v.fired] == ["loss_spike"]
    assert why(log, JudgeSettings(), 401) == []


def test_a_run_is_called_after_its_folder() -> None:
    assert run_name(Path("/data/my-run/logs/training_log.jsonl")) == "my-run"
    assert run_name(Path("/data/my-run/checkpoint-50/trainer_state.json")) == "my-run"


PROVOKED = {
    "healthy": set(),
    "too_low_lr": set(),
    "spike_garbage_1batch": {"loss_spike", "accuracy_drop"},
    "spike_lr100_3steps": {"loss_spike", "divergence", "accuracy_drop"},
    "diverge_lr100": {"loss_spike", "divergence", "accuracy_drop"},
    "nan_param": {"nonfinite", "accuracy_drop"},
    "nan_param_filtered": {"nonfinite", "accuracy_drop"},
}


@pytest.mark.parametrize("name", PROVOKED)
def test_provoked_faults_are_found_where_they_are_seen(name: str) -> None:
    log = CORPUS / "provoked" / f"{name}.jsonl"
    if not log.is_file():
        pytest.skip(f"no corpus at {CORPUS}; set SMARTMON_CORPUS")
    found = replay(log, JudgeSettings())
    assert {change.kind for change in found.incidents.values()} == PROVOKED[name]
    assert all(150 <= change.start_step <= 154 for change in found.incidents.values())


@pytest.mark.slow
def test_real_healthy_curves_wake_nobody() -> None:
    if not (CORPUS / "labels.jsonl").is_file():
        pytest.skip(f"no corpus at {CORPUS}; set SMARTMON_CORPUS")
    labels = [json.loads(line) for line in (CORPUS / "labels.jsonl").read_text().splitlines()]
    quiet = {label["id"] for label in labels if label["quiet"]}
    judged = 0
    for line in (CORPUS / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["id"] in quiet and row["format"] in ("hf_trainer_state", "jsonl"):
            found = replay(CORPUS / row["file"], JudgeSettings())
            assert not found.incidents, (row["id"], found.incidents)
            judged += 1
    assert judged >= 5
