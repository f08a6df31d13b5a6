"""The control file: each write is obeyed once, and nothing that was there before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartmon.trainer.control import NAME, WORDS, Control, send


@pytest.mark.parametrize("word", WORDS)
def test_each_write_is_obeyed_once(tmp_path: Path, word: str) -> None:
    control = Control(tmp_path)
    assert control.poll() is None
    identity = send(tmp_path, word)
    assert [control.poll(), control.poll()] == [word, None]
    assert control.id == identity
    send(tmp_path, word)
    assert control.poll() == word


def test_what_a_shell_writes_is_obeyed_too(tmp_path: Path) -> None:
    control = Control(tmp_path)
    (tmp_path / NAME).write_text("  Stop\n")
    assert control.poll() == "stop"


def test_a_word_from_before_the_training_is_ignored_and_known(tmp_path: Path) -> None:
    send(tmp_path, "stop")
    control = Control(tmp_path)
    assert (control.poll(), control.ignored) == (None, "stop")
    send(tmp_path, "stop")
    assert control.poll() == "stop"


def test_an_unknown_word_is_refused_by_name(tmp_path: Path) -> None:
    control = Control(tmp_path)
    (tmp_path / NAME).write_text("explode\x1b[31m")
    assert (control.poll(), control.refused) == (None, "explode?[31m")
    with pytest.raises(ValueError, match="'explode' is none of pause"):
        send(tmp_path, "explode")


def test_a_file_that_is_still_being_written_waits(tmp_path: Path) -> None:
    control = Control(tmp_path)
    (tmp_path / NAME).touch()
    assert (control.poll(), control.refused) == (None, "")
    (tmp_path / NAME).write_text("pause")
    assert control.poll() == "pause"


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    assert Control(tmp_path).poll() is None


def test_sending_leaves_nothing_else_behind(tmp_path: Path) -> None:
    send(tmp_path, "pause")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    with pytest.raises(OSError, match="No such file"):
        send(tmp_path / "nowhere", "pause")
