"""`smartmon status` and `smartmon runs`: is it fine, in words, in JSON and as an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smartmon.cli import main
from smartmon.cli.status_text import fold
from smartmon.records import Change, IncidentChange, Severity
from smartmon.store import Store

RESOLVED = IncidentChange(
    "k", "loss_spike", "spike", Change.RESOLVED, Severity.WARNING, 2.0, 500, 500, 500, 1, "r", "m"
)


def run(*words: str) -> int:
    """Run one command in this process and return its exit status."""
    with pytest.raises(SystemExit) as caught:
        main([*words])
    return int(caught.value.code or 0)


def test_status_answers_what_a_person_asks(watched: Path, capsys: pytest.CaptureFixture[str]):
    assert run("status", "-C", str(watched)) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 open incident.\nsmartmon 0 is watching")
    for answer in (
        "step 1,000 of 2,000 (50 %), done in about 16m",
        "WARNING loss spike since",
        "kept  anomaly_20251112_143022_loss_spike_2300.0pct (checkpoint 400, 4.1 GB)",
        "loss 50 at step 500, expected at most 2.1",
        "best 0.9 at step 990",
    ):
        assert answer in out


def test_status_fits_80_columns_and_no_name_moves_the_terminal(watched: Path, capsys: pytest.CaptureFixture[str]):
    run("status", "-C", str(watched))
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "\x1b" not in out
    assert r"sub/\x1b[31mevil [red]x[/red]" in out


def test_check_exits_10_while_an_incident_is_open_and_0_after(watched: Path):
    assert run("status", "--check", "-C", str(watched)) == 10
    assert run("status", "sub", "--check", "-C", str(watched)) == 0
    with Store.open(watched / ".smartmon" / "smartmon.db") as store:
        store.save_incident(store.run("qlora-7b").id, RESOLVED)
    assert run("status", "--check", "-C", str(watched)) == 0


def test_a_run_whose_folder_is_gone_asks_nothing_of_anybody(watched: Path, capsys: pytest.CaptureFixture[str]):
    (watched / "q").rmdir()
    assert run("status", "qlora", "--check", "-C", str(watched)) == 0
    assert "  its folder is gone\n" in capsys.readouterr().out


def test_json_is_one_document_without_nan(watched: Path, capsys: pytest.CaptureFixture[str]):
    assert run("status", "--json", "--check", "-C", str(watched)) == 10
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["daemon"]["alive"] is True
    assert [one["run"] for one in document["runs"]][1] == "qlora-7b"
    assert document["runs"][0]["loss"] is None
    assert document["runs"][1]["open_incidents"][0]["kind"] == "loss_spike"


def test_one_run_is_named_by_any_unambiguous_start(watched: Path, capsys: pytest.CaptureFixture[str]):
    assert run("status", "ql", "--json", "-C", str(watched)) == 0
    assert [one["run"] for one in json.loads(capsys.readouterr().out)["runs"]] == ["qlora-7b"]


def test_an_unknown_run_is_a_usage_error_with_the_nearest(watched: Path, capsys: pytest.CaptureFixture[str]):
    assert run("status", "qlora_7b", "-C", str(watched)) == 2
    assert "did you mean qlora-7b?" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("status",), ("runs", "list"), ("events", "list"), ("events", "tail")])
def test_without_a_database_the_next_command_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
):
    assert run(*command, "-C", str(tmp_path)) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert f"smartmon run --base-dir {tmp_path}" in err


def test_a_dead_daemon_is_said_before_anything_else(watched: Path, capsys: pytest.CaptureFixture[str]):
    with Store.open(watched / ".smartmon" / "smartmon.db") as store:
        store.set_meta("daemon", json.dumps({"state": "running", "beat_at": 1.0, "pid": 1}))
    run("status", "-C", str(watched))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("No daemon is watching (it died")
    assert lines[2] == f"  smartmon run --base-dir {watched}"


def test_before_the_first_run_status_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Store.open(tmp_path / ".smartmon" / "smartmon.db").close()
    assert run("status", "-C", str(tmp_path)) == 0
    assert capsys.readouterr().out.startswith("No run has been seen yet.\nNo daemon is watching.")


def test_runs_are_listed_oldest_first(watched: Path, capsys: pytest.CaptureFixture[str]):
    assert run("runs", "list", "-C", str(watched)) == 0
    head, evil, good = capsys.readouterr().out.splitlines()
    assert head.split() == ["RUN", "STATE", "STEP", "OF", "LOSS", "BEST", "OPEN", "LAST", "STEP"]
    assert evil.startswith(r"sub/\x1b[31mevil")
    assert good.split()[:7] == ["qlora-7b", "running", "1,000", "2,000", "1", "0.9", "1"]


def test_runs_are_picked_by_state_and_time(watched: Path, capsys: pytest.CaptureFixture[str]):
    assert run("runs", "list", "--kind", "failed", "--json", "-C", str(watched)) == 0
    assert [one["state"] for one in json.loads(capsys.readouterr().out)] == ["failed"]
    assert run("runs", "list", "--since", "1d", "--json", "-C", str(watched)) == 0
    assert [one["run"] for one in json.loads(capsys.readouterr().out)] == ["qlora-7b"]
    assert run("runs", "list", "--kind", "asleep", "-C", str(watched)) == 2


@pytest.mark.parametrize("command", ["status", "watch", "runs list", "events list", "events tail"])
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], command: str):
    assert run(*command.split(), "--help") == 0
    assert f"Example: smartmon {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["accuracy 65.0 %", "the pace is 3.98 steps/s", "a size of 4.4 kB", "the last step 1m 02s"]
)
def test_a_line_is_not_broken_between_a_number_and_its_unit(text: str):
    number = text.split()[-2]
    columns = text.index(number) + len(number) + 1
    assert fold(text, columns=columns) == [text[: text.index(number) - 1], text[text.index(number) :]]
