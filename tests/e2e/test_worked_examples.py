"""From files on disk, through the real daemon process, to the snapshot folder and the delivered message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import Daemon, Receiver, Run, notifier, started, until

LOSSES = [0.74, 0.73, 0.72, 0.71]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "train")


def feed(daemon: Daemon, run: Run, key: str, values: list[float], first: int = 17_000) -> int:
    """Write one status after the other, each once the one before is stored; return the last step."""
    step = first
    for step, value in enumerate_steps(values, first, 100):
        run.status(step, **{key: value})
        until(lambda step=step: daemon.rows("select 1 from runs where step = ?", step))
    return step


def enumerate_steps(values: list[float], first: int, stride: int) -> list[tuple[int, float]]:
    return [(first + index * stride, value) for index, value in enumerate(values)]


def snapshot_of(daemon: Daemon, reason: str) -> tuple[Path, dict]:
    """The folder and metadata of the one snapshot whose triggers hold the reason."""

    def find() -> list[dict]:
        return [row for row in daemon.cli("snapshots", "list") if reason in row["reason"]]

    (row,) = until(find)
    folder = Path(row["path"])
    return folder, json.loads((folder / "metadata.json").read_text())


def test_a_loss_spike_is_kept_and_told(run: Run, receiver: Receiver):
    run.checkpoint(17_000)
    with started(run.base, config=notifier(receiver)) as daemon:
        feed(daemon, run, "loss", [*LOSSES, 1.02])
        folder, metadata = snapshot_of(daemon, "loss_spike_40.7pct")
        (text,) = until(lambda: receiver.texts)
    assert metadata["severity"] == "warning"
    assert metadata["step"] == 17_400
    assert metadata["loss_history"] == [*LOSSES, 1.02]
    assert metadata["checkpoint_step"] == 17_000
    assert folder.name.startswith("anomaly_")
    assert folder.name.endswith("loss_spike_40.7pct")
    assert json.loads((folder / "training_status.json").read_text())["loss"] == 1.02
    assert (folder / "model" / "checkpoint-17000" / "adapter_model.safetensors").exists()
    assert (folder / "model" / "adapter_config.json").exists()
    assert text.startswith("loss spike +40.7 % at step 17,400 - train")
    assert folder.name in text


def test_an_accuracy_drop_is_kept_and_told(run: Run, receiver: Receiver):
    run.checkpoint(17_000)
    with started(run.base, config=notifier(receiver)) as daemon:
        feed(daemon, run, "accuracy_percent", [75, 75, 74, 76, 75, 62])
        _folder, metadata = snapshot_of(daemon, "accuracy_drop_13.0pct")
        (text,) = until(lambda: receiver.texts)
    assert (metadata["severity"], metadata["accuracy"]) == ("warning", 62)
    assert metadata["accuracy_history"] == [75, 75, 74, 76, 75, 62]
    assert "accuracy" in text.splitlines()[0]


def test_a_best_model_is_kept_and_nobody_is_woken(run: Run, receiver: Receiver):
    run.checkpoint(17_100)
    with started(run.base, config=notifier(receiver)) as daemon:
        feed(daemon, run, "loss", [0.6589, 0.6321])
        _folder, metadata = snapshot_of(daemon, "best_model_loss_0.6321")
        assert metadata["severity"] == "info"
        assert (metadata["best_loss"], metadata["best_loss_step"]) == (0.6321, 17_100)
        assert metadata["checkpoint_step"] == 17_100
        assert daemon.cli("alerts", "list") == []
    assert receiver.texts == []


def test_a_divergence_is_kept_and_told(run: Run, receiver: Receiver):
    run.checkpoint(17_000)
    rising = [1.00, 1.01, 1.02, 1.03, 1.025, 1.04, 1.05, 1.06, 1.07, 1.08]
    with started(run.base, config=notifier(receiver)) as daemon:
        feed(daemon, run, "loss", rising)
        _folder, metadata = snapshot_of(daemon, "divergence_detected")
        (text,) = until(lambda: receiver.texts)
    assert metadata["severity"] == "warning"
    assert metadata["loss_history"] == rising
    assert text.startswith("training diverges at step 17,900 - train")


def test_several_triggers_at_one_step_make_one_snapshot(run: Run, receiver: Receiver):
    run.checkpoint(100)
    with started(run.base, config=notifier(receiver)) as daemon:
        for step, loss in enumerate_steps([*LOSSES, 1.02], 100, 100):
            run.status(step, loss=loss, accuracy_percent=75 if loss < 1 else 60)
            until(lambda step=step: daemon.rows("select 1 from runs where step = ?", step))
        _folder, metadata = snapshot_of(daemon, "accuracy_drop")
    assert metadata["triggers"] == ["loss_spike_40.7pct", "accuracy_drop_15.0pct"]
    assert metadata["reason"] == "loss_spike_40.7pct_accuracy_drop_15.0pct"
