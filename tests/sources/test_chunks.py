"""What a log says does not depend on when it was looked at, or on restarts of the daemon between two looks."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.conftest import Reader, SourceSpec

NOW = 2_000_000_000.0
numbers = st.floats() | st.integers(-9, 9) | st.none() | st.sampled_from(["nan", "1.5", "x"])
metrics = st.dictionaries(
    st.sampled_from(["loss", "train_loss", "eval_loss", "lr", "reward", "ppl", "ø"]), numbers, max_size=4
)
flat = st.builds(
    lambda step, at, row: {"step": step, "timestamp": NOW - at} | row, st.integers(0, 50), st.integers(0, 9), metrics
)
nested = st.builds(lambda step, row: {"step": step, "data": row}, st.integers(0, 50), metrics)
factory = st.builds(lambda step, row: {"current_steps": step, "total_steps": 50} | row, st.integers(0, 50), metrics)
lines = st.lists((flat | nested | factory).map(json.dumps) | st.sampled_from(["", "{", "rubbish", "[1]"]), max_size=12)


def told(path: Path, text: bytes, cuts: list[int], kind: str) -> list[tuple[Any, ...]]:
    """Write a file in pieces, look after each with a fresh reader, and return what was told of values."""
    reader = Reader(SourceSpec("x", kind, path))
    rows = []
    path.touch()
    for begin, end in zip([0, *cuts], [*cuts, len(text)]):
        with path.open("ab") as file:
            file.write(text[begin:end])
        rows += reader.read(NOW)
        reader.restart()
    return [(row.step, sorted(row.values.items()), sorted(row.nulls), row.percent) for row in rows]


@settings(max_examples=60, deadline=None)
@given(lines=lines, data=st.data())
@pytest.mark.parametrize("name", ["training_log.jsonl", "eval_log.jsonl"])
def test_a_log_cut_anywhere_says_the_same(name: str, lines: list[str], data: st.DataObject):
    text = "".join(line + "\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    with tempfile.TemporaryDirectory() as folder:
        once = told(Path(folder) / name, text, [], "jsonl")
        (Path(folder) / "again").mkdir()
        again = told(Path(folder) / "again" / name, text, cuts, "jsonl")
    assert repr(again) == repr(once)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(metrics, min_size=1, max_size=20), data=st.data())
@pytest.mark.parametrize("kind", ["trainer_state", "history"])
def test_a_history_says_the_same_however_often_it_was_saved(kind: str, rows: list[dict[str, Any]], data: st.DataObject):
    rows = [{"step": n} | row for n, row in enumerate(rows, 1)]
    saves = sorted(data.draw(st.sets(st.integers(1, len(rows)), max_size=5)) | {len(rows)})
    found = []
    for versions in (saves, saves[-1:]):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.json"
            reader = Reader(SourceSpec("x", kind, path))
            told = []
            for count in versions:
                path.write_text(json.dumps(rows[:count] if kind == "history" else {"log_history": rows[:count]}))
                told += reader.read(NOW)
                reader.restart()
            found.append([(row.step, sorted(row.values.items()), sorted(row.nulls)) for row in told])
    assert repr(found[0]) == repr(found[1])
