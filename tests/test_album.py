"""A folder of pictures of a run: what is drawn when, what stands, and that its numbers are read back."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from smartmon.errors import UsageError
from smartmon.figures import portraits
from smartmon.figures.album import CATCH_UP, METRICS, SAMPLES, Album
from smartmon.figures.album import name as picture_name
from smartmon.records import SourceRank
from smartmon.sources import SourceSpec
from smartmon.sources.history import series_of
from smartmon.store import Store
from tests.sources.conftest import Reader
from tests.test_figures import HOSTILE, fill, steady, store

pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")

__all__ = ["store"]


def test_an_album_has_a_picture_each_so_many_steps_and_the_latest(store: Store, tmp_path: Path) -> None:
    run = fill(store, steady(25, tokens_per_sec=9.0))
    album = Album(tmp_path / "viz", 10)
    names = [path.name for path in album.keep_up(store, run)]
    assert names == ["training_step_000010.png", "training_step_000020.png", "training_latest.png"]
    assert album.keep_up(store, run) == []
    run = fill(store, {step: {"loss": 1.0} for step in range(26, 31)})
    assert [path.name for path in album.keep_up(store, run)] == [picture_name(30), "training_latest.png"]
    assert not list((tmp_path / "viz").glob(".partial-*"))


def test_an_album_draws_again_what_a_restart_goes_over_again(store: Store, tmp_path: Path) -> None:
    album = Album(tmp_path / "viz", 10)
    album.keep_up(store, fill(store, steady(20)))
    run = fill(store, {step: {"loss": 2.0} for step in range(15, 21)}, attempt=2)
    store.begin_attempt(run.id, 2, 15, 2000.0, "resumed")
    assert picture_name(20) in [path.name for path in album.keep_up(store, run)]


def test_an_album_of_a_long_past_has_its_newest_pictures(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartmon.figures.album.png", lambda told: b"png")
    drawn = Album(tmp_path / "viz", 1).keep_up(store, fill(store, steady(500)))
    assert [path.name for path in drawn[:-1]] == [picture_name(step) for step in range(501 - CATCH_UP, 501)]


def test_the_numbers_beside_the_pictures_are_those_of_the_run(store: Store, tmp_path: Path) -> None:
    rows: dict[int, dict[str, float]] = {1: {"loss": 1.5, "learning_rate": 1e-4}, 2: {"loss": math.nan}}
    run = fill(store, rows)
    examples = [{"step": 2, "prompt": "in", "golden": "right", "model_output": "out", "matches": False}]
    store.update_run(run.id, data={"samples": {"recent_examples": examples}})
    found = store.run("my-run")
    assert found is not None
    Album(tmp_path / "viz", 1).keep_up(store, found)
    history = json.loads((tmp_path / "viz" / METRICS).read_text())
    assert history == [
        {"step": 1, "timestamp": 1001.0, "loss": 1.5, "learning_rate": 1e-4},
        {"step": 2, "timestamp": 1002.0, "loss": "NaN"},
    ]
    # It is what smartmon itself takes for a history.
    assert list(series_of(history)) == ["rows"]
    (sample,) = json.loads((tmp_path / "viz" / SAMPLES).read_text())
    assert sample == {"step": 2, "input": "in", "output": "out", "expected": "right", "accuracy": 0.0}


def test_an_album_that_is_opened_again_draws_what_is_missing_and_what_is_of_an_older_attempt(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "viz"
    run = fill(store, steady(30))
    Album(folder, 10).keep_up(store, run)
    (folder / picture_name(20)).unlink()
    (folder / ".partial-x").write_bytes(b"of one that was killed")
    again = Album(folder, 10)
    assert [path.name for path in again.keep_up(store, run)] == [picture_name(20), "training_latest.png"]
    assert not (folder / ".partial-x").exists()
    for path in folder.glob("*.png"):
        os.utime(path, (1500.0, 1500.0))
    run = fill(store, {step: {"loss": 2.0} for step in range(15, 31)}, attempt=2)
    store.begin_attempt(run.id, 2, 15, 2000.0, "resumed")
    names = [path.name for path in Album(folder, 10).keep_up(store, run)]
    assert names == [picture_name(20), picture_name(30), "training_latest.png"]


def test_an_album_says_which_steps_it_was_too_slow_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartmon.figures.album.png", lambda told: b"png")
    album = Album(tmp_path / "viz", 1)
    album.keep_up(store, fill(store, steady(10)))
    assert album.skipped is None
    album.keep_up(store, fill(store, {step: {"loss": 1.0} for step in range(11, 101)}))
    assert album.skipped == (11, 100 - CATCH_UP)


def test_smartmon_reads_back_what_an_album_holds(store: Store, tmp_path: Path) -> None:
    rows: dict[int, dict[str, float]] = {
        step: {"loss": math.nan if step == 7 else 1 / step, "accuracy": step / 3, "tokens_per_sec": 1e3 + step}
        for step in range(1, 60)
    }
    rows[30]["eval_loss"] = 1.25
    run = fill(store, rows)
    # Sources write a NUL byte in letters; nobody misses it.
    said = [
        {
            "step": 9,
            "prompt": HOSTILE.replace("\x00", ""),
            "golden": "right",
            "model_output": "训练 🙂",
            "accuracy": 85.7,
        }
    ]
    store.update_run(run.id, data={"samples": {"recent_examples": said}})
    found = store.run("my-run")
    assert found is not None
    Album(tmp_path / "viz", 50).keep_up(store, found)

    def reader(name: str) -> Reader:
        return Reader(SourceSpec(name, "history", tmp_path / "viz" / name, SourceRank.STREAM))

    read = {row.step: dict(row.values) for row in reader(METRICS).read(1e10)}
    assert set(read) == set(rows)
    assert math.isnan(read[7]["loss"])
    assert all(read[step] == rows[step] for step in rows if step != 7)
    samples = reader(SAMPLES)
    samples.read(1e10)
    assert samples.status is not None
    assert portraits.examples(samples.status.extras) == portraits.examples(found.data["samples"])


def test_an_album_never_writes_over_the_trainers_own(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text("[]")
    with pytest.raises(UsageError, match="smartmon did not write"):
        Album(tmp_path, 1)
    assert (tmp_path / METRICS).read_text() == "[]"
