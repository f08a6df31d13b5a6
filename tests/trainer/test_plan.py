"""The plan of a training: read from its rows and its model's configuration, at 80 columns and as JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartmon.cli import main
from smartmon.errors import DataError
from smartmon.trainer.settings import TrainSettings

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")

from smartmon.trainer import memory
from smartmon.trainer.plan import Plan, plan


@pytest.fixture
def planned(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> Callable[..., Plan]:
    """A function that plans a training of 400 rows of the tiny model, without packing."""

    def make(**changes: Any) -> Plan:
        given: dict[str, Any] = {"dataset": tiny_data, "model": str(tiny_model), "base_dir": tmp_path}
        return plan(TrainSettings(**(given | {"packing": "off"} | changes)))

    return make


def test_steps_are_those_that_the_training_will_take(planned: Callable[..., Plan]) -> None:
    made = planned(epochs=3, batch_size=8, grad_accum=2)
    rows = len(made.feed.rows)
    assert rows == 380  # 5 % of 400 are kept for evaluation
    assert (made.steps.per_epoch, made.steps.total) == (24, 72)


def test_packing_is_foreseen_where_it_pays(planned: Callable[..., Plan]) -> None:
    made = planned(packing="on", batch_size=32)
    assert made.steps.packed is not None
    assert "packed if the model keeps them apart" in " ".join(" ".join(made.lines()).split())


def test_checkpoints_are_counted_and_weighed(planned: Callable[..., Plan]) -> None:
    disk = planned(max_steps=450, save_steps=200, save_total_limit=2).disk
    assert disk.written == 3
    assert disk.needed == 4 * disk.checkpoint
    assert disk.checkpoint > 12 * 38_912  # weights and two moments in float32


def test_it_says_what_is_there_in_80_columns(planned: Callable[..., Plan], tiny_model: Path) -> None:
    lines = planned().lines()
    names = {line[:12].strip() for line in lines} - {""}
    assert names == {"model", "device", "arithmetic", "data", "steps", "memory", "chosen", "disk", "verdict"}
    assert all(len(line) <= 80 for line in lines if str(tiny_model) not in line and ".jsonl" not in line)
    assert "164,160 parameters, 38,912 trained (24 %)" in "\n".join(lines)
    assert lines[-1].startswith("verdict     fits: about")


def test_what_does_not_fit_comes_with_what_would(planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = planned(batch_size=64, gradient_checkpointing="on")
    monkeypatch.setattr(memory, "free_memory", lambda _device: whole.estimate.total)
    made = planned(batch_size=64, gradient_checkpointing="on")
    assert not made.fits
    assert made.verdict.startswith("does not fit: about")
    assert "--batch-size 32 --grad-accum 2" in made.try_instead
    smaller = planned(batch_size=32, grad_accum=2, gradient_checkpointing="on")
    assert smaller.fits


def test_what_never_fits_says_so(planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _device: 1_000_000)
    assert "take a smaller model" in planned().verdict


def test_bad_rows_are_refused_as_the_training_would(planned: Callable[..., Plan], tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError):
        planned(dataset=tmp_path / "empty.jsonl")


def test_no_weight_is_read(planned: Callable[..., Plan], tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    assert planned(model=str(tmp_path / "bare")).estimate.shape.parameters == 164_160


def test_the_command_prints_it_and_trains_nothing(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--plan", "--dataset", str(tiny_data), "--model", str(tiny_model), "--base-dir", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    assert ended.value.code in (None, 0)
    told = json.loads(capsys.readouterr().out)
    assert told["model"]["trained"] == 38_912
    assert told["fits"] is True
    assert told["memory"]["bytes"] == sum(part["bytes"] for part in told["memory"]["parts"])
    assert list(tmp_path.iterdir()) == []
