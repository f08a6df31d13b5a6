"""The newest good adapter: replaced whole, and nobody's checkpoints are lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmon.queue import adapter


def made(folder: Path, weights: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_text(weights)
    return folder


def test_an_adapter_takes_the_place_of_the_one_before(tmp_path: Path):
    target = tmp_path / "current_model"
    for run in ("one", "two"):
        assert adapter.publish(made(tmp_path / run, run), target, run) is None
    assert (target / "adapter_model.safetensors").read_text() == "two"
    assert adapter.identity(target) == "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current_model", "one", "two"]


def test_a_model_folder_of_somebody_else_is_kept(tmp_path: Path):
    target = made(tmp_path / "current_model", "theirs")
    (target / "checkpoint-9").mkdir()
    kept = adapter.publish(made(tmp_path / "one", "ours"), target, "one")
    assert kept is not None
    assert (kept / "checkpoint-9").is_dir()
    assert (kept / "adapter_model.safetensors").read_text() == "theirs"
    assert (target / "adapter_model.safetensors").read_text() == "ours"


def test_a_link_to_a_model_is_kept_beside_it(tmp_path: Path):
    real, target = made(tmp_path / "real", "theirs"), tmp_path / "current_model"
    target.symlink_to("real")
    kept = adapter.publish(made(tmp_path / "one", "ours"), target, "one")
    assert kept is not None
    assert kept.resolve() == real
    assert (real / "adapter_model.safetensors").read_text() == "theirs"


def test_where_names_cannot_be_swapped_it_takes_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(adapter, "_exchange", lambda one, other: False)
    target = tmp_path / "current_model"
    for run in ("one", "two"):
        adapter.publish(made(tmp_path / run, run), target, run)
    assert (target / "adapter_model.safetensors").read_text() == "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current_model", "one", "two"]


def test_publishing_one_job_twice_changes_nothing(tmp_path: Path):
    source, target = made(tmp_path / "one", "1"), tmp_path / "current_model"
    adapter.publish(source, target, "one")
    before = target.stat().st_ino
    adapter.publish(source, target, "one")
    assert target.stat().st_ino == before


def test_checkpoints_are_not_part_of_the_adapter(tmp_path: Path):
    source = made(tmp_path / "one", "1")
    made(source / "checkpoint-5", "0")
    adapter.publish(source, tmp_path / "current_model", "one")
    assert not (tmp_path / "current_model" / "checkpoint-5").exists()
    assert adapter.drop_checkpoints(source) == 1
    assert sorted(path.name for path in source.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.parametrize("weights", [None, ""])
def test_half_an_adapter_is_none(tmp_path: Path, weights: str | None):
    (tmp_path / "adapter_config.json").write_text("{}")
    if weights is not None:
        (tmp_path / "adapter_model.safetensors").write_text(weights)
    assert not adapter.is_whole(tmp_path)
    assert adapter.identity(tmp_path) == ""


def test_a_folder_of_somebody_else_outlives_a_queue_that_is_killed_while_it_swaps(tmp_path: Path):
    made(tmp_path / ".current_model.new", "theirs")  # where it lies between the swap and its new name
    adapter.publish(made(tmp_path / "job", "ours"), tmp_path / "current_model", "job-1")
    kept = [path for path in tmp_path.glob("current_model_*") if path.is_dir()]
    assert [(path / "adapter_model.safetensors").read_text() for path in kept] == ["theirs"]
