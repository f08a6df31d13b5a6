"""What the keeper makes of requests for snapshots."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon.config import load
from smartmon.keeper import Keeper
from smartmon.records import SnapshotState
from smartmon.snapshots import folder
from smartmon.snapshots.metadata import METADATA
from tests.snapshots.trainer import NOW, STATUS, World, copied, safetensors, tree, write_checkpoint


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A base dir with a run, a store and a keeper."""
    made = World(tmp_path / "train")
    yield made
    made.store.close()


def test_the_newest_complete_checkpoint_is_kept_with_the_evidence(world: World):
    write_checkpoint(world.model, 50)
    newest = write_checkpoint(world.model, 100)
    (world.model / "adapter_config.json").write_text('{"r": 16}')
    (world.model / "training_log.jsonl").write_text("{}")
    before = tree(world.model)
    keep = world.ask(100, best_loss=0.7, best_loss_step=90, grad_norm=float("nan"))
    world.work()
    one = world.only
    assert one.state is SnapshotState.OK
    assert one.checkpoint_step == 100
    assert copied(one, newest)
    assert (one.path / "training_status.json").read_bytes() == STATUS
    assert sorted(path.name for path in (one.path / "model").iterdir()) == [
        "adapter_config.json", "checkpoint-100", "checkpoint-50",
    ]  # fmt: skip
    assert (world.keep(keep).state, world.keep(keep).snapshot) == ("done", one.name)
    assert tree(world.model) == before
    assert len(world.events("snapshot_created")) == 1


def test_the_metadata_has_every_key(world: World):
    write_checkpoint(world.model, 80)
    world.ask(100, "loss_spike_40.7pct", "accuracy_drop_13.0pct")
    world.work()
    told = json.loads((world.only.path / METADATA).read_text())
    wanted = (
        "schema_version name timestamp created_at run attempt reason triggers severity step epoch loss accuracy "
        "learning_rate grad_norm loss_history accuracy_history lr_history best_loss best_loss_step checkpoint_step "
        "checkpoint_age_steps last_good_checkpoint_step files skipped bytes copy_method detector_parameters "
        "config_digest smartmon_version host request state"
    )
    assert set(wanted.split()) <= told.keys()
    assert told["reason"] == "loss_spike_40.7pct_accuracy_drop_13.0pct"
    assert told["name"] == world.only.name == f"anomaly_{told['timestamp']}_{told['reason']}"
    assert (told["checkpoint_step"], told["checkpoint_age_steps"], told["last_good_checkpoint_step"]) == (80, 20, 80)
    assert told["bytes"] == sum(file["bytes"] for file in told["files"])


def test_two_in_one_second_get_a_number(world: World):
    world.ask(100)
    world.ask(101)
    world.work()
    first, second = (one.name for one in world.snapshots)
    assert second == f"{first}_2"


def test_without_a_checkpoint_the_rest_is_kept_and_said_so(world: World):
    world.ask(100)
    world.work()
    assert world.only.state is SnapshotState.NO_CHECKPOINT
    assert world.only.checkpoint_step is None
    assert (world.only.path / "training_status.json").exists()


def test_a_checkpoint_being_written_is_waited_for_when_there_is_no_other(world: World):
    path = write_checkpoint(world.model, 100)
    (path / "trainer_state.json").unlink()
    keep = world.ask(100)
    world.work(5)
    assert world.snapshots == []
    assert "no trainer_state.json" in world.keep(keep).note
    (path / "trainer_state.json").write_text('{"global_step": 100}')
    world.work(5)
    assert world.only.checkpoint_step == 100


def test_the_wait_for_a_torn_checkpoint_ends(world: World):
    (write_checkpoint(world.model, 100) / "trainer_state.json").unlink()
    world.ask(100)
    world.work(60)
    assert world.only.state is SnapshotState.NO_CHECKPOINT
    assert "no trainer_state.json" in world.events("snapshot_created")[0]


def test_a_torn_newest_checkpoint_gives_way_to_the_one_before(world: World):
    write_checkpoint(world.model, 50)
    (write_checkpoint(world.model, 100) / "model-00001-of-00002.safetensors").unlink()
    world.ask(100)
    world.work()
    assert world.only.checkpoint_step == 50


