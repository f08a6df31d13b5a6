"""`LightningCallback` in a real Trainer of Lightning."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning", reason="pip install lightning")

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from smartmon.replay import rows
from smartmon.trainer import LightningCallback
from smartmon.trainer.control import send

pytestmark = pytest.mark.filterwarnings("ignore")


class Line(LightningModule):
    """A line through noise; does something after a step."""

    def __init__(self, at: int = -1, what: Any = None) -> None:
        super().__init__()
        torch.set_num_threads(1)
        self.line, self.at, self.what = torch.nn.Linear(4, 1), at, what

    def training_step(self, batch: Any, number: int) -> Any:
        if self.global_step == self.at:
            self.what(self)
        loss = ((self.line(batch[0]) - batch[1]) ** 2).mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        self.log("val_loss", ((self.line(batch[0]) - batch[1]) ** 2).mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(module: Line, callback: Any, base: Path, steps: int = 20) -> Any:
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(40, 4), torch.randn(40, 1))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        default_root_dir=base,
        log_every_n_steps=2,
        callbacks=[callback],
        **quiet,
    )
    trainer.fit(module, loader, loader)
    return trainer


def status(base: Path) -> dict[str, Any]:
    return dict(json.loads((base / "status/training_status.json").read_text()))


def test_one_line_writes_a_run_that_smartmon_reads(tmp_path: Path) -> None:
    callback = LightningCallback(metrics=lambda: {"mine": 7})
    assert isinstance(callback, Callback)
    fit(Line(), callback, tmp_path)
    read = list(rows(tmp_path / "logs/training_log.jsonl", {}))
    assert [obs.step for obs in read] == list(range(2, 21, 2))
    assert {"loss", "learning_rate", "epoch", "steps_per_sec", "eta_seconds", "mine"} <= read[-1].values.keys()
    evaluations = [json.loads(line) for line in (tmp_path / "logs/eval_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in evaluations] == [10, 20]
    found = status(tmp_path)
    assert (found["status"], found["current_step"], found["total_steps"]) == ("completed", 20, 20)
    assert found["last_checkpoint"].endswith(".ckpt")


def test_an_exception_ends_as_crashed(tmp_path: Path) -> None:
    def fail(module: Any) -> None:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fit(Line(5, fail), LightningCallback(), tmp_path)
    assert (status(tmp_path)["status"], status(tmp_path)["error_message"]) == ("crashed", "boom")


def test_a_nan_is_logged_and_stops_where_asked(tmp_path: Path) -> None:
    def poison(module: Any) -> None:
        with torch.no_grad():
            module.line.weight.fill_(math.nan)

    callback = LightningCallback(stop_on_nonfinite=True)
    trainer = fit(Line(4, poison), callback, tmp_path, steps=1000)
    assert (callback.stopped, trainer.global_step) == ("nonfinite", 6)
    assert (status(tmp_path)["status"], status(tmp_path)["error_type"]) == ("crashed", "NaNLoss")


def test_stop_saves_first_and_is_acknowledged(tmp_path: Path) -> None:
    callback = LightningCallback()
    sent: list[str] = []
    trainer = fit(Line(4, lambda module: sent.append(send(tmp_path, "stop"))), callback, tmp_path, steps=100_000)
    found = status(tmp_path)
    assert (callback.stopped, found["status"]) == ("control", "stopped")
    assert found["control_ack"]["id"] == sent[0]
    assert list(tmp_path.rglob(f"*step={trainer.global_step}.ckpt"))
