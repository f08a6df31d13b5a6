"""A training that goes on where another ended: exactly, or not at all."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")

from smartmon.errors import ResumeError, TrainingError
from smartmon.trainer import checkpoints, record, resume
from smartmon.trainer.export import export
from smartmon.trainer.run import train
from smartmon.trainer.settings import TrainSettings
from tests.trainer.test_checkpoints import make
from tests.trainer.training import At, crash, names, rows, small, status


def broken_off(settings: TrainSettings, step: int) -> None:
    """Train until an error at a step."""
    with pytest.raises(TrainingError):
        train(settings, say=lambda _: None, callbacks=[At(step, crash(OSError("gone")))])


def test_a_resumed_run_has_the_losses_of_one_that_was_not_interrupted(
    tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    changes: dict[str, Any] = {"max_steps": 8, "save_steps": 3, "lora_dropout": 0.1, "eval_steps": 4, "grad_accum": 2}
    whole = small(tmp_path / "whole", tiny_model, tiny_data, **changes)
    parts = small(tmp_path / "parts", tiny_model, tiny_data, **changes)
    train(whole, say=lambda _: None)
    broken_off(parts, 5)
    said: list[str] = []
    outcome = train(parts, say=said.append)

    assert outcome.resumed_from == 3
    assert any("at checkpoint-3" in line for line in said)
    expected = {row["step"]: (row["loss"], row["grad_norm"], row["learning_rate"]) for row in rows(whole.base_dir)}
    last = {row["step"]: (row["loss"], row["grad_norm"], row["learning_rate"]) for row in rows(parts.base_dir)}
    assert last == expected
    assert status(parts.base_dir)["attempt"] == 2
    assert rows(parts.base_dir, "eval_log")[-1]["eval_loss"] == rows(whole.base_dir, "eval_log")[-1]["eval_loss"]
    adapters = [(settings.output / "adapter_model.safetensors").read_bytes() for settings in (whole, parts)]
    assert adapters[0] == adapters[1]


def test_torn_checkpoints_are_passed_over_and_moved_out_of_the_way(
    tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    settings = small(tmp_path, tiny_model, tiny_data)
    broken_off(settings, 5)
    (settings.output / "checkpoint-4" / "scheduler.pt").unlink()
    said: list[str] = []
    outcome = train(settings, say=said.append)
    assert outcome.resumed_from == 2
    assert "checkpoint-4 is passed over: scheduler.pt is missing" in " ".join(said)
    assert len(list(settings.output.glob(".earlier/*/checkpoint-4"))) == 1
    assert names(settings.output) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def test_a_complete_training_is_not_trained_again(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    settings = small(tmp_path, tiny_model, tiny_data, max_steps=2)
    train(settings, say=lambda _: None)
    before, said = (settings.output / "checkpoint-2").stat().st_mtime_ns, list[str]()
    outcome = train(settings, say=said.append)
    assert (outcome.state, outcome.step, outcome.adapter) == (
        "completed",
        2,
        settings.output / "adapter_model.safetensors",
    )
    assert any("--resume none trains anew" in line for line in said)
    assert len(rows(tmp_path)) == 2
    assert (settings.output / "checkpoint-2").stat().st_mtime_ns == before


def test_a_training_that_was_killed_after_its_last_checkpoint_still_gets_its_adapter(
    tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    settings = small(tmp_path, tiny_model, tiny_data, max_steps=2)
    train(settings, say=lambda _: None)
    record.write(settings.output, record.read(settings.output) | {"state": "training"})
    (settings.output / "adapter_model.safetensors").unlink()
    outcome = train(settings, say=lambda _: None)
    assert (outcome.state, outcome.step) == ("completed", 2)
    assert (settings.output / "adapter_model.safetensors").exists()


class Folder:
    """An output folder with checkpoints and the record of the training that wrote them; no torch."""

    def __init__(self, tmp_path: Path, state: str = "training", *steps: int) -> None:
        dataset = tmp_path / "data.jsonl"
        dataset.write_text("{}\n")
        self.settings = TrainSettings(dataset=dataset, model="model", base_dir=tmp_path)
        self.settings.output.mkdir()
        for step in steps:
            make(self.settings.output, step)
        self.digest = record.digest(dataset)
        before = record.begin(self.settings, self.digest, 1, 1)
        record.write(self.settings.output, before | {"state": state})

    def start(self, *, data: str = "", world_size: int = 1, **changes: Any) -> resume.Start:
        settings = self.settings.model_copy(update=changes)
        return resume.choose(settings, data or self.digest, world_size)


def test_an_unfinished_training_goes_on_from_the_newest_checkpoint(tmp_path: Path) -> None:
    start = Folder(tmp_path, "training", 10, 20).start()
    assert (start.step, start.complete) == (20, False)
    assert start.notes == ["at checkpoint-20"]


def test_what_has_changed_since_the_checkpoint_is_said(tmp_path: Path) -> None:
    start = Folder(tmp_path, "stopped", 10).start(data="other", learning_rate=1e-3, logging_steps=5, world_size=2)
    assert start.step == 10
    assert start.notes[1:] == [
        "changed since then: the dataset is another: its rows come in another order",
        "changed since then: learning_rate was 0.0002, now 0.001",
        "changed since then: processes were 1, now 2: rows are dealt out anew",
    ]


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="lora_r was 16, now 8") as told:
        Folder(tmp_path, "training", 10).start(lora_r=8)
    assert told.value.exit_code == 22


def test_after_a_complete_training_another_one_starts_anew_and_loses_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "completed", 10, 20)
    start = folder.start(data="other")
    assert (start.checkpoint, start.complete) == (None, False)
    assert checkpoints.find(folder.settings.output) == []
    aside = sorted(path.name for path in folder.settings.output.glob(".earlier/*/*"))
    assert aside == ["checkpoint-10", "checkpoint-20"]


def test_an_adapter_without_its_checkpoints_is_kept_when_another_takes_its_place(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "completed")
    before = folder.settings.output / "adapter_model.safetensors"
    before.write_text("one")
    (note,) = folder.start(data="other").notes
    assert "the adapter that was there is kept in .earlier/" in note
    assert folder.start(data="other").notes == []  # once is enough
    make(tmp_path, 5).joinpath("adapter_model.safetensors").write_text("two")
    export(tmp_path / "checkpoint-5", folder.settings.output)
    (kept,) = folder.settings.output.glob(".earlier/*/adapter_model.safetensors")
    assert (before.read_text(), kept.read_text()) == ("two", "one")


def test_an_adapter_whose_checkpoint_is_set_aside_is_not_kept_twice(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "completed", 10)
    export(folder.settings.output / "checkpoint-10", folder.settings.output)
    folder.start(resume="none")
    kept = [str(path.parent.name) for path in folder.settings.output.rglob("adapter_model.safetensors")]
    assert sorted(kept) == ["checkpoint-10", "current_model"]


def test_none_starts_anew(tmp_path: Path) -> None:
    assert Folder(tmp_path, "training", 10).start(resume="none").checkpoint is None


def test_where_no_checkpoint_is_whole_auto_starts_anew(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "training", 10)
    (folder.settings.output / "checkpoint-10" / "optimizer.pt").unlink()
    start = folder.start()
    assert start.checkpoint is None
    assert start.notes[0] == "checkpoint-10 is passed over: optimizer.pt is missing"


@pytest.mark.parametrize("named", ["checkpoint-10", "current_model"])
def test_a_checkpoint_that_was_asked_for_and_is_torn_is_refused(tmp_path: Path, named: str) -> None:
    folder = Folder(tmp_path, "training", 10)
    (folder.settings.output / "checkpoint-10" / "optimizer.pt").unlink()
    path = folder.settings.output if named == "current_model" else folder.settings.output / named
    with pytest.raises(ResumeError, match=r"optimizer\.pt is missing"):
        folder.start(resume=str(path))


def test_an_older_checkpoint_can_be_asked_for_by_its_name(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "training", 10, 20)
    start = folder.start(resume="checkpoint-10")
    assert start.step == 10
    # Else the next resume would take the later one for a part of this training.
    assert [path.name for path in checkpoints.find(folder.settings.output)] == ["checkpoint-10"]


def test_a_folder_without_checkpoints_that_was_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="no whole checkpoint in it"):
        Folder(tmp_path).start(resume=str(tmp_path / "absent"))


def test_a_record_that_cannot_be_read_is_as_none(tmp_path: Path) -> None:
    (tmp_path / record.NAME).write_text("{")
    assert record.read(tmp_path) == {}
    (tmp_path / record.NAME).write_text(json.dumps([1]))
    assert record.read(tmp_path) == {}


def test_a_disk_that_does_not_answer_for_a_checkpoint_ends_no_training(
    tmp_path: Path, tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        if folder.name == "checkpoint-2":
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoints, "settle", refuse)
    said: list[str] = []
    outcome = train(small(tmp_path, tiny_model, tiny_data, max_steps=4), say=said.append)
    assert (outcome.state, outcome.step) == ("completed", 4)
    assert any("checkpoint-2 is not announced: Input/output error" in line for line in said)
