"""What a person may mean by an adapter."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from smartmon.errors import UsageError
from smartmon.trainer.finding import find


def adapter(folder: Path, base: str = "owner/name", **weights: bytes) -> Path:
    """Write an adapter of one byte of weights, as safetensors has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    head = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    whole = len(head).to_bytes(8, "little") + head + b"\0"
    (folder / "adapter_model.safetensors").write_bytes(weights.get("content", whole))
    return folder


def checkpoint(output: Path, step: int, at: float = 2000.0, **weights: bytes) -> Path:
    folder = adapter(output / f"checkpoint-{step}", **weights)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    os.utime(folder / "adapter_model.safetensors", (at, at))
    return folder


def test_an_output_folder_stands_for_the_adapter_in_it(tmp_path: Path) -> None:
    adapter(tmp_path)
    checkpoint(tmp_path, 10, at=2000.0)
    os.utime(tmp_path / "adapter_model.safetensors", (2001.0, 2001.0))
    assert find(tmp_path).folder == tmp_path


def test_a_checkpoint_that_is_newer_than_the_adapter_goes_before_it(tmp_path: Path) -> None:
    adapter(tmp_path)
    os.utime(tmp_path / "adapter_model.safetensors", (1000.0, 1000.0))
    checkpoint(tmp_path, 10)
    found = find(tmp_path)
    assert found.folder == tmp_path / "checkpoint-10"
    assert "newer than the adapter" in found.note


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, content=b"\x40\0\0\0")
    (checkpoint(tmp_path, 30) / "trainer_state.json").unlink()
    assert find(tmp_path).folder == tmp_path / "checkpoint-10"


def test_of_a_snapshot_the_last_good_checkpoint_is_taken(tmp_path: Path) -> None:
    kept = tmp_path / "snapshots" / "anomaly_20251112_143022_divergence_detected"
    checkpoint(kept / "model", 100)
    checkpoint(kept / "model", 200)
    (kept / "metadata.json").write_text(json.dumps({"last_good_checkpoint_step": 100, "checkpoint_step": 200}))
    found = find(Path("anomaly_20251112"), snapshots_dir=tmp_path / "snapshots")
    assert found.folder == kept / "model" / "checkpoint-100"
    assert "last good" in found.note
    (kept / "metadata.json").write_text("{}")
    assert find(kept).folder == kept / "model" / "checkpoint-200"


def test_a_base_that_was_named_relative_to_the_training_is_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    folder = adapter(tmp_path / "current_model" / "checkpoint-5", base="model")
    assert find(folder).base == str(tmp_path / "model")
    assert find(folder, base_model="another").base == "another"


def test_a_name_on_the_hub_stays_one(tmp_path: Path) -> None:
    assert find(adapter(tmp_path)).base == "owner/name"


@pytest.mark.parametrize(
    ("settings", "quantized"), [({"quantize": True}, True), ({"quantize": False}, False), (None, None)]
)
def test_how_it_was_trained_is_read_from_beside_or_above(
    tmp_path: Path, settings: dict[str, bool] | None, quantized: bool | None
) -> None:
    folder = checkpoint(tmp_path, 5)
    if settings is not None:
        (tmp_path / "training_config.json").write_text(json.dumps({"settings": settings}))
    assert find(folder).quantized is quantized


def test_a_whole_model_is_no_adapter(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert not find(tmp_path).adapter


def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    cases = {
        tmp_path / "nowhere": "is not there",
        tmp_path / "file": "is a file",
        tmp_path / "empty": "holds no adapter",
        adapter(tmp_path / "gone", base="/no/such/model"): "say where that model is now with --base-model",
        adapter(tmp_path / "mute", base=""): "give --base-model",
        adapter(tmp_path / "torn", content=b"\x40\0\0\0"): "cannot be used",
    }
    for path, words in cases.items():
        with pytest.raises(UsageError, match=words):
            find(path)
