"""Checkpoints of every trainer in the table: which step they are of, when they are whole, and that they are kept."""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from smartmon.snapshots import layout_step
from smartmon.snapshots.copying import Copier
from smartmon.snapshots.layout_table import UNKNOWN, is_model_file
from smartmon.snapshots.layouts import Looks, Readiness, checkpoint_steps, find_checkpoints
from smartmon.snapshots.restore import restore
from tests.e2e.trainer import GOOD, Trainer
from tests.e2e.trainers import TRAINERS
from tests.snapshots.trainer import NOW, World
from tests.snapshots.trainers import lightning, nanogpt, torch_save, weights, write_megatron, write_nanochat

Write = Callable[[Path], object]


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fill(path: Path) -> Path:
    """A folder with one whole file in it."""
    return put(path / "model.pt", torch_save(weights())).parent


def look(run: Path, step: int, looks: Looks | None = None, now: float = NOW) -> tuple[Readiness, str]:
    """How a checkpoint looks the second time."""
    looks = looks or Looks(2.0)
    (checkpoint,) = [one for one in find_checkpoints(run) if one.step == step]
    looks.at(checkpoint, now)
    found = looks.at(checkpoint, now + 2)
    return found.readiness, found.problem


NAMED: dict[str, tuple[str, str, int]] = {
    "checkpoints/epoch=3-step=1200.ckpt": ("lightning_step", "file", 1200),
    "checkpoints/epoch=3-step=1200-v1.ckpt": ("lightning_step", "file", 1200),
    "checkpoints/step=1000.ckpt": ("lightning_step", "file", 1000),
    "checkpoints/gpt-epoch=03-step=77-val_loss=0.12.ckpt": ("lightning_step", "file", 77),
    "epoch=0-step=12.ckpt": ("lightning_folder", "folder", 12),
    "state_step001390.pt": ("modded_nanogpt", "file", 1390),
    "step_400": ("torchtune", "folder", 400),
    "checkpoint/step-500": ("torchtitan", "folder", 500),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_step_in_the_name_is_the_checkpoints(tmp_path: Path, name: str):
    layout, kind, step = NAMED[name]
    fill(tmp_path / name) if kind == "folder" else put(tmp_path / name, torch_save({"global_step": 5}))
    (found,) = find_checkpoints(tmp_path)
    assert (found.layout, found.step) == (layout, step)
    assert look(tmp_path, step) == (Readiness.READY, "")


INSIDE: dict[str, tuple[bytes, str, int]] = {
    "checkpoints/last.ckpt": (lightning(4000), "lightning", 4000),
    "checkpoints/last-v2.ckpt": (lightning(70), "lightning", 70),
    "checkpoints/model-epoch=03-val_loss=0.12.ckpt": (lightning(2**33), "lightning", 2**33),
    "checkpoints/best.ckpt": (lightning(250), "lightning_named", 250),
    "ckpt.pt": (nanogpt(0), "nanogpt", 0),
    "out/ckpt.pt": (nanogpt(70_000), "nanogpt", 70_000),
    "weights/last.pt": (torch_save({"epoch": 7, "model": weights()}, name="last"), "yolo", 8),
    "weights/best.pt": (torch_save({"epoch": 0, "model": weights()}, name="best"), "yolo", 1),
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_step_that_only_the_file_tells_is_read_in_it(tmp_path: Path, name: str):
    data, layout, step = INSIDE[name]
    put(tmp_path / name, data)
    (found,) = find_checkpoints(tmp_path)
    assert (found.layout, found.step) == (layout, step)
    assert look(tmp_path, step) == (Readiness.READY, "")


@pytest.mark.parametrize("name", ["v1-5-pruned.ckpt", "best.pt", "last.pt", "model.pt", "weights/yolo11n.pt"])
def test_a_model_that_the_run_began_from_is_no_checkpoint(tmp_path: Path, name: str):
    put(tmp_path / name, torch_save({"global_step": 470_000, "epoch": 5}))
    assert find_checkpoints(tmp_path) == []


def test_where_config_says_that_checkpoints_are_any_place_will_do(tmp_path: Path):
    put(tmp_path / "else" / "best.ckpt", lightning(250))
    put(tmp_path / "else" / "last.pt", torch_save({"epoch": 1}))
    assert [one.step for one in find_checkpoints(tmp_path, tmp_path / "else")] == [2, 250]


def test_a_link_to_the_last_checkpoint_is_no_second_one(tmp_path: Path):
    first = put(tmp_path / "checkpoints" / "epoch=0-step=9.ckpt", lightning(9))
    (first.parent / "last.ckpt").symlink_to(first.name)
    assert [one.path for one in find_checkpoints(tmp_path)] == [first]


@pytest.mark.parametrize(
    "name",
    [*("model_000100.pt", "model_00000100.bin", "state_step001390.pt", "ckpt.pt"), "epoch=1-step=2.ckpt", "last.ckpt"],
)
def test_a_checkpoint_is_no_file_of_the_model(name: str):
    assert not is_model_file(name)
    assert is_model_file("model.pt")


class TestStepInAPickle:
    """Only opcodes are looked at; what cannot be told for certain is not told."""

    @pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
    @pytest.mark.parametrize("step", [0, 1, 300, 70_000, 2**40])
    def test_every_protocol_is_understood(self, protocol: int, step: int):
        data = pickle.dumps({"model": weights(), "iter_num": step, "b": 3}, protocol=protocol)
        assert layout_step.number_of(data, ("iter_num",)) == step

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_a_key_that_comes_again_by_its_number_is_known(self, protocol: int):
        key = "iter_num"
        data = pickle.dumps([weights(), {key: "unknown"}, {key: 12}], protocol=protocol)
        assert layout_step.number_of(data, (key,)) == 12

    @pytest.mark.parametrize(
        "content",
        [
            *({"iter_num": -1}, {"iter_num": 1.5}, {"iter_num": None}, {"iter_num": True}, {"iter_num": 10**19}),
            *({"iter_num": (4,)}, {"iter_num": (4, 5)}, {"iter_num": [4]}, {"other": 4}, {"a": "iter_num"}),
        ],
    )
    def test_anything_but_a_whole_number_is_unknown(self, content: object):
        assert layout_step.number_of(pickle.dumps(content, protocol=2), ("iter_num",)) is None

    @pytest.mark.parametrize("cut", range(0, 400, 7))
    def test_a_torn_pickle_tells_the_step_or_nothing(self, cut: int):
        data = pickle.dumps({"model": weights(2), "iter_num": 12}, protocol=2)
        assert layout_step.number_of(data[:cut], ("iter_num",)) in (None, 12)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("seed", range(100))
    def test_noise_is_no_step(self, seed: int):
        noise = random.Random(seed).randbytes(2000)
        assert layout_step.number_of(b"\x80\x02}" + noise + b"iter_num", ("iter_num",)) is None

    def test_nothing_is_ever_unpickled(self, tmp_path: Path):
        class Evil:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(tmp_path / "pwned"),)

        put(tmp_path / "ckpt.pt", torch_save({"model": Evil(), "iter_num": 5}))
        assert [one.step for one in find_checkpoints(tmp_path)] == [5]
        assert not (tmp_path / "pwned").exists()

    def test_a_file_that_stays_is_looked_through_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        scans: list[int] = []
        number_of = layout_step.number_of
        monkeypatch.setattr(
            layout_step, "number_of", lambda data, keys: scans.append(len(data)) or number_of(data, keys)
        )
        path = put(tmp_path / "ckpt.pt", nanogpt(5))
        for _ in range(3):
            assert [one.step for one in find_checkpoints(tmp_path)] == [5]
        assert len(scans) == 1
        path.write_bytes(nanogpt(6, size=300))
        assert [one.step for one in find_checkpoints(tmp_path)] == [6]

    def test_a_pickle_longer_than_the_bound_is_given_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(layout_step, "MOST", 500)
        put(tmp_path / "ckpt.pt", nanogpt(5))
        assert [one.step for one in find_checkpoints(tmp_path)] == [UNKNOWN]

    def test_a_packed_archive_is_not_unpacked(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "ckpt.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("ckpt/data.pkl", pickle.dumps({"iter_num": 5}, protocol=2))
        assert [one.step for one in find_checkpoints(tmp_path)] == [UNKNOWN]


class TestWhole:
    """A checkpoint that is being written is known as such."""

    def test_a_torn_zip_is_not_copied(self, tmp_path: Path):
        data = lightning(30)
        path = put(tmp_path / "checkpoints" / "epoch=0-step=30.ckpt", data)
        for cut in (0, 3, 40, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:cut])
            assert look(tmp_path, 30)[0] is Readiness.INCOMPLETE
        path.write_bytes(data)
        assert look(tmp_path, 30) == (Readiness.READY, "")

    def test_a_file_being_rewritten_has_no_step_and_is_no_checkpoint_yet(self, tmp_path: Path):
        path = put(tmp_path / "ckpt.pt", nanogpt(30))
        path.write_bytes(b"PK\x03\x04")
        readiness, problem = look(tmp_path, UNKNOWN)
        assert readiness is Readiness.INCOMPLETE
        assert "cut off" in problem

    def test_a_file_that_tells_no_step_is_never_taken_for_one(self, tmp_path: Path):
        put(tmp_path / "ckpt.pt", torch_save({"model": weights()}))
        assert look(tmp_path, UNKNOWN) == (Readiness.INCOMPLETE, "no step can be read in it")

    @pytest.mark.parametrize(
        ("marker", "words"),
        [(None, "there is no latest"), ("50", "is still at 50"), ("release", "names no step"), ("", "names no step")],
    )
    def test_megatrons_folder_waits_for_the_marker(self, tmp_path: Path, marker: str | None, words: str):
        write_megatron(tmp_path, 100, marker=False)
        if marker is not None:
            (tmp_path / "latest_checkpointed_iteration.txt").write_text(marker)
        readiness, problem = look(tmp_path, 100)
        assert readiness is Readiness.INCOMPLETE
        assert words in problem

    def test_the_marker_alone_makes_it_whole(self, tmp_path: Path):
        """Nothing in the folder moves any more when the marker is written."""
        write_megatron(tmp_path, 100, marker=False)
        looks = Looks(2.0)
        assert look(tmp_path, 100, looks)[0] is Readiness.INCOMPLETE
        (tmp_path / "latest_checkpointed_iteration.txt").write_text("100\n")
        assert look(tmp_path, 100, looks, NOW + 9) == (Readiness.READY, "")

    @pytest.mark.parametrize(("name", "content"), [("global_step100", "global_step100"), ("global_step_100", "100")])
    def test_deepspeed_and_verl_have_markers_too(self, tmp_path: Path, name: str, content: str):
        fill(tmp_path / name)
        assert look(tmp_path, 100)[0] is Readiness.INCOMPLETE
        marker = "latest" if name == "global_step100" else "latest_checkpointed_iteration.txt"
        (tmp_path / marker).write_text(content)
        assert look(tmp_path, 100) == (Readiness.READY, "")

    def test_shards_without_their_metadata_are_not_whole(self, tmp_path: Path):
        (write_megatron(tmp_path, 100) / ".metadata").unlink()
        assert "no .metadata yet" in look(tmp_path, 100)[1]

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda place: (place / "meta_000100.json").unlink(), "no meta file"),
            (lambda place: (place / "meta_000100.json").write_text('{"step": 1'), "cannot be read yet"),
            (lambda place: (place / "meta_000100.json").write_text('{"step": 90}'), "is of step 90"),
            (lambda place: (place / "optim_000100_rank0.pt").unlink(), "shard of rank 0"),
            (lambda place: (place / "optim_000100_rank1.pt").write_bytes(torch_save({})[:-9]), "cut off"),
            (lambda place: (place / "model_000100.pt").write_bytes(torch_save({})[:-9]), "cut off"),
        ],
    )
    def test_nanochats_files_are_whole_together(self, tmp_path: Path, damage: Write, words: str):
        write_nanochat(tmp_path, 100)
        assert look(tmp_path, 100) == (Readiness.READY, "")
        damage(tmp_path)
        readiness, problem = look(tmp_path, 100)
        assert readiness is Readiness.INCOMPLETE
        assert words in problem

    def test_nanochats_steps_are_apart(self, tmp_path: Path):
        write_nanochat(tmp_path, 100)
        write_nanochat(tmp_path, 200, ranks=1)
        names = [sorted(file.name for file in one.files) for one in find_checkpoints(tmp_path)]
        assert [len(one) for one in names] == [4, 3]
        assert all("000200" in name for name in names[1])

    def test_llmc_writes_a_file_when_it_is_done(self, tmp_path: Path):
        for name in ("model_00000100.bin", "state_00000100_00000.bin", "state_00000100_00001.bin"):
            put(tmp_path / name, b"weights")
        assert look(tmp_path, 100) == (Readiness.INCOMPLETE, "there is no DONE file yet")
        put(tmp_path / "DONE_00000100", b"")
        assert look(tmp_path, 100) == (Readiness.READY, "")
        assert len(find_checkpoints(tmp_path)[0].files) == 4


