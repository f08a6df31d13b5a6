"""A checkpoint is whole, or what it lacks is said in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from smartmon.snapshots.layouts import Looks, Readiness, find_checkpoints
from tests.snapshots.trainer import NOW, safetensors, torch_zip, write_checkpoint

SHARD = "model-00001-of-00002.safetensors"

BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no state": (lambda path: (path / "trainer_state.json").unlink(), "no trainer_state.json"),
    "half a state": (lambda path: (path / "trainer_state.json").write_text('{"global_st'), "cannot be read"),
    "deep state": (lambda path: (path / "trainer_state.json").write_text("[" * 100_000), "cannot be read"),
    "another step": (lambda path: (path / "trainer_state.json").write_text('{"global_step": 9}'), "step 9"),
    "marked": (lambda path: (path / "checkpoint-is-incomplete.txt").touch(), "incomplete"),
    "missing shard": (lambda path: (path / SHARD).unlink(), "missing"),
    "cut shard": (lambda path: (path / SHARD).write_bytes(safetensors()[:-1]), "cut off"),
    "long shard": (lambda path: (path / SHARD).write_bytes(safetensors() + b"x"), "cut off"),
    "five bytes": (lambda path: (path / SHARD).write_bytes(b"12345"), "cut off"),
    "huge header": (lambda path: (path / SHARD).write_bytes((2**60).to_bytes(8, "little") + b"{}"), "cut off"),
    "no header": (lambda path: (path / SHARD).write_bytes((4).to_bytes(8, "little") + b"nope"), "no valid header"),
    "empty weights": (lambda path: (path / SHARD).write_bytes(b""), "is empty"),
    "zip without tail": (lambda path: (path / "optimizer.pt").write_bytes(torch_zip()[:-5]), "cut off"),
    "torn rank file": (
        lambda path: next(path.glob("global_step*/*.pt")).write_bytes(torch_zip()[:-30]),
        "cut off",
    ),
    "half an index": (lambda path: (path / "model.safetensors.index.json").write_text("{"), "cannot be read"),
}


def looked_at(place: Path, step: int = 100) -> tuple[Readiness, str]:
    """How a checkpoint looks the second time."""
    looks = Looks(2.0)
    (checkpoint,) = [one for one in find_checkpoints(place) if one.step == step]
    looks.at(checkpoint, NOW)
    found = looks.at(checkpoint, NOW + 2)
    return found.readiness, found.problem


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_whole_is_not_copied(tmp_path: Path, name: str):
    damage, words = BROKEN[name]
    damage(write_checkpoint(tmp_path, 100))
    readiness, problem = looked_at(tmp_path)
    assert readiness is Readiness.INCOMPLETE
    assert words in problem


@pytest.mark.parametrize(
    "add",
    [
        lambda path: (path / "scheduler.pt").write_bytes(b"\x80\x02old pickle"),
        lambda path: (path / "empty.txt").touch(),
        lambda path: (path / "trainer_state.json").write_text('{"global_step": 100, "best_metric": Infinity}'),
    ],
)
def test_what_is_whole_in_another_way_is_copied(tmp_path: Path, add: Callable[[Path], object]):
    add(write_checkpoint(tmp_path, 100))
    assert looked_at(tmp_path) == (Readiness.READY, "")


def test_a_long_state_is_judged_by_its_ends(tmp_path: Path):
    path = write_checkpoint(tmp_path, 100) / "trainer_state.json"
    state = {"global_step": 100, "log_history": [{"loss": 1.0, "step": step} for step in range(200_000)]}
    text = json.dumps(state, indent=2, sort_keys=True) + "\n"
    assert len(text) > 8 << 20
    path.write_text(text)
    assert looked_at(tmp_path) == (Readiness.READY, "")
    path.write_text(text[:-3])
    assert looked_at(tmp_path)[0] is Readiness.INCOMPLETE


def test_two_looks_must_agree(tmp_path: Path):
    path = write_checkpoint(tmp_path, 100)
    (checkpoint,) = find_checkpoints(tmp_path)
    looks = Looks(2.0)
    assert looks.at(checkpoint, NOW).readiness is Readiness.SETTLING
    assert looks.at(checkpoint, NOW + 1.9).readiness is Readiness.SETTLING
    (path / "rng_state_1.pth").write_bytes(torch_zip())
    assert looks.at(checkpoint, NOW + 2.1).readiness is Readiness.SETTLING
    assert looks.at(checkpoint, NOW - 3600).readiness is Readiness.SETTLING
    assert looks.at(checkpoint, NOW - 3598).readiness is Readiness.READY


def test_steps_are_numbers_and_other_names_are_none(tmp_path: Path):
    for name in ("checkpoint-10", "checkpoint-9", "checkpoint-", "checkpoint-1e9", "tmp-checkpoint-11", "checkpoint-٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-12").symlink_to(tmp_path / "checkpoint-9")
    assert [one.step for one in find_checkpoints(tmp_path)] == [9, 10]


def test_config_may_say_where_checkpoints_are(tmp_path: Path):
    write_checkpoint(tmp_path / "elsewhere", 7)
    write_checkpoint(tmp_path / "run", 8)
    assert [one.step for one in find_checkpoints(tmp_path / "run", tmp_path / "elsewhere")] == [7]


def test_a_folder_too_deep_is_not_descended_for_ever(tmp_path: Path):
    path = write_checkpoint(tmp_path, 100)
    path.joinpath(*["deep"] * 50).mkdir(parents=True)
    looks = Looks(0.0)
    (checkpoint,) = find_checkpoints(tmp_path)
    assert "nested deeper" in looks.at(checkpoint, NOW).listing.skipped[0].why
