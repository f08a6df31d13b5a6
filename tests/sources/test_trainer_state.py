from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import pytest

from smartmon.records import RunState
from tests.sources.conftest import Reader

NOW = 2_000_000_000.0


class Training:
    """A Hugging Face output folder, saved as the Trainer does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history: list[dict[str, object]] = []
        self.clock = NOW

    def train(self, first: int, last: int, loss: float = 2.0) -> None:
        self.history = [row for row in self.history if int(str(row["step"])) < first]
        self.history += [{"epoch": n / 100, "loss": loss - n / 1000, "step": n} for n in range(first, last + 1)]

    def save(self, step: int, text: str | None = None) -> Path:
        self.clock += 100
        path = self.folder / f"checkpoint-{step}" / "trainer_state.json"
        path.parent.mkdir(exist_ok=True)
        state = {"epoch": 1.0, "global_step": step, "log_history": self.history, "max_steps": 1000}
        path.write_text(json.dumps(state, indent=2) if text is None else text)
        os.utime(path, (self.clock, self.clock))
        return path


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


@pytest.fixture
def state(tmp_path: Path, reader) -> Reader:
    return reader(tmp_path, "trainer_state")


def steps(reader: Reader, now: float = NOW + 10_000) -> list[int]:
    return [row.step for row in reader.read(now)]


def test_a_folder_without_state_is_waited_for(state: Reader):
    assert steps(state) == []
    assert state.notes == []


def test_each_save_adds_its_rows_once(training: Training, state: Reader):
    training.train(1, 10)
    training.save(10)
    assert steps(state) == list(range(1, 11))
    before = state.source.stamp()
    training.train(11, 20)
    training.save(20)
    assert state.source.stamp() != before
    assert steps(state) == list(range(11, 21))
    state.restart()
    assert steps(state) == []


def test_the_state_tells_where_the_run_is(training: Training, state: Reader):
    training.train(1, 10)
    training.save(10)
    state.read()
    report = state.status
    assert (report.state, report.step, report.total_steps, report.raw) == (None, 10, 1000, b"")


def test_the_highest_step_is_read_first_though_a_copy_gave_it_an_older_mtime(training: Training, state: Reader):
    training.train(1, 20)
    late = training.save(20)
    training.history = training.history[:9]
    early = training.save(9)
    os.utime(late, (NOW, NOW))
    os.utime(early, (NOW + 2, NOW + 2))
    assert steps(state) == list(range(1, 21))
    assert steps(state) == []
    assert state.status.step == 20


def test_a_half_written_state_is_tried_again_without_a_word(training: Training, state: Reader):
    training.train(1, 10)
    training.save(10)
    state.read()
    training.train(11, 20)
    whole = training.save(20).read_text()
    training.save(20, whole[: len(whole) // 2])
    assert steps(state, NOW) == []
    assert state.source.stamp() != state.source.stamp(), "it must be looked at again, though it stays as it is"
    training.save(20, whole)
    assert steps(state, NOW + 1) == list(range(11, 21))
    assert state.notes == []


def test_a_state_that_stays_broken_is_one_note_and_the_next_save_recovers(training: Training, state: Reader):
    training.save(10, "{")
    for seconds in (0, 4, 8, 12):
        state.read(NOW + seconds)
    assert [note.message.split(" is ")[0] for note in state.notes] == ["checkpoint-10/trainer_state.json"]
    training.train(1, 20)
    training.save(20)
    assert steps(state, NOW + 20) == list(range(1, 21))
    assert "can be read again" in state.notes[1].message


def test_a_run_that_died_while_saving_is_read_from_the_save_before(training: Training, state: Reader):
    training.train(1, 10)
    training.save(10)
    training.save(20, '{"log_history": [{"st')
    assert steps(state, NOW) == list(range(1, 11))
    for seconds in (4, 8):
        state.read(NOW + seconds)
    assert [note.message.split(" is ")[0] for note in state.notes] == ["checkpoint-20/trainer_state.json"]


def test_a_resume_from_an_older_checkpoint_goes_back_to_where_the_stories_part(training: Training, state: Reader):
    training.train(1, 50)
    training.save(50)
    assert steps(state)[-1] == 50
    training.train(31, 40, loss=2.1)
    training.save(40)
    assert steps(state) == list(range(31, 41))
    training.train(41, 50, loss=2.1)
    training.save(50)
    assert steps(state) == list(range(41, 51))


def test_a_resume_seen_only_at_first_sight_tells_both_stories(training: Training, state: Reader):
    training.train(1, 50)
    training.save(50)
    training.train(31, 40, loss=2.1)
    training.save(40)
    assert steps(state) == [*range(1, 51), *range(31, 41)]


def test_a_resume_far_back_is_found_within_a_long_history(training: Training, state: Reader):
    training.train(1, 9000)
    training.save(9000)
    assert steps(state) == list(range(1, 9001))
    training.train(2501, 2600, loss=99.0)
    training.save(2600)
    found = steps(state)
    assert found[-1] == 2600
    assert 2501 - 1024 <= found[0] <= 2501


def test_an_older_checkpoint_says_nothing_new(training: Training, state: Reader):
    training.train(1, 50)
    training.save(50)
    state.read()
    state.status = None
    training.history = training.history[:20]
    training.save(20)
    assert steps(state) == []
    assert state.status is None


def test_a_checkpoint_that_rotation_took_away_is_no_trouble(training: Training, state: Reader):
    training.train(1, 10)
    training.save(10)
    state.read()
    shutil.rmtree(training.folder / "checkpoint-10")
    assert steps(state) == []
    assert state.notes == []


def test_a_checkpoint_made_in_the_same_tick_of_the_clock_is_found(training: Training, state: Reader):
    training.train(1, 10)
    training.save(10)
    os.utime(training.folder, (NOW, NOW))
    state.read()
    training.train(11, 20)
    training.save(20)
    os.utime(training.folder, (NOW, NOW))
    assert steps(state) == list(range(11, 21))


def test_the_final_summary_is_no_point_and_ends_the_run(training: Training, state: Reader):
    training.train(1, 10)
    training.history.append({"epoch": 1, "step": 10, "train_loss": 1.5, "train_runtime": 9.0, "total_flos": 1.0})
    training.save(10).rename(training.folder / "trainer_state.json")
    assert steps(state) == list(range(1, 11))
    assert state.status.state is RunState.COMPLETED


def test_a_run_that_goes_on_after_its_summary_is_not_completed(training: Training, state: Reader):
    training.train(1, 10)
    training.history.append({"step": 10, "train_loss": 1.5, "train_runtime": 9.0})
    training.history.append({"step": 11, "loss": 1.0})
    training.save(11)
    assert steps(state) == list(range(1, 12))
    assert state.status.state is None


def test_bare_nan_is_data(training: Training, state: Reader):
    training.history = [{"step": 1, "loss": math.nan, "grad_norm": math.inf}]
    training.save(1)
    (row,) = state.read()
    assert math.isnan(row.values["loss"])


@pytest.mark.parametrize("history", [None, 3, "x", [1, None, []], {"a": 1}])
def test_a_history_that_is_none_is_empty(training: Training, state: Reader, history: object):
    training.save(5, json.dumps({"global_step": 5, "log_history": history}))
    assert steps(state) == []
    assert state.status.step == 5


def test_checkpoints_in_the_model_folder_belong_to_the_run(tmp_path: Path, state: Reader):
    (tmp_path / "current_model").mkdir()
    training = Training(tmp_path / "current_model")
    training.train(1, 5)
    training.save(5)
    assert steps(state) == [1, 2, 3, 4, 5]


def test_rows_are_spread_over_the_time_of_the_run(training: Training, state: Reader):
    training.train(1, 101)
    path = training.save(101)
    for place in (training.folder, path.parent):
        os.utime(place, (NOW - 900, NOW - 900))
    os.utime(path, (NOW + 100, NOW + 100))
    rows = state.read(NOW + 5000)
    assert (rows[0].at, rows[50].at, rows[-1].at) == (NOW - 900, NOW - 400, NOW + 100)
    assert not any(row.timed for row in rows)


def test_the_last_row_of_a_later_save_is_timed_by_it(training: Training, state: Reader):
    training.train(1, 10)
    training.save(10)
    state.read(NOW + 5000)
    training.train(11, 20)
    training.save(20)
    rows = state.read(NOW + 5000)
    assert [row.timed for row in rows] == [False] * 9 + [True]
    assert rows[0].at == NOW + 100
    assert rows[-1].at == NOW + 200


def test_a_long_history_comes_in_batches(training: Training, state: Reader):
    training.train(1, 12_000)
    training.save(12_000)
    sizes = []
    while True:
        batch = state.batch(NOW + 10_000)
        sizes.append(len(batch.observations))
        assert not any(row.timed for row in batch.observations)
        if not batch.more:
            break
    assert sum(sizes) == 12_000
    assert max(sizes) <= 5000


def test_a_state_that_is_too_large_is_a_note(training: Training, state: Reader):
    path = training.save(5, "{}")
    os.truncate(path, 2 * 10**9)
    for seconds in (0, 6):
        state.read(NOW + seconds)
    assert "is 2.0 GB long; at most 1.1 GB is read" in state.notes[0].message


def test_odd_checkpoint_names_are_not_checkpoints(training: Training, state: Reader):
    training.train(1, 3)
    for name in ("checkpoint-", "checkpoint-1e9", "checkpoint-010", "checkpoint-9x", "checkpoint-" + "9" * 200):
        path = training.save(3)
        path.parent.rename(training.folder / name)
    assert steps(state) == []


def test_nothing_in_a_checkpoint_is_touched(training: Training, state: Reader):
    training.train(1, 3)
    folder = training.save(3).parent
    before = folder.stat().st_mtime_ns
    state.source.stamp()
    state.read()
    assert folder.stat().st_mtime_ns == before
    assert [path.name for path in folder.iterdir()] == ["trainer_state.json"]
