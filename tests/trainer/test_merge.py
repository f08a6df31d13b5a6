"""Merging writes what the trained model was, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smartmon.errors import TrainingError, UsageError
from smartmon.trainer.finding import Found, find
from smartmon.trainer.merge import merge
from tests.trainer.adapters import make_adapter, make_checkpoint


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of an adapter of a model in 4 bits, and the model that it was trained in."""
    folder = tmp_path_factory.mktemp("adapter")
    return folder, make_adapter(folder, tiny_model, modules_to_save=("lm_head",))


@pytest.fixture(scope="module")
def merged(trained: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return merge(find(trained[0]), tmp_path_factory.mktemp("out") / "merged").folder


def logits(model: Any) -> Any:
    import torch

    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.arange(3, 43)[None]).logits


def read(folder: Path) -> Any:
    """Read a model as any program does."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def test_it_answers_as_the_model_in_four_bits_did(trained: tuple[Path, Any], merged: Path) -> None:
    difference = (logits(read(merged)) - logits(trained[1])).abs().max()
    assert float(difference) < 1e-4


def test_the_original_weights_would_answer_otherwise(trained: tuple[Path, Any], tmp_path: Path) -> None:
    done = merge(find(trained[0]), tmp_path / "merged", base="original")
    assert (done.base, done.why) == ("original", "as asked")
    assert float((logits(read(tmp_path / "merged")) - logits(trained[1])).abs().max()) > 1e-2


def test_plain_transformers_loads_it_and_generates(merged: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(merged), read(merged)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 1 plus 2?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    said = model.generate(**asked, max_new_tokens=5, do_sample=False)
    assert said.shape[1] > asked["input_ids"].shape[1]
    assert model.config.use_cache
    assert not (merged / "adapter_config.json").exists()


def test_everyone_who_may_read_the_folder_may_read_the_weights(merged: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in merged.iterdir()}
    assert set(modes.values()) == {merged.stat().st_mode & 0o666}


def test_it_says_where_the_weights_come_from(trained: tuple[Path, Any], merged: Path, tiny_model: Path) -> None:
    told = json.loads((merged / "smartmon_merge.json").read_text())
    assert {"adapter": str(trained[0]), "base_model": str(tiny_model), "base": "dequantized"}.items() <= told.items()


def test_an_adapter_that_learned_on_the_full_weights_is_added_to_them(tiny_model: Path, tmp_path: Path) -> None:
    model = make_adapter(tmp_path / "adapter", tiny_model, quantize=False)
    done = merge(find(tmp_path / "adapter"), tmp_path / "merged")
    assert (done.base, done.dtype, done.files) == ("original", "float32", 7)
    assert float((logits(read(done.folder)) - logits(model)).abs().max()) < 1e-4


def test_another_type_is_written_where_asked(trained: tuple[Path, Any], tmp_path: Path) -> None:
    import torch

    merge(find(trained[0]), tmp_path / "merged", dtype="bfloat16")
    assert {weight.dtype for weight in read(tmp_path / "merged").parameters()} == {torch.bfloat16}


def test_a_checkpoint_in_a_snapshot_is_merged_too(trained: tuple[Path, Any], merged: Path, tmp_path: Path) -> None:
    kept = tmp_path / "snapshots" / "anomaly_20251112_143022_best_model_loss_0.6321"
    make_checkpoint(kept / "model", 400, trained[0])
    (kept / "metadata.json").write_text("{}")
    done = merge(find(kept), tmp_path / "merged", base="dequantized")
    assert float((logits(read(done.folder)) - logits(read(merged))).abs().max()) < 1e-6


def test_a_folder_that_holds_something_is_refused(trained: tuple[Path, Any], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(UsageError, match="holds something"):
        merge(find(trained[0]), tmp_path / "out")
    with pytest.raises(UsageError, match="inside the adapter's own folder"):
        merge(find(trained[0]), trained[0] / "merged")


def test_a_broken_adapter_leaves_nothing_behind(trained: tuple[Path, Any], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "adapter").mkdir()
    broken = make_checkpoint(tmp_path / "adapter", 7, trained[0])
    weights = load_file(broken / "adapter_model.safetensors")
    save_file({name: weight * float("nan") for name, weight in weights.items()}, broken / "adapter_model.safetensors")
    with pytest.raises(TrainingError, match="holds NaN, so nothing was written"):
        merge(find(broken), tmp_path / "merged", base="original")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_what_a_killed_merge_left_goes_and_what_another_writes_stays(tmp_path: Path) -> None:
    from smartmon.trainer.merge import _staged

    dead, other = tmp_path / f".out.partial-{'0' * 32}", tmp_path / f".another.partial-{'1' * 32}"
    for folder in (dead, other):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    with _staged(tmp_path / "out") as alive, _staged(tmp_path / "out-2") as second:
        with _staged(tmp_path / "out"):
            assert not dead.exists()
            assert other.exists()
            assert alive.exists()
            assert second.exists()
        (alive / "kept").touch()
        (tmp_path / "out").rmdir()
    assert (tmp_path / "out" / "kept").exists()


def test_a_whole_model_has_nothing_to_merge(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="whole model already"):
        merge(Found(tiny_model, adapter=False), tmp_path / "out")
