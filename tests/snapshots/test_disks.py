"""Real file systems: full ones, small ones, and ones that share blocks."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon.snapshots import digests, folder
from smartmon.snapshots.copying import BUFFER, REFLINK, Copier
from tests.snapshots.trainer import World, tree, write_checkpoint


def mounted(point: Path, *words: str) -> Iterator[Path]:
    """Mount something for the time of a test, or skip it."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    point.mkdir()
    done = subprocess.run(["mount", *words, str(point)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount this here: {done.stderr.decode().strip()}")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    yield from mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=4m", "tmpfs")


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 20 names."""
    yield from mounted(tmp_path / "few", "-t", "tmpfs", "-o", "size=4m,nr_inodes=20", "tmpfs")


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    """A file system that can share blocks."""
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("mkfs.xfs (xfsprogs) is not installed")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    yield from mounted(tmp_path / "xfs", "-o", "loop", str(image))


def free(path: Path) -> int:
    stats = os.statvfs(path)
    return stats.f_bavail * stats.f_frsize


def test_a_disk_too_small_is_known_before_a_byte_is_written(tmp_path: Path, small: Path):
    world = World(tmp_path / "train", {"snapshots_dir": str(small / "kept"), "snapshots.max_bytes": 2**40})
    write_checkpoint(world.model, 100, size=3 << 20)
    before = tree(world.model)
    keep = world.ask(100)
    world.work()
    assert world.keep(keep).state == "skipped"
    assert "must stay free" in world.keep(keep).note
    assert free(small) > 3.9 * 2**20
    assert tree(world.model) == before
    world.store.close()


def test_a_disk_that_fills_up_during_the_copy_loses_nothing_else(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
):
    world = World(tmp_path / "train", {"snapshots_dir": str(small / "kept"), "snapshots.max_bytes": 2**40})
    write_checkpoint(world.model, 100, size=300_000)
    world.ask(99)
    world.work()
    kept = world.only.name
    copy = Copier.copy

    def crowded(self: Copier, source: int, target: int, size: int) -> str:
        with (small / "ballast").open("wb") as file:
            file.truncate(0)
            os.posix_fallocate(file.fileno(), 0, free(small) - 100_000)
        return copy(self, source, target, size)

    shutil.rmtree(world.model / "checkpoint-100")
    write_checkpoint(world.model, 110, size=300_000)
    monkeypatch.setattr(Copier, "copy", crowded)
    keep = world.ask(110)
    world.work()
    assert world.keep(keep).state == "skipped"
    assert "No space left on device" in world.keep(keep).note
    assert [one.name for one in world.snapshots] == [kept]
    assert list(world.folder.glob(".partial-*")) == []
    monkeypatch.undo()
    (small / "ballast").unlink()
    again = world.ask(111)
    world.work()
    assert world.keep(again).state == "done"
    world.store.close()


def test_running_out_of_names_is_known_before(tmp_path: Path, few_inodes: Path):
    world = World(tmp_path / "train", {"snapshots_dir": str(few_inodes / "kept"), "snapshots.max_bytes": 2**40})
    write_checkpoint(world.model, 100, shards=20)
    keep = world.ask(100)
    world.work()
    assert (world.keep(keep).state, world.snapshots) == ("skipped", [])
    assert "files" in world.keep(keep).note
    world.store.close()


def test_across_file_systems_files_are_read_and_written(tmp_path: Path, small: Path):
    world = World(tmp_path / "train", {"snapshots_dir": str(small / "kept"), "snapshots.max_bytes": 2**40})
    write_checkpoint(world.model, 100)
    world.ask(100)
    world.work()
    assert world.only.metadata["copy_method"] == BUFFER
    assert digests.verify(world.only, full=True)["ok"]
    world.store.close()


def test_a_reflinked_snapshot_keeps_the_old_bytes_when_the_source_is_overwritten(xfs: Path):
    world = World(xfs / "train")
    checkpoint = write_checkpoint(world.model, 100, size=2 << 20)
    weights = checkpoint / "model-00001-of-00002.safetensors"
    old = weights.read_bytes()
    world.ask(100)
    world.work()
    with weights.open("r+b") as file:
        file.write(os.urandom(len(old)))
    assert world.only.metadata["copy_method"] == REFLINK
    assert (world.only.path / "model" / "checkpoint-100" / weights.name).read_bytes() == old
    assert digests.verify(world.only, full=True)["ok"]
    world.store.close()


def test_hard_links_are_made_only_by_choice(tmp_path: Path):
    world = World(tmp_path / "train", {"snapshots.hard_links": True})
    checkpoint = write_checkpoint(world.model, 100)
    world.ask(100)
    world.work()
    assert world.only.metadata["copy_method"] == "hard_link"
    assert (world.only.path / "model" / "checkpoint-100" / "optimizer.pt").samefile(checkpoint / "optimizer.pt")
    world.store.close()


def test_holes_stay_holes(tmp_path: Path):
    source, target = tmp_path / "sparse", tmp_path / "copy"
    with source.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(500 << 20)
        file.write(b"data")
    with source.open("rb") as one, target.open("w+b") as other:
        Copier().copy(one.fileno(), other.fileno(), 1 << 30)
        other.seek(500 << 20)
        assert other.read(4) == b"data"
    assert target.stat().st_size == 1 << 30
    assert target.stat().st_blocks * 512 < 1 << 20


def test_an_error_on_fsync_publishes_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    write_checkpoint(world.model, 100)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    keep = world.ask(100)
    world.work(1)
    monkeypatch.setattr(os, "fsync", broken)
    world.work()
    assert world.keep(keep).state == "skipped"
    assert "Input/output error" in world.keep(keep).note
    assert world.snapshots == []


def test_an_empty_folder_of_the_name_is_not_replaced(world: World):
    from smartmon.snapshots import names

    taken = world.folder / names.name(world.now, ["loss_spike_40.7pct"])
    taken.mkdir(parents=True)
    world.ask(100)
    world.work()
    assert list(taken.iterdir()) == []
    assert [one.name for one in folder.scan(world.folder)] == [taken.name, f"{taken.name}_2"]
