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


def test_what_fired_comes_first_and_the_rest_is_in_columns(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["why", "my-run", "--step", "500", "--base-dir", str(base)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("my-run, step 500: 1 of ")
    assert lines[2].startswith("WARNING loss_spike: loss 1.02, expected 0.725, limit 0.9425")
    head = next(line for line in lines if line.split()[:1] == ["QUIET"])
    saw = [line for line in lines[lines.index(head) + 1 :] if line.startswith("  ")]
    assert lines[lines.index(head) + 1] == "loss 1.02"
    assert all(line[head.index("SAW") - 1] == " " and line[head.index("SAW")] != " " for line in saw)
    assert max(map(len, lines)) <= 80


def test_a_log_is_read_as_the_run_says_that_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.out").write_text("".join(f"@{step} {2.0 - step / 100}\n" for step in range(9)))
    config = tmp_path / "c.toml"
    config.write_text(
        f"[[runs]]\nname = 'mine'\npath = '.'\nlogs = ['*.out']\npattern = '@(?P<step>{chr(92)}d+) (?P<loss>.+)'\n"
    )
    log, where = str(tmp_path / "train.out"), ["--config", str(config), "--json"]
    for words in (["why", log, "--step", "5"], ["replay", log], ["doctor", "--explain", log]):
        with pytest.raises(SystemExit) as exit_:
            main([*words, *where])
        assert not exit_.value.code
        assert json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", "--explain", log])
    assert exit_.value.code == 4