def test_a_spike_keeps_the_last_good_one_too(world: World):
    for step in (50, 80, 100):
        write_checkpoint(world.model, step)
    world.ask(100, onset_step=75)
    world.work()
    assert world.only.checkpoint_step == 100
    assert world.only.metadata["last_good_checkpoint_step"] == 50
    assert {path.name for path in (world.only.path / "model").iterdir()} == {"checkpoint-100", "checkpoint-50"}


class TestBestModel:
    """The checkpoint of the very step is worth a wait: trainers log before they save."""

    def test_it_waits_for_the_checkpoint_of_its_step(self, world: World):
        write_checkpoint(world.model, 50)
        keep = world.ask(100, "best_model_loss_0.6321", severity="info")
        world.work(60)
        assert (world.snapshots, world.keep(keep).state) == ([], "waiting")
        write_checkpoint(world.model, 100)
        world.work()
        assert world.only.checkpoint_step == 100

    def test_a_later_step_without_a_folder_ends_the_wait(self, world: World):
        write_checkpoint(world.model, 50)
        world.ask(100, "best_model_loss_0.6321", severity="info")
        world.work(5)
        world.store.update_run(world.run_id, step=110)
        world.work()
        assert world.only.checkpoint_step == 50
        assert world.only.metadata["checkpoint_age_steps"] == 50

    def test_the_grace_ends_it(self, world: World):
        write_checkpoint(world.model, 50)
        world.ask(100, "best_model_loss_0.6321", severity="info")
        world.work(590)
        assert world.snapshots == []
        world.work(30)
        assert world.only.checkpoint_step == 50

    def test_finish_waits_no_longer(self, world: World):
        write_checkpoint(world.model, 50)
        world.ask(100, "best_model_loss_0.6321", severity="info")
        world.work(5)
        world.keeper.finish(world.now)
        assert world.only.checkpoint_step == 50


class TestHeld:
    """The best of a quiet interval is copied at once and published when the interval is over."""

    def test_a_better_one_takes_the_place(self, world: World):
        write_checkpoint(world.model, 110)
        write_checkpoint(world.model, 120)
        first = world.ask(110, "best_model_loss_0.6", severity="info", hold=True)
        world.work()
        second = world.ask(120, "best_model_loss_0.5", severity="info", hold=True)
        world.work()
        assert (world.keep(first).state, world.keep(second).state) == ("dropped", "held")
        assert len(list(world.folder.glob(".held-*"))) == 1
        assert world.snapshots == []

    @pytest.mark.parametrize("change", [{"step": 600}, {"state": "completed"}, {"attempt": 2}])
    def test_it_is_published_at_the_end(self, world: World, change: dict[str, object]):
        write_checkpoint(world.model, 100)
        keep = world.ask(100, "best_model_loss_0.6", severity="info", hold=True)
        world.work()
        shutil.rmtree(world.model / "checkpoint-100")
        world.store.update_run(world.run_id, **change)
        world.work()
        assert (world.keep(keep).state, world.keep(keep).snapshot) == ("done", world.only.name)
        assert world.only.checkpoint_step == 100
        assert list(world.folder.glob(".held-*")) == []
        assert (world.only.path / "digests.json").exists()

    def test_a_restart_finds_it(self, world: World):
        write_checkpoint(world.model, 100)
        keep = world.ask(100, "best_model_loss_0.6", severity="info", hold=True)
        world.work()
        world.store.update_keep(keep, state="copying")
        world.renew()
        world.keeper.sweep(world.now)
        assert world.keep(keep).state == "held"

    def test_one_whose_request_is_lost_is_published(self, world: World):
        write_checkpoint(world.model, 100)
        keep = world.ask(100, "best_model_loss_0.6", severity="info", hold=True)
        world.work()
        world.store.update_keep(keep, state="dropped")
        world.keeper.sweep(world.now)
        assert world.only.checkpoint_step == 100


def test_a_published_snapshot_whose_request_was_not_marked_is_not_made_twice(world: World):
    write_checkpoint(world.model, 100)
    keep = world.ask(100)
    world.work()
    world.store.update_keep(keep, state="copying", snapshot="")
    world.renew()
    world.keeper.sweep(world.now)
    world.work()
    assert world.keep(keep).snapshot == world.only.name


