"""Looking into thousands of files: bounded in time and in memory, the promising ones first."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest

from smartmon.sources import Discovery, discover
from smartmon.sources.looks import Looks
from smartmon.sources.sniff import stumbled

NANOGPT = "".join(f"iter {i}: loss {3 - i / 100:.4f}, time 123.00ms, mfu 41.20%\n" for i in range(0, 40, 2))


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.txt" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_text("once upon a time\n")
        os.utime(path, (1e9 + number, 1e9 + number))
    return paths


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look takes one second of the processor."""
    monkeypatch.setattr("smartmon.sources.looks.time.thread_time", itertools.count().__next__)


@pytest.mark.usefixtures("slow")
def test_a_scan_looks_only_for_so_long_and_into_the_newest_first(texts: list[Path]):
    seen: list[str] = []
    looks = Looks(lambda path, _options: seen.append(path.name), patience=3)
    files = [(path, None) for path in texts]
    expected = [f"{number}.txt" for number in reversed(range(20))]
    for scan in range(1, 8):
        looks.begin()
        looks.ahead(files)
        assert [looks.format(path) for path in texts] == [None] * 20
        assert seen == expected[: 3 * scan]
        assert looks.behind == max(0, 20 - 3 * scan)


@pytest.mark.usefixtures("slow")
def test_what_was_found_stays_known_while_others_wait(texts: list[Path]):
    looks = Looks(lambda _path, _options: "text", patience=1)
    looks.begin()
    looks.ahead([(texts[0], None)])
    for _ in range(30):
        looks.begin()
        looks.ahead((path, None) for path in texts)
        assert looks.format(texts[0]) == "text"
    assert {looks.format(path) for path in texts} == {"text"}


def test_nothing_is_read_again_while_nothing_changes(texts: list[Path], monkeypatch: pytest.MonkeyPatch):
    (texts[0].parent / "train.log").write_text(NANOGPT)
    looking = Discovery()
    first, _notes = looking.scan([texts[0].parent])
    assert [run.name for run in first] == [texts[0].parent.name]
    monkeypatch.setattr(Looks, "_look", lambda _self, path, *_: pytest.fail(f"{path} was read again"))
    assert [looking.scan([texts[0].parent])[0] for _ in range(3)] == [first] * 3


def test_a_file_that_grows_and_never_is_a_log_is_looked_into_less_and_less(tmp_path: Path):
    path, seen = tmp_path / "app.log", []
    looks = Looks(lambda _path, _options: seen.append(path.stat().st_size))
    for size in range(1000, 3000):
        path.write_bytes(bytes(size))
        looks.begin()
        looks.format(path)
    assert seen[:64] == [*range(1000, 1064)]
    assert seen[64:] == [1329, 1662, 2078, 2598]


def test_files_that_are_gone_are_forgotten(texts: list[Path]):
    looks = Looks(stumbled)
    for path in texts:
        looks.begin()
        looks.ahead((each, None) for each in texts)
        assert path in looks.known
        path.unlink()
    looks.begin()
    looks.ahead((each, None) for each in texts)
    assert looks.known == {}


def test_the_newest_of_hundreds_of_logs_in_a_folder_is_the_runs(tmp_path: Path):
    for job in range(100, 300):
        (tmp_path / f"slurm-{job}.out").write_text(NANOGPT)
        os.utime(tmp_path / f"slurm-{job}.out", (1e9 + job * 1000, 1e9 + job * 1000))
    for part in range(200):
        (tmp_path / f"a{part}.txt").write_text("a story\n")
    (tmp_path / "metrics.csv").write_text("step,loss\n1,2.0\n")
    os.utime(tmp_path / "metrics.csv", (1e9, 1e9))
    (run,), _notes = discover([tmp_path])
    assert {spec.id for spec in run.sources} == {"slurm-299.out", "metrics.csv"}


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "1 + 1", "step": 1, "rating": 1.0},
        {"step": 3, "tool": "bash", "duration_ms": 20},
        {"episode": 1, "step": 2, "action": 3, "reward": 0.5},
        {"iteration": 3, "level": "info", "message": "the loss of a customer"},
    ],
    ids=["steps of a proof", "trace of an agent", "trajectory", "log of a program"],
)
def test_what_counts_steps_and_trains_nothing_is_no_run(row: dict[str, object], tmp_path: Path):
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row | {"step": step}) + "\n" for step in range(40)))
    assert discover([tmp_path])[0] == []


@pytest.mark.parametrize("key", ["loss", "val/loss", "eval_accuracy", "actor/pg_loss", "learning_rate", "val_bpb"])
def test_rows_that_measure_training_are_one_under_any_name(key: str, tmp_path: Path):
    rows = [{"config": {"lr": 1}}, *({"step": step, "x": 1, key: 0.5} for step in range(40))]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run,), _notes = discover([tmp_path])
    assert [spec.id for spec in run.sources] == ["mine.jsonl"]


def test_a_program_that_loses_packets_is_no_run(tmp_path: Path):
    lines = (f"10:00:{i % 60:02d} INFO probe: step {i} of 500, packet loss: {i / 7:.2f}%\n" for i in range(99))
    (tmp_path / "app.log").write_text("".join(lines))
    assert discover([tmp_path])[0] == []
