"""A `trainer_state.json` of tens of megabytes: a slice at each read, every row once, and no byte again without need."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon.sources import trainer_state
from smartmon.sources.jsonwalk import LONGEST, SLICE, Walk, walk
from tests.sources.conftest import Reader

NOW = 2_000_000_000.0
IO = Path("/proc/thread-self/io")
ROW = """    {
      "epoch": %.4f,
      "grad_norm": 1.234567890123,
      "learning_rate": 1.9e-05,
      "loss": %r,
      "step": %d
    }"""
END = '\n  ],\n  "max_steps": 1000000,\n  "stateful_callbacks": {"a": [1, {}]}\n}\n'


def bytes_read() -> int:
    """How many bytes this thread has asked the kernel for."""
    return int(IO.read_text().split()[1])


class Saves:
    """Writes states as large as wanted; their rows say their step in every digit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = NOW
        self.rows: dict[tuple[int, bool], str] = {}

    def row(self, n: int, other: int | None) -> str:
        """Return the text of a row; made once, for most of the time of these tests went into that."""
        key = (n, other is not None and n >= other)
        if key not in self.rows:
            self.rows[key] = ROW % (n / 1000, (9 if key[1] else 2) - n / 1e7, n)
        return self.rows[key]

    def save(self, step: int, *, other: int | None = None, end: str = END) -> Path:
        """Write the state of a step; from the row `other` on, the run tells another story."""
        self.clock += 100
        path = self.folder / f"checkpoint-{step}" / "trainer_state.json"
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as file:
            file.write(f'{{\n  "epoch": {step / 1000},\n  "global_step": {step},\n  "log_history": [\n')
            file.write(",\n".join(self.row(n, other) for n in range(1, step + 1)))
            file.write(end)
        os.utime(path, (self.clock, self.clock))
        return path


@pytest.fixture
def saves(tmp_path: Path) -> Saves:
    return Saves(tmp_path)


@pytest.fixture
def state(tmp_path: Path, reader) -> Reader:
    return reader(tmp_path, "trainer_state")


def batches(state: Reader) -> Iterator[tuple[list[int], int]]:
    """Read to the end: the steps of each batch, and the bytes that it cost."""
    while True:
        state.restart()  # nothing may be lost by a restart between two slices
        before = bytes_read()
        batch = state.batch(NOW + 10_000)
        yield [row.step for row in batch.observations], bytes_read() - before
        if not batch.more:
            return


def steps(state: Reader) -> list[int]:
    return [step for found, _cost in batches(state) for step in found]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(not IO.exists(), reason="the kernel does not count what a thread reads")
def test_sixty_megabytes_are_read_in_slices_and_the_next_save_costs_its_new_rows_alone(saves: Saves, state: Reader):
    size = saves.save(420_000).stat().st_size
    assert size > 60e6
    found, costs, most = [], 0, 0
    for rows, cost in batches(state):
        found += rows
        assert len(rows) <= 5000
        costs, most = costs + cost, max(most, cost)
    assert found == list(range(1, 420_001))
    assert most < 4 * SLICE
    assert costs < 3.5 * size, "once to look through it, once to take the rows, and what slices have in common"
    assert state.status.step == 420_000

    saves.save(421_000)
    ((rows, cost),) = batches(state)
    assert rows == list(range(420_001, 421_001))
    assert cost < 4 * SLICE
    assert state.status.step == 421_000
    assert state.notes == []


def test_the_last_row_of_a_long_state_is_timed_by_a_later_save(saves: Saves, state: Reader):
    saves.save(20_000)
    assert not any(row.timed for row in state.read(NOW + 10_000))
    saves.save(20_010)
    rows = state.read(NOW + 10_000)
    assert [row.timed for row in rows] == [False] * 9 + [True]
    assert rows[-1].at == NOW + 200


def test_a_long_state_is_looked_through_again_where_another_story_begins(saves: Saves, state: Reader):
    saves.save(30_000)
    assert len(steps(state)) == 30_000
    saves.save(29_500, other=29_001)
    assert steps(state) == list(range(29_001, 29_501))
    saves.save(29_600, other=29_001)
    assert steps(state) == list(range(29_501, 29_601))


def test_no_row_of_a_long_state_is_told_before_its_end_is_known_to_be_whole(saves: Saves, state: Reader):
    saves.save(30_000, end="\n  ]\n}\n}")
    assert steps(state) == []
    for seconds in (10_000, 10_010):
        state.read(NOW + seconds)
    assert [note.message.split(" is ")[0] for note in state.notes] == ["checkpoint-30000/trainer_state.json"]
    saves.save(30_000)
    assert len(steps(state)) == 30_000


def test_a_run_that_died_while_saving_a_long_state_is_read_from_the_save_before(saves: Saves, state: Reader):
    saves.save(10_000)
    saves.save(30_000, end="")
    assert steps(state) == list(range(1, 10_001))


