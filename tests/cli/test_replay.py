"""`smartmon replay` and `smartmon why` on logs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from smartmon.cli import main


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it wrote."""
    with pytest.raises(SystemExit) as exit_:
        main([str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "my-run" / "training_log.jsonl"
    path.parent.mkdir()
    rows = [{"step": (i + 1) * 100, "loss": loss} for i, loss in enumerate([0.74, 0.73, 0.72, 0.71, 1.02])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_document_has_the_promised_keys(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "replay", log, "--json")
    (file,) = json.loads(out)["files"]
    assert (code, err) == (0, "")
    assert {"path", "format", "run", "observations", "attempts", "anomalies", "incidents"} <= set(file)
    assert (file["format"], file["run"], file["attempts"]) == ("jsonl", "my-run", 1)
    spike = file["anomalies"][-1]
    assert {"kind", "metric", "step", "value", "expected", "severity", "reason", "message"} <= set(spike)
    assert (spike["reason"], spike["severity"], spike["step"]) == ("loss_spike_40.7pct", "warning", 500)
    (incident,) = file["incidents"]
    assert {k: incident[k] for k in ("kind", "start_step", "end_step", "anomalies", "severity")} == {
        "kind": "loss_spike", "start_step": 500, "end_step": 500, "anomalies": 1, "severity": "warning",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "reasons"),
    [
        (["--loss-spike-threshold", "0.5"], []),
        (["--loss-spike-threshold", "0.4"], ["loss_spike_40.7pct"]),
        (["--profile", "aggressive"], []),
        (["--profile", "conservative", "--loss-spike-threshold", "0.5"], []),
    ],
)
def test_the_command_line_sets_the_thresholds(
    log: Path, capsys: pytest.CaptureFixture[str], options: list[str], reasons: list[str]
) -> None:
    _, out, _ = run(capsys, "replay", log, "--json", *options)
    found = json.loads(out)["files"][0]["anomalies"]
    assert [a["reason"] for a in found if a["kind"] == "loss_spike"] == reasons


def test_the_text_fits_eighty_columns_and_says_what_happened(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "replay", log)
    assert max(map(len, out.replace(str(log), "").splitlines())) <= 80
    assert "WARNING" in out
    assert "loss_spike_40.7pct" in out
    assert re.search(r"best_model +1", out)


def test_a_replay_leaves_no_trace(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.rglob("*"))
    run(capsys, "replay", log)
    assert sorted(tmp_path.rglob("*")) == before


def test_logs_that_cannot_be_read_are_partial_or_fatal(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "replay", log, "nowhere.jsonl", "--json")
    assert (code, len(json.loads(out)["files"])) == (3, 1)
    assert "nowhere.jsonl" in err
    assert run(capsys, "replay", "nowhere.jsonl")[0] == 4


def test_a_wrong_profile_is_a_usage_error(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "replay", log, "--profile", "reckless")
    assert code == 2
    assert "reckless" in err or "profile" in err


def test_why_shows_each_detector(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "why", log, "--step", "500", "--json")
    verdicts = {v["detector"]: v for v in json.loads(out)["verdicts"]}
    assert code == 0
    assert verdicts["loss_spike"]["severity"] == "warning"
    assert verdicts["loss_spike"]["expected"] == pytest.approx(0.725)
    assert verdicts["best_model"]["fired"] is False
    text = run(capsys, "why", log, "--step", "500")[1]
    assert "my-run, step 500" in text
    assert max(map(len, text.splitlines())) <= 80


def test_why_without_such_a_step_says_so(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "why", log, "--step", "7")
    assert code == 2
    assert "no judged value at step 7" in err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--pattern", r"it (?P<step>\d+): ce (?P<loss>\S+)"], "no line of it fits the pattern"),
        (["--key", "n_updates=step"], "nothing in it has the keys"),
    ],
)
def test_a_pattern_or_key_that_fits_nothing_is_no_healthy_run(
    options: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1, "ce": 2.0}\n{"n": 2, "ce": 2.0}\n')
    code, out, err = run(capsys, "replay", path, *options)
    assert (code, out) == (4, "")
    assert why in err


@pytest.mark.parametrize("command", ["replay", "why"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Example: smartmon" in run(capsys, command, "--help")[1]
