from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from smartmon.trainer import checkpoints


def make(output: Path, step: int, *, ranks: int = 1) -> Path:
    """Write a whole checkpoint, as far as its outside tells."""
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(8)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_text("{}")
    random = ["rng_state.pth"] if ranks == 1 else [f"rng_state_{rank}.pth" for rank in range(ranks)]
    for name in ["optimizer.pt", "scheduler.pt", *random]:
        with zipfile.ZipFile(folder / name, "w") as file:
            file.writestr("data", "x" * 100)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


def cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        os.truncate(path, path.stat().st_size // 2)

    return change


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def of_another_step(folder: Path) -> None:
    (folder / "trainer_state.json").write_text('{"global_step": 7}')


def marked(folder: Path) -> None:
    (folder / "checkpoint-is-incomplete.txt").touch()


TORN: list[tuple[Callable[[Path], None], str]] = [
    (emptied, "there is no trainer_state.json yet"),
    (without("trainer_state.json"), "there is no trainer_state.json yet"),
    (cut("trainer_state.json"), "trainer_state.json cannot be read yet"),
    (of_another_step, "trainer_state.json is of step 7"),
    (marked, "its trainer marks it as incomplete"),
    (without("adapter_model.safetensors"), "the weights are missing"),
    (cut("adapter_model.safetensors"), "adapter_model.safetensors is cut off"),
    (without("optimizer.pt"), "optimizer.pt is missing"),
    (cut("optimizer.pt"), "optimizer.pt is cut off: the end of its archive is missing"),
    (without("scheduler.pt"), "scheduler.pt is missing"),
    (cut("scheduler.pt"), "scheduler.pt is cut off: the end of its archive is missing"),
    (without("rng_state.pth"), "rng_state.pth is missing"),
    (cut("rng_state.pth"), "rng_state.pth is cut off: the end of its archive is missing"),
]


def test_a_whole_checkpoint_has_no_problem(tmp_path: Path) -> None:
    assert checkpoints.problem(make(tmp_path, 10)) == ""


@pytest.mark.parametrize(("tear", "words"), TORN)
def test_a_torn_checkpoint_is_passed_over_and_named(tmp_path: Path, tear: Callable[[Path], None], words: str) -> None:
    good, torn = make(tmp_path, 10), make(tmp_path, 20)
    tear(torn)
    assert checkpoints.newest_verified(tmp_path) == (good, [(torn, words)])


def test_every_process_of_a_training_must_have_saved_its_random_numbers(tmp_path: Path) -> None:
    folder = make(tmp_path, 10, ranks=2)
    assert checkpoints.problem(folder, world_size=2) == ""
    assert checkpoints.problem(folder, world_size=3) == "rng_state_2.pth is missing"
    (folder / "rng_state_0.pth").unlink()
    assert checkpoints.problem(folder) == "rng_state_0.pth is missing"


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for step in (1000, 20, 300):
        make(tmp_path, step)
    assert checkpoints.newest_verified(tmp_path)[0] == tmp_path / "checkpoint-1000"


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    assert checkpoints.newest_verified(tmp_path / "absent") == (None, [])
    assert checkpoints.problem(tmp_path / "checkpoint-5") == "it is not there"


def test_pruning_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40, 50):
        make(tmp_path, step)
    removed = checkpoints.prune(tmp_path, 2, protect=[20])
    assert [path.name for path in removed] == ["checkpoint-10", "checkpoint-30"]
    assert [path.name for path in checkpoints.find(tmp_path)] == ["checkpoint-20", "checkpoint-40", "checkpoint-50"]


def test_pruning_never_counts_a_torn_checkpoint_as_a_good_one(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        make(tmp_path, step)
    for step in (20, 30):
        without("optimizer.pt")(tmp_path / f"checkpoint-{step}")
    assert checkpoints.prune(tmp_path, 1) == []
    assert len(checkpoints.find(tmp_path)) == 3


def test_pruning_leaves_the_checkpoints_that_stay_untouched(tmp_path: Path) -> None:
    kept = [make(tmp_path, step) for step in (10, 20, 30)][1:]
    before = [path.stat().st_mtime_ns for path in kept]
    checkpoints.prune(tmp_path, 2)
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_a_deletion_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    make(tmp_path, 10).rename(tmp_path / ".trash-10")
    checkpoints.empty_trash(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_set_aside_keeps_its_name_and_is_no_longer_found(tmp_path: Path) -> None:
    make(tmp_path, 10)
    first = checkpoints.set_aside(tmp_path, checkpoints.find(tmp_path))
    make(tmp_path, 10)
    second = checkpoints.set_aside(tmp_path, checkpoints.find(tmp_path))
    assert first is not None
    assert second is not None
    assert first != second
    assert all(checkpoints.problem(place / "checkpoint-10") == "" for place in (first, second))
    assert checkpoints.find(tmp_path) == []


def test_settling_reaches_nested_folders(tmp_path: Path) -> None:
    folder = make(tmp_path, 10)
    (folder / "optimizer_0").mkdir()
    (folder / "optimizer_0" / "part").write_bytes(b"x")
    checkpoints.settle(folder)
    assert checkpoints.problem(folder) == ""


def test_only_trash_of_ours_is_emptied(tmp_path: Path) -> None:
    for name in (".trash-20", ".trash-of-mine"):
        (tmp_path / name).mkdir()
    checkpoints.empty_trash(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".trash-of-mine"]