def test_an_interrupted_copy_is_swept_and_redone(world: World):
    write_checkpoint(world.model, 100)
    keep = world.ask(100)
    world.store.update_keep(keep, state="copying")
    (world.folder / ".partial-dead" / "model").mkdir(parents=True)
    world.keeper.sweep(world.now)
    assert not (world.folder / ".partial-dead").exists()
    world.work()
    assert world.keep(keep).snapshot == world.only.name


def test_a_cancelled_copy_leaves_nothing_and_is_asked_for_still(world: World):
    write_checkpoint(world.model, 100)
    keep = world.ask(100)
    world.work(1)
    world.cancelled = True
    world.work()
    assert world.keep(keep).state == "pending"
    assert list(world.folder.glob(".partial-*")) == []
    world.cancelled = False
    world.work()
    assert world.only.checkpoint_step == 100


def test_unchanged_files_are_linked_to_our_earlier_copy(world: World):
    checkpoint = write_checkpoint(world.model, 100)
    world.ask(100)
    world.work()
    (checkpoint / "config.json").write_text('{"changed": true}')
    world.ask(101)
    world.work()
    first, second = world.snapshots
    shared, changed = "model/checkpoint-100/optimizer.pt", "model/checkpoint-100/config.json"
    assert (first.path / shared).samefile(second.path / shared)
    assert not (first.path / changed).samefile(second.path / changed)
    assert not (first.path / shared).samefile(checkpoint / "optimizer.pt")
    assert "link" in second.metadata["copy_method"]


def test_links_and_special_files_are_left_out_with_a_warning(world: World):
    checkpoint = write_checkpoint(world.model, 100)
    (checkpoint / "passwd").symlink_to("/etc/passwd")
    (checkpoint / "loop").symlink_to("..")
    os.mkfifo(checkpoint / "pipe")
    os.link(checkpoint / "config.json", checkpoint / "twin.json")
    world.ask(100)
    world.work()
    names = {path.name for path in (world.only.path / "model" / "checkpoint-100").iterdir()}
    assert "twin.json" in names
    assert not names & {"passwd", "loop", "pipe"}
    assert {one["path"].rpartition("/")[2] for one in world.only.metadata["skipped"]} == {"passwd", "loop", "pipe"}
    (warning,) = world.events("warning")
    assert "a symbolic link" in warning


def test_excluded_files_are_left_out(world: World):
    world.renew(**{"snapshots.exclude": ["optimizer*"]})
    write_checkpoint(world.model, 100)
    world.ask(100)
    world.work()
    assert not list(world.only.path.rglob("optimizer.pt"))
    assert world.events("warning") == []


def test_no_room_skips_the_snapshot_and_tells_once(world: World):
    world.renew(**{"snapshots.min_free_least": 2**60, "snapshots.min_free_most": 2**60})
    write_checkpoint(world.model, 100)
    first, second = world.ask(100), world.ask(101)
    world.work()
    assert world.keep(first).state == world.keep(second).state == "skipped"
    assert "must stay free" in world.keep(first).note
    assert world.snapshots == []
    assert len(world.events("snapshot_skipped")) == 2
    assert list(world.folder.glob(".partial-*")) == []


def test_room_is_made_only_when_that_is_enough(world: World):
    write_checkpoint(world.model, 100, size=30_000)
    world.ask(100)
    world.work()
    kept = world.only
    world.renew(**{"snapshots.max_bytes": kept.bytes + 1000})
    shutil.rmtree(world.model / "checkpoint-100")
    write_checkpoint(world.model, 110, size=30_000)
    keep = world.ask(110)
    world.work()
    assert world.keep(keep).state == "skipped"
    assert world.only.name == kept.name