def files(paths: list[Path]) -> dict[str, bytes]:
    """Every file at or below the paths, by its path from where the checkpoint lies."""
    found = [(path.parent, file) for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return {str(file.relative_to(place)): file.read_bytes() for place, file in found if file.is_file()}


KEPT: dict[str, tuple[Callable[[Path, int], Path], str]] = {
    "lightning": (
        lambda base, step: put(base / "checkpoints" / f"epoch=1-step={step}.ckpt", lightning(step)),
        "epoch=1-step=100.ckpt",
    ),
    "lightning last": (lambda base, step: put(base / "checkpoints" / "last.ckpt", lightning(step)), "last.ckpt"),
    "megatron": (lambda base, step: write_megatron(base / "checkpoints", step), "iter_0000100"),
    "nanogpt": (lambda base, step: put(base / "out" / "ckpt.pt", nanogpt(step)), "ckpt.pt"),
    "nanochat": (write_nanochat, "m*_000100.*"),
}


@pytest.mark.parametrize("trainer", KEPT)
def test_a_snapshot_holds_the_checkpoint_and_gives_it_back(world: World, tmp_path: Path, trainer: str):
    write, name = KEPT[trainer]
    write(world.base, 50)
    path = write(world.base, 100)
    wanted = files([*path.parent.glob("*_000100*" if trainer == "nanochat" else name)])
    keep = world.ask(110, severity="info")
    world.work()
    assert world.keep(keep).state == "done"
    told = world.only.metadata
    assert (told["checkpoint_step"], told["checkpoint_age_steps"], told["state"]) == (100, 10, "ok")
    assert [one["path"] for one in told["checkpoints"]] == [str(path)]
    assert world.only.problem == ""
    out = restore(world.only, tmp_path / "back", checkpoint_only=True)
    assert [place.name for place in out.checkpoints] == [path.name]
    assert files([*(tmp_path / "back").iterdir()]) == wanted


def test_the_last_good_one_of_lightning_is_kept_beside_the_newest(world: World):
    for step in (50, 80, 100):
        put(world.base / "checkpoints" / f"epoch=0-step={step}.ckpt", lightning(step))
    put(world.base / "checkpoints" / "last.ckpt", lightning(100))
    world.ask(100, onset_step=75)
    world.work()
    assert world.only.metadata["last_good_checkpoint_step"] == 50
    assert "epoch=0-step=50.ckpt" in {path.name for path in (world.only.path / "model").iterdir()}


def test_lightning_deleting_the_one_before_after_each_save_tears_nothing(world: World):
    """It saves the new one, then removes the old one, while the old one is wanted."""
    place = world.base / "checkpoints"
    old = put(place / "epoch=0-step=100.ckpt", lightning(100))
    keep = world.ask(100, "best_model_loss_0.5", severity="info")
    world.work(1)
    put(place / "epoch=0-step=200.ckpt", lightning(200)[:-20])
    world.work(3)
    old.unlink()
    world.work(1)
    assert world.keep(keep).state == "done"
    assert world.only.checkpoint_step == 100


def test_a_checkpoint_rewritten_in_place_during_the_copy_is_copied_anew(world: World, monkeypatch: pytest.MonkeyPatch):
    """The file that is held open is the very one that the trainer writes to: to pin it is not enough."""
    path = put(world.base / "out" / "ckpt.pt", nanogpt(100, size=5000))
    after = nanogpt(200, size=5000)
    writes = [lambda: path.write_bytes(after)]
    copy = Copier.copy

    def rewriting(self: Copier, source: int, target: int, size: int) -> str:
        method = copy(self, source, target, size)
        while writes:
            writes.pop()()
        return method

    monkeypatch.setattr(Copier, "copy", rewriting)
    inode = path.stat().st_ino
    world.ask(110, severity="info")
    world.work(20)
    assert path.stat().st_ino == inode
    assert world.only.checkpoint_step == 200
    assert (world.only.path / "model" / "ckpt.pt").read_bytes() == after


def test_a_checkpoint_being_rewritten_is_waited_for(world: World):
    whole = nanogpt(100)
    path = put(world.base / "ckpt.pt", b"PK\x03\x04" + whole[4:20])
    keep = world.ask(100, severity="info")
    world.work(5)
    assert world.snapshots == []
    assert "ckpt.pt is being written: it is" in world.keep(keep).note
    path.write_bytes(whole)
    world.work(10)
    assert world.only.checkpoint_step == 100


def test_an_in_place_file_is_copied_even_where_links_are_allowed(world: World):
    world.renew(**{"snapshots.hard_links": True})
    path = put(world.base / "checkpoints" / "last.ckpt", lightning(100))
    before = path.read_bytes()
    world.ask(100, severity="info")
    world.work()
    path.write_bytes(lightning(200))
    assert (world.only.path / "model" / "last.ckpt").read_bytes() == before
    assert "hard_link" not in world.only.metadata["copy_method"]


def test_a_rewritten_file_is_another_checkpoint_for_the_next_snapshot(world: World):
    path = put(world.base / "ckpt.pt", nanogpt(100))
    world.ask(100, severity="info")
    world.work()
    path.write_bytes(nanogpt(200))
    world.ask(200, severity="info")
    world.work()
    first, second = world.snapshots
    assert (first.checkpoint_step, second.checkpoint_step) == (100, 200)
    assert (first.path / "model" / "ckpt.pt").read_bytes() != (second.path / "model" / "ckpt.pt").read_bytes()


def test_an_unfinished_folder_of_megatron_gives_way_to_the_one_before(world: World):
    write_megatron(world.base / "checkpoints", 50)
    write_megatron(world.base / "checkpoints", 100, marker=False)
    world.ask(100, severity="info")
    world.work()
    assert world.only.checkpoint_step == 50


@pytest.mark.parametrize("kind", TRAINERS, ids=lambda kind: kind.__name__)
def test_the_steps_alone_are_those_of_the_checkpoints(tmp_path: Path, kind: type[Trainer]):
    trainer = kind(tmp_path)
    trainer.play(GOOD)
    said = {"d20": trainer.folder / "base_checkpoints" / "d20", "grpo": tmp_path / "verl" / "checkpoints"}.get(
        kind.named
    )
    found = {each.step for each in find_checkpoints(trainer.folder, said)}
    assert checkpoint_steps(trainer.folder, said) == found
    assert bool(found) == bool(kind.saves)