def test_a_broken_version_is_not_looked_through_twice(saves: Saves, state: Reader):
    saves.save(30_000, end="")
    state.read(NOW)
    before = bytes_read()
    state.read(NOW + 1)
    assert bytes_read() - before < 10_000


def test_a_long_state_that_is_saved_again_meanwhile_is_begun_anew(saves: Saves, state: Reader):
    saves.save(30_000)
    assert state.batch(NOW + 10_000).more
    saves.save(30_000, other=5)
    rows = state.read(NOW + 10_000)
    assert [row.step for row in rows] == list(range(1, 30_001))
    assert rows[-1].values["loss"] == 9 - 30_000 / 1e7


def test_a_long_state_that_rotation_takes_away_meanwhile_gives_way_to_the_next(saves: Saves, state: Reader):
    path = saves.save(30_000)
    begun: list[int] = []
    while not begun:
        begun = [row.step for row in state.batch(NOW + 10_000).observations]
    saves.save(31_000)
    path.unlink()
    path.parent.rmdir()
    assert [*begun, *steps(state)] == list(range(1, 31_001))
    assert len(begun) <= 5000


def test_what_is_saved_while_a_long_state_is_read_comes_next(saves: Saves, state: Reader):
    saves.save(30_000)
    assert state.batch(NOW + 10_000).more
    saves.save(30_500)
    assert steps(state) == list(range(1, 30_501))


def test_a_resume_seen_only_at_first_sight_of_a_long_state_tells_both_stories(saves: Saves, state: Reader):
    saves.save(30_000)
    saves.save(29_000, other=28_001)
    assert steps(state) == [*range(1, 30_001), *range(28_001, 29_001)]


def test_the_cursor_stays_small(saves: Saves, state: Reader):
    saves.save(30_000)
    for _rows, _cost in batches(state):
        assert len(json.dumps(state.cursor)) < 50_000


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
@pytest.mark.parametrize("order", [sorted, lambda keys: sorted(keys, reverse=True)])
def test_strings_escapes_nan_and_any_indentation_are_walked_through(tmp_path: Path, indent, order):
    rows = [
        {"step": 1, "loss": float("nan"), "text": 'a "quoted" } ] , \\'},
        {"step": 2, "loss": float("-inf"), "größe": 1.5, "nested": {"log_history": [{"step": 9}]}},
        {"step": 3, "loss": -1.5e-07, "empty": {}, "list": [[], "]"]},
    ]
    state = {"best": "log_history", "epoch": 1.25, "log_history": rows, "max_steps": 12, "z": {"log_history": [1]}}
    path = tmp_path / "trainer_state.json"
    text = json.dumps({key: state[key] for key in order(state)}, indent=indent, ensure_ascii=False)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n")
    place = Walk()
    with path.open("rb") as file:
        found = list(walk(file.fileno(), path.stat().st_size, place, "log_history"))
    assert repr(found) == repr([{**row} for row in rows])
    assert place.whole
    assert place.top == {"epoch": 1.25, "max_steps": 12}


def test_a_value_across_the_edge_of_a_slice_is_read_whole(tmp_path: Path):
    path = tmp_path / "trainer_state.json"
    rows = [{"step": n, "text": "x" * 400_000} for n in range(5)] + [{"step": 5, "text": "y" * (3 * SLICE)}]
    path.write_text(json.dumps({"log_history": rows, "global_step": 12345}))
    place, found, slices = Walk(), [], 0
    with path.open("rb") as file:
        while not place.whole:
            slices += 1
            found += list(walk(file.fileno(), path.stat().st_size, place, "log_history"))
            place = Walk.read(json.loads(json.dumps(place.data())))
    assert found == rows
    assert slices > 4
    assert place.top == {"global_step": 12345}


def test_a_value_without_end_is_given_up(saves: Saves, state: Reader):
    saves.save(10, end=',{"step": 11, "text": "' + "x" * (2 * LONGEST) + '"}]}')
    assert steps(state) == []
    for seconds in (10_000, 10_010):
        state.read(NOW + seconds)
    assert "holds a value of more than" in state.notes[0].message


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_state_cut_anywhere_is_never_believed(tmp_path: Path, state: Reader, cut: int):
    path = tmp_path / "trainer_state.json"
    text = json.dumps({"epoch": 1.5, "log_history": [{"step": 1, "loss": 1.0}, {"step": 2}], "x": {"y": {}}})
    path.write_text(text[:-cut])
    assert steps(state) == []
    path.write_text(text)
    assert steps(state) == [1]


def test_a_state_is_known_by_its_content():
    head = b'{\n "best_metric": null,\n "log_history": [\n  {'
    assert "log_history" in trainer_state.recognises(head, Path("x"))
    assert trainer_state.recognises(b'[{"log_history": []}]', Path("trainer_state.json")) == ""
    assert trainer_state.recognises(b'{"step": 1}', Path("trainer_state.json")) == ""
