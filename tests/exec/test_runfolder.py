"""What a run is called, whose folder it gets, and which words of its status are the command's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smartmon.exec.ending import Ending
from smartmon.exec.runfolder import RunFolder, hold, name_of

CRASH = Ending("crashed", 1, error_type="exit code 1", error_message="the last lines")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("python train.py --lr 1e-4", "train"),
        ("/opt/conda/bin/python3.11 -u src/fine_tune.py", "fine_tune"),
        ("torchrun --nproc-per-node 8 train.py", "train"),
        ("env A=1 B=2 accelerate launch --config_file c.yaml run_clm.py", "run_clm"),
        ("python -m axolotl.cli.train config.yml", "train"),
        ("bash run.sh", "run"),
        ("axolotl train config.yml", "axolotl"),
        ("./logs.sh", "run-logs"),
        ("./status", "run-status"),
        ("python checkpoint-5.py", "run-checkpoint-5"),
        ("/x/mein programm", "mein"),
        ("...", "run"),
    ],
)
def test_a_run_is_called_after_its_script(line: str, name: str) -> None:
    assert name_of(line.split()) == name


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/__init__.py").touch()
    assert hold(tmp_path, None, None, ["train.py"]).path.name == "train-2"
    given = hold(tmp_path, "train", None, ["train.py"])
    assert given.path.name == "train"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    held = hold(tmp_path, "r", None, ["x"])
    held.begin(["python", "a b.py"])
    held.beat(pid=77)
    return held


def says(folder: RunFolder, **status: object) -> None:
    path = folder.path / "status/training_status.json"
    path.with_suffix(".new").write_text(json.dumps(status))
    path.with_suffix(".new").replace(path)


def test_the_status_tells_the_command_and_then_its_end(folder: RunFolder) -> None:
    told = json.loads((folder.path / "status/training_status.json").read_text())
    assert (told["status"], told["command"], told["pid"], told["attempt"]) == ("training", "python 'a b.py'", 77, 1)
    assert (folder.end(CRASH)["status"], folder.end(CRASH)["error_message"]) == ("crashed", "the last lines")


def test_a_command_that_speaks_for_itself_is_not_written_over(folder: RunFolder) -> None:
    says(folder, status="training", current_step=7, loss=0.5)
    folder.beat()
    assert json.loads((folder.path / "status/training_status.json").read_text())["current_step"] == 7
    told = folder.end(Ending("completed", 0))
    assert (told["status"], told["current_step"], told["loss"], told["exit_code"]) == ("completed", 7, 0.5, 0)


def test_what_a_command_said_of_its_own_crash_stays(folder: RunFolder) -> None:
    says(folder, status="crashed", current_step=7, error_type="NaNLoss", error_message="NaN at step 7")
    told = folder.end(CRASH)
    assert (told["error_type"], told["error_message"], told["exit_code"]) == ("NaNLoss", "NaN at step 7", 1)


def test_the_end_that_the_parent_saw_wins_where_the_command_had_no_time(folder: RunFolder) -> None:
    says(folder, status="completed", current_step=7)
    assert folder.end(CRASH)["status"] == "crashed"
    says(folder, status="training", current_step=8)
    told = folder.end(Ending("crashed", 137, 9, "SIGKILL", "Killed"))
    assert (told["status"], told["signal"], told["error_type"]) == ("crashed", "SIGKILL", "SIGKILL")


def test_a_command_that_stopped_as_it_was_told_is_no_completed_one(folder: RunFolder) -> None:
    says(folder, status="stopped", current_step=7)
    assert folder.end(Ending("completed", 0))["status"] == "stopped"
    folder.leave()
    again = hold(folder.path.parent, "r", None, ["x"])
    assert (again.attempt, again.unfinished) == (2, False)
