"""`smartmon config`: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from smartmon.cli import main

SECRET = "tgram://SECRETTOKEN"
"""No bot token of Telegram: Apprise cannot use it."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    """Run one command in this process and return its exit status."""
    with pytest.raises(SystemExit) as caught:
        main(["config", *words])
    return int(caught.value.code or 0)


def test_check_says_ok_and_which_file_it_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check") == 0
    assert capsys.readouterr().out == "ok: no config file, defaults and environment only\n"
    (here / "smartmon.toml").write_text("")
    assert run("check") == 0
    assert capsys.readouterr().out == f"ok: {here}/smartmon.toml\n"


def test_check_tells_every_problem_on_standard_error_and_exits_2(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "smartmon.toml").write_text("[monitor]\npoll_interval = -1\nwach = 1\n")
    assert run("check") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == f"smartmon: {here}/smartmon.toml has 2 problems"
    assert len(err.splitlines()) == 4


def test_check_asks_apprise_and_names_the_notifier_never_its_url(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f'[[notifiers]]\nname = "good"\nurl = "json://localhost"\n[[notifiers]]\nname = "phone"\nurl = "{SECRET}"\n'
    text += '[[notifiers]]\nname = "typo"\nurl = "ntfyy://SECRETTOKEN"\n[[notifiers]]\nname = "x"\nurl = "${NOPE}"\n'
    (here / "smartmon.toml").write_text(text)
    assert run("check") == 2
    err = capsys.readouterr().err
    assert "has 3 problems" in err
    assert "notifiers.phone.url: Apprise cannot read it" in err
    assert "notifiers.typo.url: Apprise cannot read it" in err
    assert "notifiers.x: uses ${NOPE}, which the environment does not set" in err
    assert "SECRET" not in err


@pytest.mark.parametrize(("text", "count"), [("", 0), ("[monitor]\nwach = 1\nstats_every = 0\n", 2), ("a = ", 1)])
def test_check_as_json_is_one_document(here: Path, capsys: pytest.CaptureFixture[str], text: str, count: int) -> None:
    (here / "smartmon.toml").write_text(text)
    assert run("check", "--json") == (2 if count else 0)
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["ok"], len(document["problems"]), err) == (not count, count, "")


def test_show_says_where_each_value_came_from_and_masks_secrets(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "smartmon.toml").write_text(f'[[notifiers]]\nname = "phone"\nurl = "{SECRET}"\n')
    monkeypatch.setenv("SMARTMON_LOG__LEVEL", "debug")
    assert run("show") == 0
    rows = {row.split()[0]: " ".join(row.split()[1:]) for row in capsys.readouterr().out.splitlines()}
    assert rows["log.level"] == "debug environment SMARTMON_LOG__LEVEL"
    assert rows["notifiers.phone.url"] == f"********** {here}/smartmon.toml"
    assert rows["notifiers.phone.min_severity"] == "warning default"
    assert rows["monitor.poll_interval"] == "10s default"


def test_show_writes_values_as_people_write_them_in_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show") == 0
    shown = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert (shown["snapshots.min_free_least"], shown["alerts.reminder"], shown["store.max_events"]) == (
        "2GiB",
        "4h",
        "200000",
    )


def test_one_long_value_pushes_no_other_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(next(line for line in lines if line.startswith("snapshots.kinds"))) > 100
    assert {line.rindex("default") for line in lines if line.startswith("detectors.")} == {lines[0].index("FROM")}


def test_show_as_json_names_value_and_origin(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "--json", "--base-dir", "a") == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["base_dirs"] == {"value": [str(here / "a")], "origin": "command line"}
    assert settings["detectors.loss_spike.threshold"] == {"value": 0.3, "origin": "default"}


def test_init_writes_a_private_file_that_holds_the_defaults_and_is_valid(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("init", "new/smartmon.toml") == 0
    assert stat.S_IMODE((here / "new" / "smartmon.toml").stat().st_mode) == 0o600
    assert run("check", "--config", "new/smartmon.toml") == 0


def test_init_replaces_a_file_only_when_told_to(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "smartmon.toml").write_text("mine")
    assert run("init") == 2
    assert "is there already; replace it with --force" in capsys.readouterr().err
    assert (here / "smartmon.toml").read_text() == "mine"
    assert run("init", "--force") == 0
    assert (here / "smartmon.toml").read_text().startswith("# smartmon's configuration")


def test_init_says_where_it_cannot_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", "/proc/smartmon.toml") == 2
    assert "smartmon: cannot write /proc/smartmon.toml" in capsys.readouterr().err


def test_schema_describes_every_section_and_takes_durations_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    document = json.loads(capsys.readouterr().out)
    assert {"detectors", "notifiers", "snapshots_dir"} <= document["properties"].keys()
    interval = document["$defs"]["Monitor"]["properties"]["poll_interval"]
    assert {"type": "string"} in interval["anyOf"]
    assert interval["description"]
    assert document["additionalProperties"] is False
