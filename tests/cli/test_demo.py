"""`smartmon demo`: what it refuses, before anything is started. `tests/e2e/test_demo.py` plays it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from smartmon.cli import main


def refusal(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["demo", str(folder)])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_a_folder_that_is_not_its_own_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")
    (tmp_path / "mine").write_text("x")
    for place in (tmp_path, tmp_path / "mine"):
        assert "name another: smartmon demo FOLDER" in refusal(capsys, place)
    assert (tmp_path / "mine").read_text() == "x"


def test_without_what_trains_one_sentence_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # what an import system says of a package that is not there
    said = refusal(capsys, tmp_path / "demo")
    assert said.startswith("smartmon: the demonstration trains for real, and torch")
    assert "pip install 'smartmon[train]'" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "demo").exists()
