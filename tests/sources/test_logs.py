"""Logs of any name are found by what they hold, the newest of each kind, and nothing else is taken for one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from smartmon.records import SourceRank
from smartmon.sources import Discovery, discover
from smartmon.sources.looks import Looks
from tests.sources.tb_writer import scalars, version

NANOGPT = "".join(f"iter {i}: loss {3 - i / 100:.4f}, time 123.00ms, mfu 41.20%\n" for i in range(0, 40, 2))
HUGGING_FACE = "".join(
    f"\r {i}%|###| {i}/100 [00:10<01:00]{{'loss': {3 - i / 100}, 'learning_rate': 2e-05, 'epoch': {i / 100}}}\n"
    for i in range(1, 20)
)
LIGHTNING = "epoch,step,train_loss,val_loss\r\n" + "".join(f"0,{i},{3 - i / 100},\r\n" for i in range(10))
ROWS = "".join(json.dumps({"step": i, "loss": 3 - i / 100}) + "\n" for i in range(20))


EVENTS = version(1.0) + b"".join(scalars(float(i), i, {"train/loss": 2.0}) for i in range(5))


def put(base: Path, contents: dict[str, str | bytes]) -> Path:
    for name, content in contents.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return base


def found(base: Path) -> dict[str, dict[str, str]]:
    """Run -> the ids of its sources and their formats."""
    runs, _notes = discover([base])
    return {run.name: {spec.id: spec.format for spec in run.sources} for run in runs}


def test_what_a_trainer_prints_makes_its_folder_a_run(tmp_path: Path) -> None:
    put(tmp_path, {"a/train.out": NANOGPT, "b/slurm-123.out": HUGGING_FACE, "c/logs/debug.log": HUGGING_FACE})
    assert found(tmp_path) == {
        "a": {"train.out": "text"},
        "b": {"slurm-123.out": "text"},
        "c": {"logs/debug.log": "text"},
    }
    runs, _ = discover([tmp_path])
    assert {spec.rank for run in runs for spec in run.sources} == {SourceRank.TEXT}


def test_tables_and_event_files_are_found(tmp_path: Path) -> None:
    put(tmp_path, {"lightning_logs/version_0/metrics.csv": LIGHTNING, "tb/exp/events.out.tfevents.17.host": EVENTS})
    assert found(tmp_path) == {
        "lightning_logs/version_0": {"metrics.csv": "csv"},
        "tb/exp": {".": "tensorboard"},
    }


def test_the_event_files_of_all_starts_of_hugging_face_are_one_story_of_the_run_around_them(tmp_path: Path) -> None:
    starts = {"Nov20_23-00-00_host": "1763000000", "Nov21_07-38-01_host": "1763700000"}
    put(tmp_path / "out", {f"runs/{name}/events.out.tfevents.{at}.host": EVENTS for name, at in starts.items()})
    assert found(tmp_path) == {"out": {"runs/": "tensorboard"}}


def test_a_folder_of_runs_named_runs_is_searched_as_ever(tmp_path: Path) -> None:
    put(tmp_path, {"runs/exp1/train.log": NANOGPT})
    assert found(tmp_path) == {"runs/exp1": {"train.log": "text"}}


def test_event_files_in_a_tensorboard_folder_belong_to_the_run_around_it(tmp_path: Path) -> None:
    put(tmp_path / "r", {"tensorboard/events.out.tfevents.17.host": EVENTS, "train.log": NANOGPT})
    assert found(tmp_path) == {"r": {"tensorboard/": "tensorboard", "train.log": "text"}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("smart_monitor_20261121.log", NANOGPT),
        ("requirements.txt", "torch==2.0\n" * 30),
        ("app.log", "2026-11-21 07:00:00 INFO started\n" * 50),
        ("train.jsonl", '{"messages": [{"role": "user", "content": "step 1 loss 2"}]}\n' * 20),
        ("prompts.jsonl", '{"prompt": "a", "completion": "b"}\n' * 20),
        ("data.csv", "id,name,price\n1,a,2\n2,b,3\n"),
        ("notes.txt", "I saw loss 2.0 at step 100 yesterday.\n"),
        ("empty.log", ""),
        ("core.out", "\x7fELF" + "\0" * 5000),
    ],
)
def test_what_is_no_log_makes_no_run(tmp_path: Path, name: str, content: str) -> None:
    put(tmp_path, {f"r/{name}": content})
    assert found(tmp_path) == {}


def test_a_log_that_says_nothing_yet_is_looked_at_again_when_it_has_grown(tmp_path: Path) -> None:
    put(tmp_path, {"r/train.log": "Collecting torch\nnumber of parameters: 10.65M\n"})
    looking = Discovery()
    assert looking.scan([tmp_path])[0] == []
    put(tmp_path, {"r/train.log": "Collecting torch\nnumber of parameters: 10.65M\n" + NANOGPT})
    assert [run.name for run in looking.scan([tmp_path])[0]] == ["r"]


def test_a_log_once_known_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"r/train.log": NANOGPT})
    looking = Discovery()
    looking.scan([tmp_path])
    monkeypatch.setattr(Looks, "_look", lambda _self, path, *_: pytest.fail(f"{path} was looked into again"))
    put(tmp_path, {"r/train.log": NANOGPT + NANOGPT})
    assert [run.name for run in looking.scan([tmp_path])[0]] == ["r"]


def test_each_start_writes_a_log_of_its_own_and_the_newest_is_read(tmp_path: Path) -> None:
    put(tmp_path, {"r/log_100.txt": NANOGPT, "r/log_200.txt": NANOGPT})
    os.utime(tmp_path / "r/log_100.txt", (1e9, 1e9))
    os.utime(tmp_path / "r/log_200.txt", (2e9, 2e9))
    looking = Discovery()
    assert [spec.id for spec in looking.scan([tmp_path])[0][0].sources] == ["log_200.txt"]
    put(tmp_path, {"r/log_300.txt": NANOGPT})
    os.utime(tmp_path / "r/log_300.txt", (2e9 + 100, 2e9 + 100))
    assert [spec.id for spec in looking.scan([tmp_path])[0][0].sources] == ["log_200.txt"], "too soon to tell"
    os.utime(tmp_path / "r/log_300.txt", (2e9 + 200, 2e9 + 200))
    runs, notes = looking.scan([tmp_path])
    assert [spec.id for spec in runs[0].sources] == ["log_300.txt"]
    assert notes == []


def test_two_logs_that_grow_side_by_side_are_told_of_once(tmp_path: Path) -> None:
    put(tmp_path, {"r/a.log": NANOGPT, "r/b.log": NANOGPT})
    looking, told = Discovery(), []
    for at in range(0, 100, 10):
        for delay, name in ((0, "a.log"), (5, "b.log")):
            os.utime(tmp_path / "r" / name, (2e9 + at + delay, 2e9 + at + delay))
        runs, notes = looking.scan([tmp_path])
        assert len(runs[0].sources) == 1
        told += notes
    assert [note.message.partition(": ")[2] for note in told] == [
        "give each run a folder of its own, or name it and its log under [[runs]]"
    ]


def test_beside_a_log_of_a_known_name_other_json_lines_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, {"r/trainer_log.jsonl": ROWS, "r/generated.jsonl": ROWS})
    put(tmp_path, {"s/exp1.jsonl": ROWS})
    assert found(tmp_path) == {"r": {"trainer_log.jsonl": "jsonl"}, "s": {"exp1.jsonl": "jsonl"}}
