"""What happens to a checkpoint while it is copied must not show: a snapshot is whole, or it is not there."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from smartmon.records import SnapshotState
from smartmon.snapshots import digests, folder
from smartmon.snapshots.copying import Copier
from tests.snapshots.trainer import World, safetensors, torch_zip, tree, write_checkpoint


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_rotation_racing_the_copy_never_tears_a_snapshot(tmp_path: Path):
    """A hundred times the trainer deletes the checkpoint at some moment of the copy."""
    chance = random.Random(5)
    outcomes = []
    world = World(tmp_path / "train")
    longest = 0.03
    for step in range(1, 101):
        checkpoint = write_checkpoint(world.model, step, size=50_000, shards=4)
        world.ask(step)
        world.keeper.keep_one(world.now)
        world.now += 3
        # Moments of the copy, however slow the machine is: later ones where too few copies were ahead of the trainer.
        delay = chance.uniform(0.0, longest)
        rotation = threading.Timer(delay, shutil.rmtree, [checkpoint], {"ignore_errors": True})
        rotation.start()
        world.work(2)
        rotation.join()
        assert not checkpoint.exists()
        made = world.snapshots[-1]
        outcomes.append(made.state)
        assert digests.verify(made)["ok"]
        if made.state is SnapshotState.OK:
            assert len(made.metadata["files"]) == 9
        longest *= 0.95 if made.state is SnapshotState.OK else 1.2
    world.store.close()
    assert outcomes.count(SnapshotState.OK) >= 50
    assert list(world.folder.glob(".partial-*")) == []


def test_a_checkpoint_deleted_once_it_is_held_open_is_kept_whole(world: World, monkeypatch: pytest.MonkeyPatch):
    checkpoint = write_checkpoint(world.model, 100)
    before = {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}
    at_first_copy(monkeypatch, lambda: shutil.rmtree(checkpoint))
    world.ask(100)
    world.work()
    assert world.only.metadata["source_vanished"] is True
    inside = world.only.path / "model" / "checkpoint-100"
    assert {path.name: path.read_bytes() for path in inside.glob("*.safetensors")} == before


def test_a_checkpoint_gone_before_it_was_held_gives_way_to_the_next_best(world: World, monkeypatch: pytest.MonkeyPatch):
    write_checkpoint(world.model, 50)
    newest = write_checkpoint(world.model, 100)
    from smartmon.snapshots import pins

    opened = pins.Pins.__enter__

    def rotated(self: pins.Pins) -> pins.Pins:
        shutil.rmtree(newest, ignore_errors=True)
        return opened(self)

    monkeypatch.setattr(pins.Pins, "__enter__", rotated)
    world.ask(100, severity="info")
    world.work()
    assert world.only.checkpoint_step == 50
    assert "checkpoint-100 was deleted by its trainer" in world.events("snapshot_created")[0]


def test_a_file_rewritten_during_the_copy_is_not_published(world: World, monkeypatch: pytest.MonkeyPatch):
    checkpoint = write_checkpoint(world.model, 100)
    at_first_copy(monkeypatch, lambda: (checkpoint / "optimizer.pt").write_bytes(torch_zip(50_000)))
    world.ask(100)
    world.work(20)
    kept = world.only.path / "model" / "checkpoint-100" / "optimizer.pt"
    assert kept.read_bytes() == (checkpoint / "optimizer.pt").read_bytes()


def test_a_checkpoint_that_is_always_rewritten_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch):
    write_checkpoint(world.model, 50)
    checkpoint = write_checkpoint(world.model, 100)
    copy = Copier.copy

    def rewriting(self: Copier, source: int, target: int, size: int) -> str:
        if checkpoint.name in str(Path(f"/proc/self/fd/{source}").readlink()):
            (checkpoint / "config.json").write_text(f"{time.monotonic_ns()}")
        return copy(self, source, target, size)

    monkeypatch.setattr(Copier, "copy", rewriting)
    world.ask(100, severity="info")
    world.work(40)
    assert world.only.checkpoint_step == 50


def at_first_copy(monkeypatch: pytest.MonkeyPatch, act) -> None:
    """Let the trainer act once, when the first file is about to be copied: after everything was pinned."""
    acts = [act]
    copy = Copier.copy

    def acting(self: Copier, source: int, target: int, size: int) -> str:
        while acts:
            acts.pop()()
        return copy(self, source, target, size)

    monkeypatch.setattr(Copier, "copy", acting)


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.snapshots.trainer import World
world = World(Path(sys.argv[1]))
world.now = float(sys.argv[3])
world.keeper.sweep(world.now)
print("ready", flush=True)
for step in range(1000):
    world.ask(100, f"loss_spike_{step}pct")
    world.work(5)
    for one in world.snapshots[:-2]:
        from smartmon.snapshots import folder
        folder.remove(one)
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_kills_at_random_moments_leave_no_torn_snapshot(tmp_path: Path, root: Path):
    """Forty SIGKILLs of a process that copies, publishes and removes without pause."""
    chance = random.Random(7)
    world = World(tmp_path / "train")
    checkpoint = write_checkpoint(world.model, 100, size=200_000, shards=4)
    before = tree(checkpoint)
    published = 0
    for number in range(40):
        words = [sys.executable, "-c", CHILD, str(world.base), str(root), str(world.now + number * 10_000)]
        child = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.25))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        for one in world.snapshots:
            published += 1
            assert digests.verify(one)["ok"], digests.verify(one)
            assert len(one.metadata["files"]) == 9
    assert published > 20
    world.renew()
    assert folder.sweep(world.folder) == []
    assert [path.name for path in world.folder.iterdir() if path.name.startswith((".partial", ".trash"))] == []
    requests = [one.metadata["request"] for one in world.snapshots]
    assert len(requests) == len(set(requests))
    assert tree(checkpoint) == before
    world.store.close()


def test_what_another_process_is_making_is_not_swept(world: World):
    """Two daemons may share a snapshots dir."""
    from smartmon.snapshots.staging import Staging

    with Staging(world.folder, Copier()) as staging:
        folder.sweep(world.folder)
        assert staging.path.exists()
    assert not staging.path.exists()


def test_the_number_of_open_files_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch):
    from smartmon.snapshots import pins

    monkeypatch.setattr(pins, "most_pins", lambda: 3)
    checkpoint = write_checkpoint(world.model, 100, shards=8)
    (checkpoint / "model.safetensors").write_bytes(safetensors())
    world.ask(100)
    world.work()
    assert len(world.only.metadata["files"]) == 14


def test_the_last_good_one_is_not_risked_for_a_newer_one_that_must_stand_still(world: World):
    """The promise above all: a trainer that saves every few seconds must not rotate it away while we wait."""
    for step in (50, 100):
        write_checkpoint(world.model, step)
    world.ask(100, onset_step=75)
    world.work(1)
    write_checkpoint(world.model, 110)
    world.work(2)
    write_checkpoint(world.model, 120)
    shutil.rmtree(world.model / "checkpoint-50")
    world.work(5)
    assert world.only.metadata["last_good_checkpoint_step"] == 50
    assert world.only.checkpoint_step == 100


def test_of_a_trainer_that_deletes_every_checkpoint_at_once_a_whole_one_is_kept_in_the_end(world: World):
    world.ask(100)
    for step in range(10, 400, 10):
        checkpoint = write_checkpoint(world.model, step)
        world.work(1)
        shutil.rmtree(checkpoint)
    assert world.only.state is SnapshotState.OK
    assert "not there for long enough to stand still" in world.only.metadata["note"]
