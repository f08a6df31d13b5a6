"""`smartmon demo`: what it refuses to play in. `make demo` plays it."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmon.cli import main


def test_a_folder_that_is_not_its_own_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("x")
    for place in (tmp_path, tmp_path / "mine"):
        with pytest.raises(SystemExit) as stop:
            main(["demo", "--dir", str(place)])
        assert stop.value.code == 2
        assert "name another with --dir" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "x"
