from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from smartmon.records import SourceRank
from smartmon.sources import Discovery, FoundRun, discover


@dataclass(frozen=True)
class Entry:
    """A `[[runs]]` entry."""

    path: Path
    name: str | None = None
    logs: Sequence[Path] = ()
    checkpoint_dir: Path | None = None
    pattern: Sequence[str] = ()
    keys: Mapping[str, str] = field(default_factory=dict)


def put(base: Path, *names: str) -> Path:
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    return base


def found(*bases: Path) -> dict[str, list[str]]:
    runs, _ = discover(bases)
    return {run.name: [spec.id for spec in run.sources] for run in runs}


def test_a_status_folder_makes_the_base_dir_a_run(tmp_path: Path):
    put(tmp_path / "train", "status/training_status.json")
    assert found(tmp_path / "train") == {"train": ["status/training_status.json"]}


def test_a_run_without_a_status_file_yet_is_there_already(tmp_path: Path):
    put(tmp_path / "train", "status/")
    assert found(tmp_path / "train") == {"train": ["status/training_status.json"]}


def test_all_that_tells_about_a_run_belongs_to_it_streams_first(tmp_path: Path):
    names = ("logs/training_log.jsonl", "logs/eval_log.jsonl", "logs/error_log.jsonl", "logs/expert_usage_log.jsonl")
    put(tmp_path / "out", "status/training_status.json", *names, "checkpoint-10/", "trainer_log.jsonl")
    runs, notes = discover([tmp_path])
    assert [run.name for run in runs] == ["out"]
    ranks = [spec.rank for spec in runs[0].sources]
    assert ranks == [SourceRank.STREAM] * 5 + [SourceRank.STATE, SourceRank.STATUS]
    assert notes == []


def test_the_model_folder_belongs_to_the_run_around_it(tmp_path: Path):
    put(tmp_path / "r", "current_model/status/training_status.json", "current_model/checkpoint-5/x")
    assert found(tmp_path) == {"r": ["trainer_state.json", "current_model/status/training_status.json"]}


def test_a_detail_file_is_read_but_does_not_speak_for_the_run(tmp_path: Path):
    put(tmp_path / "r", "status/training_detail.json", "status/training_status.json")
    runs, _ = discover([tmp_path])
    assert [(spec.id, dict(spec.options)) for spec in runs[0].sources] == [
        ("status/training_detail.json", {"state": False}),
        ("status/training_status.json", {}),
    ]


def test_runs_are_named_by_their_path(tmp_path: Path):
    put(tmp_path, "a/b/trainer_log.jsonl", "a/logging.jsonl", "c/checkpoint-1/trainer_state.json")
    assert list(found(tmp_path)) == ["a", "a/b", "c"]


def test_logs_of_evaluations_count_only_beside_a_training_log(tmp_path: Path):
    put(tmp_path, "a/eval_log.jsonl", "b/error_log.jsonl")
    assert found(tmp_path) == {}


@pytest.mark.parametrize(
    "name",
    [
        "snapshots/s/checkpoint-1/trainer_state.json",
        "snapshots/s/trainer_log.jsonl",
        ".smartmon/trainer_log.jsonl",
        ".cache/x/trainer_log.jsonl",
        "a/b/c/d/e/trainer_log.jsonl",
        "logs/smart_monitor_20251112.log",
        "checkpoint-5",
        "checkpoint-5x/trainer_log.txt",
        "src/status/server.py",
        "venv/lib/node_modules/trainer_log.jsonl",
    ],
)
def test_what_is_no_run_is_not_found(tmp_path: Path, name: str):
    put(tmp_path, name)
    assert found(tmp_path) == {}


def test_a_virtual_environment_is_not_searched(tmp_path: Path):
    put(tmp_path, "env/pyvenv.cfg", "env/x/trainer_log.jsonl")
    assert found(tmp_path) == {}


def test_our_own_folders_are_not_searched_whatever_their_names(tmp_path: Path):
    put(tmp_path, "kept/x/trainer_log.jsonl")
    assert discover([tmp_path], skip=[tmp_path / "kept"]) == ([], [])


def test_four_folders_deep_is_still_searched(tmp_path: Path):
    put(tmp_path, "a/b/c/d/trainer_log.jsonl")
    assert list(found(tmp_path)) == ["a/b/c/d"]


