from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from smartmon.sources.history import recognises
from tests.sources.conftest import Reader

NOW = 2_000_000_000.0
ROWS = [
    {"step": n, "loss": 3 - n / 100, "accuracy": 50.0 + n, "tokens_per_sec": 900.0, "gpu_memory_mb": 4096}
    for n in range(1, 21)
]


def columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


class File:
    """A history that a trainer rewrites whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = NOW - 1000

    def write(self, value: object) -> None:
        self.clock += 10
        self.path.write_text(value if isinstance(value, str) else json.dumps(value))
        os.utime(self.path, (self.clock, self.clock))


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "metrics_history.json")


@pytest.fixture
def history(file: File, reader) -> Reader:
    return reader(file.path, "history")


def steps(history: Reader) -> list[int]:
    return [row.step for row in history.read(NOW)]


@pytest.mark.parametrize(
    "form", [list, columns, lambda rows: {"metrics": rows}, lambda rows: {"history": columns(rows)}]
)
def test_rows_and_columns_are_read_alike(file: File, history: Reader, form):
    file.write(form(ROWS))
    rows = history.read(NOW)
    assert [row.step for row in rows] == list(range(1, 21))
    assert dict(rows[4].values) == {
        "loss": 2.95,
        "accuracy": 55.0,
        "tokens_per_sec": 900.0,
        "gpu_memory_mb": 4096.0,
    }


@pytest.mark.parametrize("form", [list, columns])
def test_each_rewrite_adds_its_rows_once(file: File, history: Reader, form):
    file.write(form(ROWS[:8]))
    assert steps(history) == list(range(1, 9))
    before = history.source.stamp()
    file.write(form(ROWS[:12]))
    assert history.source.stamp() != before
    history.restart()
    assert steps(history) == [9, 10, 11, 12]
    assert steps(history) == []


def test_another_history_is_told_from_where_it_differs(file: File, history: Reader):
    file.write(ROWS)
    steps(history)
    file.write([*ROWS[:10], *({"step": n, "loss": 9.0} for n in range(11, 14))])
    assert steps(history) == [11, 12, 13]


def test_a_shorter_history_says_nothing_until_it_differs(file: File, history: Reader):
    file.write(ROWS)
    steps(history)
    file.write(ROWS[:5])
    assert steps(history) == []
    file.write([*ROWS[:5], {"step": 6, "loss": 7.0}])
    assert steps(history) == [6]


def test_a_history_that_starts_anew_is_told_from_its_start(file: File, history: Reader):
    file.write(ROWS)
    steps(history)
    file.write([{"step": 1, "loss": 8.0}])
    assert steps(history) == [1]


def test_a_history_of_bounded_length_goes_on_where_it_was(file: File, history: Reader):
    file.write(ROWS[:10])
    steps(history)
    file.write(ROWS[4:14])
    assert steps(history) == [11, 12, 13, 14]
    file.write(ROWS[8:18])
    assert steps(history) == [15, 16, 17, 18]


def test_columns_of_another_length_have_steps_of_their_own(file: File, history: Reader):
    value = {"iters": [0, 1, 2, 3], "loss": [4.0, 3.0, 2.0, 1.0], "val_iters": [0, 2], "val_loss": [4.5, 2.5]}
    file.write(value | {"meta": {"created": 1}})
    rows = history.read(NOW)
    assert [(row.step, *row.values) for row in rows] == [
        (0, "loss"),
        (0, "eval_loss"),
        (1, "loss"),
        (2, "loss"),
        (2, "eval_loss"),
        (3, "loss"),
    ]
    file.write(
        {"iters": [*range(5)], "loss": [4.0, 3.0, 2.0, 1.0, 0.5], "val_iters": [0, 2, 4], "val_loss": [4.5, 2.5, 1]}
    )
    assert [(row.step, *row.values) for row in history.read(NOW)] == [(4, "loss"), (4, "eval_loss")]


def test_a_half_written_history_is_tried_again_without_a_word(file: File, history: Reader):
    file.write(ROWS[:5])
    steps(history)
    text = json.dumps(ROWS[:10])
    file.write(text[: len(text) // 2])
    assert steps(history) == []
    assert history.source.stamp() != history.source.stamp(), "it must be looked at again, though it stays as it is"
    file.write(text)
    assert steps(history) == [6, 7, 8, 9, 10]
    assert history.notes == []


def test_a_history_that_stays_broken_is_one_note_and_recovers(file: File, history: Reader):
    file.write("[{")
    for seconds in (0, 3, 6, 9):
        history.read(NOW + seconds)
    file.write(ROWS[:2])
    assert [row.step for row in history.read(NOW + 12)] == [1, 2]
    assert ["is not valid JSON" in history.notes[0].message, "can be read again" in history.notes[1].message] == [
        True
    ] * 2
    assert len(history.notes) == 2


def test_rows_have_their_own_time_or_one_up_to_the_last_write(file: File, history: Reader):
    file.write([{"step": 1, "loss": 1.0, "timestamp": NOW - 990}])
    (row,) = history.read(NOW)
    assert (row.at, row.timed) == (NOW - 990, True)
    file.write([{"step": 1, "loss": 1.0, "timestamp": NOW - 990}, {"step": 2, "loss": 1.0}, {"step": 3, "loss": 1.0}])
    rows = history.read(NOW)
    assert [(row.at, row.timed) for row in rows] == [(NOW - 990, False), (NOW - 980, True)]


def test_a_long_history_comes_in_batches(file: File, history: Reader):
    file.write([{"step": n, "loss": 1.0 + n} for n in range(12_000)])
    sizes = []
    while True:
        batch = history.batch(NOW)
        sizes.append(len(batch.observations))
        if not batch.more:
            break
    assert sizes == [5000, 5000, 2000]


def test_samples_are_told_as_a_status_tells_them(tmp_path: Path, reader):
    path = tmp_path / "text_samples.json"
    rows = [{"step": n, "input": f"Q{n}", "output": f"A{n}", "accuracy": n / 10} for n in range(1, 9)]
    path.write_text(json.dumps(rows))
    samples = reader(path, "history")
    assert samples.read(NOW) == []
    extras = samples.status.extras
    assert (samples.status.state, samples.status.step) == (None, 8)
    assert (extras["current_prompt"], extras["model_answer"]) == ("Q8", "A8")
    assert [each["step"] for each in extras["recent_examples"]] == [4, 5, 6, 7, 8]
    assert extras["recent_examples"][-1] == {"step": 8, "prompt": "Q8", "model_output": "A8", "accuracy": 0.8}
    samples.status = None
    samples.restart()
    assert samples.read(NOW) == []
    assert samples.status is None


def test_columns_of_samples_are_read_too(tmp_path: Path, reader):
    path = tmp_path / "text_samples.json"
    path.write_text(json.dumps({"step": [1, 2], "input": ["a", "b"], "output": ["c", "d"]}))
    samples = reader(path, "history")
    samples.read(NOW)
    assert samples.status.extras["model_answer"] == "d"


@pytest.mark.parametrize("value", [None, 3, "x", {}, [], [1, None, []], {"step": []}, {"step": [1], "loss": "x"}])
def test_a_history_of_nothing_is_empty(file: File, history: Reader, value: object):
    file.write(json.dumps(value))
    assert steps(history) == []
    assert history.notes == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ROWS, "a list of objects that count steps"),
        (columns(ROWS), "columns with the steps in one"),
        ({"meta": {"a": 1}, "iters": [1], "loss": [2.0]}, "columns with the steps in one"),
        ([{"name": "x"}], ""),
        ([1, 2], ""),
        ({"log_history": [{"step": 1}], "steps": [1]}, ""),
        ({"status": "training", "current_step": 5, "recent_examples": [{"step": 1}]}, ""),
    ],
)
def test_a_history_is_known_by_its_content(value: object, reason: str):
    found = recognises(json.dumps(value, indent=2).encode(), Path("x.json"))
    assert reason in found
    assert bool(found) == bool(reason)


def test_the_account_says_what_became_of_the_keys(file: File, history: Reader):
    file.write([{"step": 1, "train_loss": 2.0, "note": "x"}, {"loss": 1.0}])
    history.read(NOW)
    account = history.source.account
    assert (account.rows, account.metrics["train_loss"]) == (1, "loss")
    assert account.ignored["note: no number"] == (1, "'x'")
    assert account.ignored["rows without a step or without a value"][0] == 1
