"""`smartmon control`: a word for a training, and its answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmon.cli import main
from smartmon.trainer import StatusWriter
from smartmon.trainer.control import NAME, Control


@pytest.fixture
def training(tmp_path: Path) -> Iterator[StatusWriter]:
    """Something that is training, at step 7."""
    with StatusWriter(tmp_path, interval=0.02) as out:
        out.write(step=7, loss=1.0)
        assert out.flush(20)
        yield out


def ends(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["control", *words])
    return ended.value.code


def test_a_word_is_written_for_who_trains_there(
    training: StatusWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends("pause", "--base-dir", str(tmp_path)) == 0
    assert (tmp_path / NAME).read_text() == "pause\n"
    assert capsys.readouterr().out == f"Asked the training in {tmp_path} to pause; it is at step 7.\n"


def test_its_answer_is_waited_for(training: StatusWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = Control(tmp_path)

    def obey() -> None:
        if word := control.poll():
            training.update("paused", control_ack={"word": word, "id": control.id, "result": "paused at step 7"})

    training.beside(obey)
    assert ends("pause", "--base-dir", str(tmp_path), "--wait", "20", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["word"], said["answer"]["result"], said["answer"]["id"]) == ("pause", "paused at step 7", said["id"])
    assert ends("stop", "--base-dir", str(tmp_path), "--wait", "20") == 0
    assert capsys.readouterr().out == f"The training in {tmp_path}: paused at step 7.\n"


def test_no_answer_is_told(training: StatusWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("stop", "--base-dir", str(tmp_path), "--wait", "0.05") == 4
    assert "has not answered within 0.05 s" in capsys.readouterr().err


def test_a_word_that_is_none_is_refused(training: StatusWriter, tmp_path: Path) -> None:
    assert ends("explode", "--base-dir", str(tmp_path)) == 2
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (None, "no status/training_status.json there; there is one in", 4),
        ({"status": "completed", "heartbeat": "2026-11-12T14:30:22+00:00"}, "its status says completed", 4),
        ({"status": "training", "current_step": 7}, "knows no control file", 4),
        (
            {"status": "training", "heartbeat": "2026-11-12T14:30:22+00:00", "host": "elsewhere", "pid": 1},
            "its process 1 on elsewhere is gone",
            4,
        ),
    ],
)
def test_where_nothing_is_training_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: object, told: str, code: int
) -> None:
    base = tmp_path / "base"
    for folder in (base, base / "inner") if status is None else (base,):
        (folder / "status").mkdir(parents=True)
    place = base / "inner" if status is None else base
    (place / "status/training_status.json").write_text(json.dumps(status or {}))
    assert ends("stop", "--base-dir", str(base)) == code
    assert told in capsys.readouterr().err
    assert not (base / NAME).exists()


def test_a_process_that_was_killed_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "import os, sys; from smartmon.trainer import StatusWriter\nout = StatusWriter(sys.argv[1])\n"
    text += "out.write(step=1); out.flush(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", text, str(tmp_path)], check=False, timeout=30)
    assert ends("stop", "--base-dir", str(tmp_path)) == 4
    assert "is gone, and had no time to say so" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("stop", "--base-dir", str(tmp_path / "nowhere")) == 2
    assert f"no directory {tmp_path / 'nowhere'}" in capsys.readouterr().err
