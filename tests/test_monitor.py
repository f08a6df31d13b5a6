"""What a round of reading becomes in the store."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from smartmon.config import Config, load
from smartmon.monitor import Monitor
from smartmon.sources.discovery import discover
from smartmon.store import Store

NOW = 1_800_000_000.0


class World:
    """One run in a base dir, a store and a monitor over it."""

    def __init__(self, base: Path, store: Store, config: Config) -> None:
        self.base, self.store = base, store
        self.monitor = Monitor(store, config)

    def log(self, *rows: dict[str, object], name: str = "training_log.jsonl") -> None:
        with (self.base / name).open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def look(self, now: float = NOW) -> None:
        found, _notes = discover([self.base])
        for run in found:
            watched = self.monitor.adopt(run, now)
            while self.monitor.read(watched, now):
                pass

    def kinds(self) -> list[str]:
        return [event.kind for event in self.store.events(limit=1000)]


@pytest.fixture
def world(tmp_path: Path):
    base = tmp_path / "train"
    base.mkdir()
    with Store.open(tmp_path / "smartmon.db") as store:
        yield World(base, store, load(environ={}, cwd=tmp_path, base_dirs=[base]))


def losses(*values: float, first: int = 100, at: float = NOW - 60) -> list[dict[str, object]]:
    return [{"step": first + 100 * i, "loss": value, "timestamp": at + i} for i, value in enumerate(values)]


def test_rows_events_incidents_and_requests_of_a_round_stand_together(world: World):
    world.log(*losses(1.0, 1.0, 1.0, 1.0, 1.9))
    world.look()
    assert world.kinds() == ["loss_spike", "incident_opened", "run_started"]
    (incident,) = world.store.incidents()
    (keep,) = world.store.keeps()
    assert keep.incident_keys == (incident.key,) or list(keep.incident_keys) == [incident.key]
    assert keep.payload["loss_history"] == [1.0, 1.0, 1.0, 1.0, 1.9]
    assert world.store.last_values(1, "loss", 2) == [1.0, 1.9]


def test_a_round_that_cannot_be_stored_is_read_again_whole(world: World):
    world.log(*losses(1.0, 1.0, 1.0, 1.0, 1.9))

    def fail() -> None:
        with world.store.transaction():
            world.look()
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        fail()
    assert world.store.runs() == []
    world.monitor = Monitor(world.store, world.monitor._config)
    world.look()
    assert world.kinds().count("loss_spike") == 1
    assert len(world.store.keeps()) == 1


def test_a_new_monitor_goes_on_where_the_old_one_stopped(world: World):
    world.log(*losses(1.0, 1.0, 1.0, 1.0))
    world.look()
    world.monitor = Monitor(world.store, world.monitor._config)
    world.log(*losses(1.9, first=500))
    world.look(NOW + 3600)
    assert world.kinds().count("loss_spike") == 1
    assert world.kinds().count("run_started") == 1


def test_of_bests_that_better_each_other_within_a_round_only_the_last_is_asked_for(world: World):
    world.log(*losses(*(2.0 * 0.95**i for i in range(5)), first=0))
    world.look()
    assert world.kinds().count("best_model") == 4
    assert [(keep.step, keep.hold) for keep in world.store.keeps()] == [(100, False), (400, True)]


def test_an_old_run_is_history_and_asks_for_nothing(world: World):
    world.log(*losses(1.0, 1.0, 1.0, 1.0, 3.0, 1.0, at=NOW - 86400))
    world.look()
    (spike,) = world.store.events(kinds=("loss_spike",))
    assert spike.historic
    assert world.store.keeps() == []
    assert world.store.deliveries() == []


def test_evaluations_are_read_in_the_order_of_time_and_become_events(world: World):
    world.log(*losses(1.0, 0.9, 0.8))
    world.log({"step": 100, "eval_loss": 1.1, "timestamp": NOW - 59.5}, name="eval_log.jsonl")
    world.look()
    (event,) = world.store.events(kinds=("evaluation",))
    assert event.message == "evaluation at step 100: eval_loss 1.1"
    assert world.store.run("train").attempt == 1


def test_a_stream_gives_the_losses_and_the_status_file_the_state(world: World):
    world.log(*losses(1.0, 0.9))
    (world.base / "status").mkdir()
    status = {"status": "paused", "current_step": 200, "total_steps": 1000, "loss": 0.5, "accuracy_percent": 70}
    (world.base / "status" / "training_status.json").write_text(json.dumps(status))
    world.look()
    run = world.store.run("train")
    assert (run.state, run.step, run.total_steps) == ("paused", 200, 1000)
    assert world.store.last_values(run.id, "loss", 5) == [1.0, 0.9]
    assert world.store.last_values(run.id, "accuracy", 5) == [70]


def test_a_step_that_goes_back_begins_an_attempt(world: World):
    world.log(*losses(1.0, 0.9, 0.8, 0.85), *losses(0.9, 0.8, first=200))
    world.look()
    assert world.store.run("train").attempt == 2
    assert world.kinds().count("run_resumed") == 1


def test_a_finished_run_says_so_once(world: World):
    (world.base / "status").mkdir()
    path = world.base / "status" / "training_status.json"
    path.write_text(json.dumps({"status": "training", "current_step": 900, "total_steps": 1000, "loss": 0.5}))
    world.look()
    path.write_text(json.dumps({"status": "completed", "current_step": 1000, "total_steps": 1000, "loss": 0.4}))
    world.look(NOW + 10)
    world.look(NOW + 20)
    (event,) = world.store.events(kinds=("run_finished",))
    assert event.message == "train completed at step 1,000 of 1,000; best loss 0.4 at step 1,000"


def test_a_checkpoint_that_appears_is_an_event_and_one_that_was_there_is_not(world: World):
    (world.base / "checkpoint-100").mkdir()
    world.log(*losses(1.0))
    world.look()
    world.monitor.tick(NOW)
    (world.base / "checkpoint-200").mkdir()
    world.monitor.tick(NOW + 1)
    assert [event.step for event in world.store.events(kinds=("checkpoint_saved",))] == [200]


def test_a_long_silent_run_is_not_called_running(world: World):
    world.log(*losses(1.0, 1.0, at=NOW - 7 * 86400))
    (world.base / "training_status.json").write_text('{"status": "training", "current_step": 200}')
    os.utime(world.base / "training_status.json", (NOW - 7 * 86400,) * 2)
    world.look()
    assert world.store.run("train").state == "stalled"
    # Nor because the daemon was started again, a checkpoint came, or a row of old: only because it moves.
    again = World(world.base, world.store, load(environ={}, cwd=world.base, base_dirs=[world.base]))
    again.look(NOW + 10)
    again.monitor.tick(NOW + 10)
    (world.base / "checkpoint-200").mkdir()
    again.monitor.tick(NOW + 11)
    again.look(NOW + 12)
    assert world.store.run("train").state == "stalled"
    again.log(*losses(1.0, first=300, at=NOW + 13))
    again.look(NOW + 14)
    assert world.store.run("train").state == "running"


def test_a_source_that_trips_its_reader_up_is_told_once_and_blinds_nobody_to_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    def trip(*_about: object) -> None:
        raise ZeroDivisionError("an odd line")

    monkeypatch.setattr("smartmon.sources.trainer_state.TrainerState.read", trip)
    (world.base / "checkpoint-100").mkdir()
    for number in range(1, 4):
        (world.base / "checkpoint-100" / "trainer_state.json").write_text('{"log_history": []}' + " " * number)
        world.log(*losses(1.0, first=100 * number, at=NOW - 60 + number))
        world.look()
    assert world.store.last_values(1, "loss", 9) == [1.0, 1.0, 1.0]
    (told,) = [event.message for event in world.store.events(limit=1000) if event.kind == "warning"]
    assert told == (
        "reading trainer_state.json failed (ZeroDivisionError: an odd line); it is tried again whenever it changes, "
        "please report this"
    )
