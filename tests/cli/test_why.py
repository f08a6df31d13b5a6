"""`smartmon why` on a run that the daemon has stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smartmon.cli import main
from smartmon.store import Store


@pytest.fixture
def base(tmp_path: Path) -> Path:
    with Store.open(tmp_path / ".smartmon" / "smartmon.db") as store:
        run = store.ensure_run("my-run", tmp_path / "my-run", tmp_path, 1000.0)
        for i, loss in enumerate([0.74, 0.73, 0.72, 0.71, 1.02]):
            store.append(run.id, 1, 100 * (i + 1), 1000.0 + i, {"loss": loss, "accuracy": 0.5})
        store.append(run.id, 2, 300, 2000.0, {"loss": 0.72, "accuracy": 0.5})
    return tmp_path


def _why(capsys: pytest.CaptureFixture[str], base: Path, run: str, step: int) -> tuple[int, dict[str, object]]:
    with pytest.raises(SystemExit) as exit_:
        main(["why", run, "--step", str(step), "--base-dir", str(base), "--json"])
    out = capsys.readouterr().out
    return int(exit_.value.code or 0), json.loads(out) if out else {}


def test_a_stored_run_is_judged_again(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = _why(capsys, base, "my", 500)
    verdicts = document["verdicts"]
    assert (code, document["run"]) == (0, "my-run")
    assert isinstance(verdicts, list)
    fired = {v["detector"]: v["severity"] for v in verdicts if v["fired"]}
    assert fired == {"loss_spike": "warning"}
    assert next(v["value"] for v in verdicts if v["detector"] == "accuracy_drop") == 0.5


def test_a_step_that_came_twice_is_that_of_the_last_attempt(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = _why(capsys, base, "my-run", 300)[1]["verdicts"]
    assert isinstance(verdicts, list)
    assert [v["detector"] for v in verdicts].count("loss_spike") == 1


def test_a_step_without_a_value_names_its_neighbours(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["why", "my-run", "--step", "250", "--base-dir", str(base)])
    assert exit_.value.code == 2
    assert "no judged value at step 250; the nearest with one: 200 and 300" in capsys.readouterr().err


def test_an_unknown_run_is_a_usage_error(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _why(capsys, base, "other", 300)[0] == 2
