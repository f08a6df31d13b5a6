"""Other clocks than ours, and our own when it is set, must neither delay a snapshot nor hide a checkpoint."""

from __future__ import annotations

import os

import pytest

from tests.snapshots.trainer import NOW, World, write_checkpoint


@pytest.mark.parametrize("hours", [-2, 2])
class TestClocks:
    """Rows may carry any time, UTC taken for local say, and the machine's clock may be set while we wait."""

    def test_a_row_s_time_neither_delays_nor_hurries(self, world: World, hours: int):
        write_checkpoint(world.model, 50)
        world.now += hours * 3600
        world.ask(60)
        world.ask(100, "best_model_loss_0.6321", severity="info")
        world.now = NOW
        world.work(30)
        assert [one.step for one in world.snapshots] == [60]
        write_checkpoint(world.model, 100)
        world.work(30)
        assert {one.step: one.checkpoint_step for one in world.snapshots} == {60: 50, 100: 100}

    def test_a_clock_that_is_set_does_not_hold_it_up(self, world: World, hours: int):
        write_checkpoint(world.model, 50)
        world.ask(100)
        world.work(1)
        world.now += hours * 3600
        world.work(30)
        assert world.only.checkpoint_step == 50


def test_a_resume_dated_by_a_clock_ahead_hides_no_checkpoint(world: World):
    for step in (500, 520):
        os.utime(write_checkpoint(world.model, step), (NOW - 50, NOW - 50))
    world.store.begin_attempt(world.run_id, 2, 500, NOW + 7200, "resumed")
    keep = world.ask(530)
    world.store.update_keep(keep, attempt=2)
    world.work()
    assert world.only.checkpoint_step == 520