def test_the_oldest_gives_way_to_a_new_one_under_max_bytes(world: World):
    for step in (100, 110, 120, 130):
        write_checkpoint(world.model, step, size=30_000)
        if step == 110:
            world.renew(**{"snapshots.max_bytes": world.only.bytes * 5 // 2})
        world.ask(step, "accuracy_drop_13.0pct")
        world.work()
        shutil.rmtree(world.model / f"checkpoint-{step}")
    assert [one.checkpoint_step for one in world.snapshots] == [120, 130]
    assert len(world.events("snapshot_removed")) == 2


def test_where_there_is_room_for_one_it_is_the_last_good_one(world: World):
    for step in (50, 80, 100):
        write_checkpoint(world.model, step, size=30_000)
    world.renew(**{"snapshots.max_bytes": 150_000})
    keep = world.ask(100, onset_step=75)
    world.work()
    assert world.keep(keep).state == "done"
    assert world.only.metadata["last_good_checkpoint_step"] == world.only.checkpoint_step == 50
    assert "checkpoint-100 was left out for want of room" in world.events("snapshot_created")[0]


def test_nothing_is_removed_when_a_pinned_one_holds_the_same_files(world: World):
    """A file that a snapshot to stay shares is not freed: removing its other holders would be for nothing."""
    write_checkpoint(world.model, 100, size=30_000)
    for step in (100, 101, 102):
        if step == 102:
            write_checkpoint(world.model, step)
        world.ask(step, "accuracy_drop_13.0pct")
        world.work()
    folder.set_pinned(world.snapshots[0], True)
    world.renew(**{"snapshots.max_bytes": world.snapshots[0].bytes + 50_000})
    write_checkpoint(world.model, 110, size=30_000)
    keep = world.ask(110, "accuracy_drop_13.0pct")
    world.work()
    assert world.keep(keep).state == "skipped"
    assert [one.step for one in world.snapshots] == [100, 101, 102]


def test_snapshots_inside_a_checkpoint_are_refused(world: World):
    checkpoint = write_checkpoint(world.model, 100)
    world.keeper._config = world.config.model_copy(update={"snapshots_root": checkpoint / "kept"})
    keep = world.ask(100)
    world.work()
    assert "lie inside each other" in world.keep(keep).note
    assert not (checkpoint / "kept").exists()


def test_a_stale_checkpoint_of_an_earlier_attempt_is_passed_over(world: World):
    os.utime(write_checkpoint(world.model, 900), (NOW - 5000, NOW - 5000))
    os.utime(write_checkpoint(world.model, 500), (NOW - 6000, NOW - 6000))
    world.store.begin_attempt(world.run_id, 2, 500, NOW - 100, "resumed")
    keep = world.ask(520)
    world.store.update_keep(keep, attempt=2)
    world.work()
    assert world.only.checkpoint_step == 500


def test_retention_reaches_the_base_dirs_that_a_pattern_stands_for(world: World):
    write_checkpoint(world.model, 100)
    for days in (40, 20, 0):
        world.now = NOW - days * 86400
        world.ask(100, "accuracy_drop_13.0pct")
        world.work()
    pattern = load(environ={}, base_dirs=[world.base.parent / "tr*"], overrides={"snapshots.keep_last": 1})
    world.keeper = Keeper(world.store, pattern, cancel=lambda: False, beat=lambda: None)
    world.work()
    assert len(world.snapshots) == 2


def test_digests_are_taken_after_publication(world: World):
    write_checkpoint(world.model, 100)
    world.ask(100)
    world.work()
    told = json.loads((world.only.path / "digests.json").read_text())
    assert told["files"].keys() == {file["path"] for file in world.only.metadata["files"]}


def test_step_files_bring_their_companions(world: World):
    for ending in (".bin", ".bin.embeddings", ".decoder"):
        (world.model / f"checkpoint_step_700{ending}").write_bytes(b"weights")
    (world.model / "checkpoint_step_7001.bin").write_bytes(b"")
    world.ask(700)
    world.work()
    assert world.only.checkpoint_step == 700
    assert {path.name for path in (world.only.path / "model").iterdir()} == {
        f"checkpoint_step_700{ending}" for ending in (".bin", ".bin.embeddings", ".decoder")
    }


def test_a_model_file_that_never_stands_still_does_not_hold_up_the_rest(world: World):
    write_checkpoint(world.model, 100)
    world.ask(100)
    for second in range(60):
        (world.model / "model.safetensors").write_bytes(safetensors(second + 1))
        world.work(1)
    assert world.only.checkpoint_step == 100
    assert not (world.only.path / "model" / "model.safetensors").exists()
