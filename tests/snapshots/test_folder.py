"""Names, and what may be done to a snapshot as a whole."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from smartmon.errors import SnapshotError
from smartmon.snapshots import folder, names
from smartmon.snapshots.syscalls import rename_new
from tests.snapshots.trainer import NOW, World, write_checkpoint


def test_a_name_has_local_time_and_reasons():
    assert names.name(NOW, ["a_1pct", "b"]) == f"anomaly_{names.stamp(NOW)}_a_1pct_b"


def test_names_are_cut_and_hold_nothing_odd():
    name = names.name(NOW, ["x/../\x1b" * 100], 2)
    assert len(name) <= 120
    assert name.endswith("_2")
    assert not set(name) & set("/\x1b ")


def test_a_rename_never_replaces(world: World):
    for name in ("a", "b"):
        (world.base / name).mkdir()
    with pytest.raises(FileExistsError):
        rename_new(world.base / "a", world.base / "b")


def test_what_cannot_be_deleted_is_told_and_tried_again(world: World):
    write_checkpoint(world.model, 100)
    world.ask(100)
    world.work()
    one = world.only
    stubborn = one.path / "metadata.json"
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", stubborn], check=False).returncode:
        pytest.skip("chattr +i does not work here")
    with pytest.raises(SnapshotError, match="cannot delete"):
        folder.remove(one)
    (trash,) = world.folder.glob(".trash-*")
    assert len(folder.sweep(world.folder)) == 1
    subprocess.run(["chattr", "-i", trash / "metadata.json"], check=True)
    assert folder.sweep(world.folder) == []
    assert not trash.exists()


def test_removal_follows_no_link(world: World):
    write_checkpoint(world.model, 100)
    world.ask(100)
    world.work()
    (world.base / "precious").mkdir()
    (world.base / "precious" / "data").write_text("x")
    (world.only.path / "model" / "link").symlink_to(world.base / "precious")
    folder.remove(world.only)
    assert (world.base / "precious" / "data").exists()
    assert [path.name for path in world.folder.iterdir()] == [".lock"]


def test_slimming_keeps_the_history(world: World):
    write_checkpoint(world.model, 100)
    world.ask(100)
    world.work()
    folder.slim(world.only, world.now, "only the best 3 keep their weights")
    one = world.only
    assert (one.has_weights, one.state.value, one.bytes, one.loss) == (False, "ok", 0, 1.02)
    assert not (one.path / "model").exists()


def test_slimming_that_was_interrupted_is_finished(world: World):
    write_checkpoint(world.model, 100)
    world.ask(100)
    world.work()
    model = world.only.path / "model"
    shutil.copytree(model, world.base / "copy")
    folder.slim(world.only, world.now, "why")
    shutil.copytree(world.base / "copy", model)
    folder.sweep(world.folder)
    assert not model.exists()


def test_a_file_in_place_of_the_snapshots_dir_skips_and_tells(world: World):
    write_checkpoint(world.model, 100)
    world.folder.write_text("not a folder")
    keep = world.ask(100)
    world.work()
    assert world.keep(keep).state == "skipped"
    assert world.folder.read_text() == "not a folder"


def test_a_skipped_snapshot_reaches_every_notifier_once_per_episode(world: World):
    world.renew(**{"notifiers": [{"name": "phone", "url": "json://127.0.0.1:9/"}]})
    world.folder.write_text("not a folder")
    for step in (100, 101):
        world.ask(step)
        world.work()
    (told,) = world.store.deliveries()
    assert (told.kind, told.severity.value, told.payload["event"]["kind"]) == ("event", "critical", "snapshot_skipped")