def test_a_nested_base_dir_the_same_twice_and_a_link_give_each_run_once(tmp_path: Path):
    put(tmp_path / "a", "trainer_log.jsonl", "b/trainer_log.jsonl", "b/c/trainer_log.jsonl")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "loop").symlink_to("..")
    runs, _ = discover([tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a", tmp_path / "link"])
    assert [(run.name, run.base_dir.name) for run in runs] == [("a", "a"), ("b", "b"), ("c", "b")]


def test_patterns_stand_for_base_dirs(tmp_path: Path):
    put(tmp_path, "one/trainer_log.jsonl", "two/trainer_log.jsonl", "other/trainer_log.jsonl", "one.txt")
    assert list(found(tmp_path / "[ot][nw]*")) == ["one", "two"]


def test_a_base_dir_that_looks_like_a_pattern_is_itself(tmp_path: Path):
    put(tmp_path, "run[1]/trainer_log.jsonl", "run1/trainer_log.jsonl")
    assert list(found(tmp_path / "run[1]")) == ["run[1]"]


def test_equal_names_are_told_apart_by_the_base_dir(tmp_path: Path):
    for base in ("x/runs", "y/runs", "z/other"):
        put(tmp_path / base, "exp/trainer_log.jsonl")
    names = list(found(*(tmp_path / base for base in ("x/runs", "y/runs", "z/other"))))
    assert names == ["exp", "other/exp", "runs/exp"]


def test_a_name_once_given_stays(tmp_path: Path):
    put(tmp_path, "a/exp/trainer_log.jsonl", "b/exp/trainer_log.jsonl")
    known = {tmp_path / "b" / "exp": "exp"}
    runs, _ = Discovery().scan([tmp_path / "a", tmp_path / "b"], names=known)
    assert {run.name: run.base_dir.name for run in runs} == {"exp": "b", "a/exp": "a"}


@pytest.mark.parametrize(
    "name", ["new\nline", "-rf", "[/red]", "\x1b[2J", "x" * 255, "sp ace", "'\"", "日本", "run logs"]
)
def test_odd_names_survive(tmp_path: Path, name: str):
    put(tmp_path, f"{name}/status/training_status.json")
    assert list(found(tmp_path)) == [name]


def test_a_name_that_is_no_utf_8_can_be_stored_and_its_path_opened(tmp_path: Path):
    put(tmp_path, os.fsdecode(b"caf\xe9/trainer_log.jsonl"))
    (run,) = discover([tmp_path])[0]
    assert run.name == "caf\\xe9"
    assert run.sources[0].path.is_file()


def test_a_crowded_folder_is_skipped_with_one_note(tmp_path: Path):
    put(tmp_path, "ok/trainer_log.jsonl", "crowd/")
    for n in range(10_001):
        os.close(os.open(tmp_path / "crowd" / f"f{n}", os.O_CREAT))
    discovery = Discovery()
    notes = [note for _ in range(4) for note in discovery.scan([tmp_path])[1]]
    assert [note.message for note in notes] == [
        f"{tmp_path / 'crowd'} holds more than 10,000 entries and is not searched"
    ]
    assert [run.name for run in discovery.scan([tmp_path])[0]] == ["ok"]


def test_a_scan_again_lists_nothing_that_stayed_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for n in range(50):
        put(tmp_path, f"run{n}/logs/training_log.jsonl")
    discovery, listed = Discovery(), []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or real(path))
    first, *_, last = [discovery.scan([tmp_path])[0] for _ in range(3)]
    assert first == last
    listed.clear()
    discovery.scan([tmp_path])
    assert listed == []


def test_what_appears_in_the_same_tick_of_the_clock_is_found(tmp_path: Path):
    discovery = Discovery()
    os.utime(tmp_path, (1e9, 1e9))
    assert discovery.scan([tmp_path])[0] == []
    put(tmp_path, "run/trainer_log.jsonl")
    os.utime(tmp_path, (1e9, 1e9))
    assert [run.name for run in discovery.scan([tmp_path])[0]] == ["run"]


def test_a_missing_base_dir_is_found_when_it_appears(tmp_path: Path):
    discovery = Discovery()
    assert discovery.scan([tmp_path / "later"]) == ([], [])
    put(tmp_path, "later/a/b/trainer_log.jsonl")
    assert [run.name for run in discovery.scan([tmp_path / "later"])[0]] == ["a/b"]


def only(runs: list[FoundRun]) -> FoundRun:
    (run,) = runs
    return run


def test_config_names_a_run_and_adds_logs(tmp_path: Path):
    put(tmp_path, "exp/trainer_log.jsonl", "exp/out/a.jsonl", "exp/out/b.jsonl")
    entry = Entry(tmp_path / "exp", "mine", (Path("out/*.jsonl"), Path("later.jsonl")))
    run = only(discover([tmp_path], [entry])[0])
    assert run.name == "mine"
    assert [spec.id for spec in run.sources] == ["trainer_log.jsonl", "out/a.jsonl", "out/b.jsonl", "later.jsonl"]
    assert run.sources[1].root is None
    assert run.sources[0].root == tmp_path


def test_config_names_a_run_outside_of_every_base_dir(tmp_path: Path):
    put(tmp_path, "base/", "elsewhere/status/training_status.json")
    run = only(discover([tmp_path / "base"], [Entry(tmp_path / "elsewhere")])[0])
    assert (run.name, run.base_dir.name, run.path.name) == ("elsewhere", "base", "elsewhere")


def test_a_configured_log_is_read_by_what_it_holds(tmp_path: Path):
    put(tmp_path, "exp/")
    (tmp_path / "exp" / "history").write_text('{"log_history": [], "global_step": 1}')
    (tmp_path / "exp" / "now").write_text('{"status": "training", "step": 1}')
    run = only(discover([tmp_path], [Entry(tmp_path / "exp", "e", (Path("history"), Path("now")))])[0])
    assert [spec.format for spec in run.sources] == ["trainer_state", "status"]


def test_what_the_config_says_of_lines_and_keys_goes_before_what_was_found(tmp_path: Path):
    put(tmp_path, "exp/")
    (tmp_path / "exp" / "train.log").write_text("".join(f"step {n} loss: 2.0 ce {n}\n" for n in range(5)))
    (tmp_path / "exp" / "rows.jsonl").write_text("".join(f'{{"step": {n}, "ce": 2.0}}\n' for n in range(5)))
    told = Entry(tmp_path / "exp", pattern=(r"step (?P<step>\d+) .*ce (?P<loss>\S+)",), keys={"ce": "loss"})
    for entry in (told, replace(told, logs=(Path("train.log"), Path("rows.jsonl")))):
        sources = {spec.id: spec for spec in only(discover([tmp_path], [entry])[0]).sources}
        assert sources["train.log"].options["pattern"] == list(told.pattern)
        assert sources["rows.jsonl"].options["keys"] == {"ce": "loss"}


def test_a_configured_log_is_looked_into_once(tmp_path: Path):
    put(tmp_path, "exp/")
    path = tmp_path / "exp" / "thing"
    path.write_text('{"n": 1, "ce": 2.0}\n' * 3)
    entry = Entry(tmp_path / "exp", logs=(Path("thing"),), keys={"n": "step", "ce": "loss"})
    discovery = Discovery()
    assert only(discovery.scan([tmp_path], [entry])[0]).sources[0].format == "jsonl"
    path.write_text("n,ce\n" + "1,2.0\n" * 50)
    assert only(discovery.scan([tmp_path], [entry])[0]).sources[0].format == "jsonl"
    assert only(Discovery().scan([tmp_path], [entry])[0]).sources[0].format == "csv"


def test_checkpoints_elsewhere_are_read_there(tmp_path: Path):
    put(tmp_path, "exp/trainer_log.jsonl", "disk/checkpoint-5/")
    run = only(discover([tmp_path / "exp"], [Entry(tmp_path / "exp", "e", (), tmp_path / "disk")])[0])
    assert [spec.path for spec in run.sources] == [tmp_path / "exp" / "trainer_log.jsonl", tmp_path / "disk"]


def claim(run: Path, output: object) -> None:
    put(run, "status/training_status.json")
    (run / "new").write_text(json.dumps({"current_step": 5, "output_dir": str(output)}))
    (run / "new").replace(run / "status" / "training_status.json")


def test_the_folder_that_a_status_names_as_its_output_is_part_of_that_run(tmp_path: Path):
    put(tmp_path, "adapters/test/checkpoint-5/", "current_model/checkpoint-900/", "logs/training_log.jsonl")
    claim(tmp_path, tmp_path / "adapters" / "test")
    runs, _ = discover([tmp_path])
    assert [(run.path, run.checkpoint_dir) for run in runs] == [(tmp_path, tmp_path / "adapters" / "test")]
    states = [spec.path for spec in runs[0].sources if spec.format == "trainer_state"]
    assert states == [tmp_path / "adapters" / "test"]


def test_an_output_outside_of_every_base_dir_is_found(tmp_path: Path):
    put(tmp_path, "elsewhere/checkpoint-5/")
    claim(tmp_path / "base", tmp_path / "elsewhere")
    runs, _ = discover([tmp_path / "base"])
    assert [run.checkpoint_dir for run in runs] == [tmp_path / "elsewhere"]


def test_an_output_that_another_training_replaced_does_not_become_a_run(tmp_path: Path):
    looker = Discovery()
    for name in ("one", "two"):
        put(tmp_path, f"{name}/checkpoint-5/")
        claim(tmp_path, tmp_path / name)
        runs, _ = looker.scan([tmp_path])
        assert [(run.path, run.checkpoint_dir) for run in runs] == [(tmp_path, tmp_path / name)]


@pytest.mark.parametrize("said", ["adapters/test", "/no/such/folder", "", "/etc/passwd", 7, None, "/tmp/\0"])
def test_a_claim_that_is_no_folder_counts_for_nothing(tmp_path: Path, said: object):
    put(tmp_path, "adapters/test/checkpoint-5/", "status/")
    text = json.dumps({"current_step": 5, "output_dir": said})
    (tmp_path / "status" / "training_status.json").write_text(text)
    runs, _ = discover([tmp_path])
    assert {run.checkpoint_dir for run in runs} == {None}
    assert len(runs) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_nobody_claims_a_folder_of_another_user(tmp_path: Path):
    put(tmp_path, "elsewhere/checkpoint-5/")
    claim(tmp_path / "base", tmp_path / "elsewhere")
    os.chown(tmp_path / "base", 12345, 12345)
    runs, _ = discover([tmp_path / "base"])
    assert [run.checkpoint_dir for run in runs] == [None]
