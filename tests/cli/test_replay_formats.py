"""`smartmon replay` on the logs of every trainer, under names that say nothing: the daemon's verdicts (`tests/e2e`)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from smartmon.cli import main
from tests.e2e.trainer import GOOD, Trainer
from tests.e2e.trainers import TRAINERS, Torchtune

each_trainer = pytest.mark.parametrize("kind", TRAINERS, ids=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def replay(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    with pytest.raises(SystemExit) as caught:
        main(["replay", "--json", *map(str, argv)])
    out, err = capsys.readouterr()
    assert (caught.value.code or 0, err) == (0, "")
    (file,) = json.loads(out)["files"]
    return file


def played(kind: type[Trainer], base: Path) -> Trainer:
    """A training that has come to its end."""
    trainer = kind(base)
    for portion in (GOOD, len(trainer.losses)):
        trainer.play(portion)
    trainer.finish()
    return trainer


def worth_telling(file: dict[str, Any]) -> list[tuple[str, int]]:
    """Kind and step of each anomaly that a person would be sent."""
    return [(each["kind"], each["step"]) for each in file["anomalies"] if each["severity"] != "info"]


@each_trainer
def test_a_log_is_known_by_what_it_holds(kind: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trainer = played(kind, tmp_path / "train")
    moved = shutil.copy(trainer.path, tmp_path / "thing")
    file = replay(capsys, moved, *kind.options)
    told = worth_telling(file)
    assert file["format"] == kind.form
    assert file["observations"] >= len(trainer.points) - (trainer.died if isinstance(trainer, Torchtune) else 0)
    assert told[0] == (kind.kind, trainer.step(kind.at))
    assert {name for name, _ in told} == {kind.kind}


@each_trainer
def test_a_run_by_its_folder_is_judged_as_its_log(
    kind: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trainer = played(kind, tmp_path / "train")
    alone = replay(capsys, trainer.path, *kind.options)
    whole = replay(capsys, trainer.folder if not kind.options else trainer.path, *kind.options)
    assert worth_telling(whole) == worth_telling(alone)
    assert [each["kind"] for each in whole["incidents"]] == [kind.kind]
