"""`smartmon doctor`: what it finds on this machine, and on broken ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from smartmon.cli import checks, main
from smartmon.config import load
from smartmon.store import Store


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Run it as JSON; return its exit status, and its lines by name."""
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--json", *words])
    lines: dict[str, list[dict[str, str]]] = {}
    for line in json.loads(capsys.readouterr().out)["checks"]:
        lines.setdefault(line["name"], []).append(line)
    return int(caught.value.code or 0), lines


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "base"
    folder.mkdir()
    return folder


def test_a_plain_folder_is_fine_and_what_could_be_better_has_its_fix(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (base / "smartmon.toml").write_text("[snapshots]\nmin_free_percent = 0\nmin_free_least = 0\n")
    code, lines = doctor(capsys, "-C", str(base), "--config", str(base / "smartmon.toml"))
    assert code == 0
    wanted = {"python", "sqlite", "config", "inotify", "base dir", "snapshots", "reflink", "disk", "runs", "notifiers"}
    assert wanted | {"gpu", "bitsandbytes", "systemd", "daemon"} <= lines.keys()
    assert [line for named in lines.values() for line in named if line["state"] != "ok" and not line["fix"]] == []


def test_it_leaves_nothing_behind(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doctor(capsys, "-C", str(base))
    assert list(base.iterdir()) == []


def test_a_base_dir_that_is_not_there_fails(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = doctor(capsys, "-C", str(base / "gone"))
    assert code == 3
    assert lines["base dir"][0]["state"] == "fail"
    assert "does not exist" in lines["base dir"][0]["message"]


def test_a_bad_config_fails_and_the_rest_is_still_looked_at(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "c.toml").write_text("nonsense = 1\n")
    code, lines = doctor(capsys, "-C", str(base), "--config", str(base / "c.toml"))
    assert code == 3
    assert lines["config"][0]["fix"] == "see every problem with: smartmon config check"
    assert lines["base dir"][0]["state"] == "ok"


def test_notifiers_are_parsed_and_open_secrets_told(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "url").write_text("json://localhost/SECRET\n")
    (base / "url").chmod(0o644)
    config = base / "c.toml"
    config.write_text('[[notifiers]]\nname = "a"\nurl_file = "url"\n[[notifiers]]\nname = "b"\nurl = "nope://SECRET"\n')
    config.chmod(0o600)
    code, lines = doctor(capsys, "-C", str(base), "--config", str(config))
    assert code == 3
    assert [line["message"].split(":")[0] for line in lines["notifiers"]] == ["notifiers.b.url"]
    assert [line["fix"] for line in lines["secrets"]] == [f"chmod 600 {base}/url"]
    assert "SECRET" not in json.dumps(lines)


def test_runs_that_it_would_watch_are_named(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "one").mkdir()
    (base / "one" / "training_log.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    _code, lines = doctor(capsys, "-C", str(base))
    assert lines["runs"][0]["message"] == "1 found: one"


def test_a_log_that_the_config_names_and_that_is_not_there_is_told(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (base / "one").mkdir()
    (base / "one" / "console.txt").write_text("@1 2.0\n")
    config = base.parent / "c.toml"
    config.write_text(
        '[[runs]]\nname = "one"\npath = "base/one"\nlogs = ["console.txt", "later.txt", "base/one/*.out"]\n'
    )
    _code, lines = doctor(capsys, "-C", str(base), "--config", str(config))
    line, later = [line for line in lines["runs"] if line["state"] == "warn"]
    assert line["message"] == f"there is no {base.parent}/console.txt yet, which [[runs]] one names"
    assert line["fix"] == f"there is {base}/one/console.txt: relative paths start from the config's folder"
    assert later["fix"] == "if it is elsewhere: relative paths start from the config's folder"


def test_for_people_each_trouble_is_followed_by_its_fix(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "-C", str(base)])
    rows = capsys.readouterr().out.splitlines()
    index = next(index for index, row in enumerate(rows) if row.startswith("warn  notifiers"))
    assert rows[index + 1].lstrip() == "-> add [[notifiers]] to the config, then try it with: smartmon alerts test"


@pytest.mark.parametrize(
    ("library", "state", "message"),
    [
        (
            "def nvmlInit(): pass\ndef nvmlDeviceGetCount(): return 2\ndef nvmlDeviceGetHandleByIndex(i): return i\n"
            "def nvmlDeviceGetName(h): return f'H{h}\\x1b'",
            "ok",
            "2 found: H0\\x1b, H1\\x1b",
        ),
        ("def nvmlInit(): raise RuntimeError('Driver Not Loaded')", "ok", "no NVIDIA driver answers here"),
        ("import time\ndef nvmlInit(): time.sleep(60)", "warn", "does not answer"),
    ],
)
def test_a_driver_that_answers_refuses_or_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, state: str, message: str
) -> None:
    (tmp_path / "pynvml.py").write_text(library)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    line = checks._nvml(timeout=1)
    assert (line.state, message in line.message) == (state, True)


def test_a_hook_that_cannot_be_started_is_told(base: Path) -> None:
    (base / "c.toml").write_text('[[hooks]]\non = ["divergence"]\nrun = ["./gone.sh"]\n')
    (line,) = checks.hooks(load(base / "c.toml", environ={}, cwd=base))
    assert f"{base}/gone.sh" in line.message


def test_too_little_room_fails(base: Path) -> None:
    config = load(environ={}, cwd=base, overrides={"snapshots.min_free_least": 2**60, "snapshots.min_free_most": 2**60})
    disk = [line for line in checks.folders(config) if line.name == "disk"]
    assert disk[0].state == "fail"
    assert "snapshots_dir" in disk[0].fix


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").is_dir(), reason="needs a folder that refuses writing")
def test_snapshots_that_cannot_be_written_fail(base: Path) -> None:
    config = load(environ={"SMARTMON_SNAPSHOTS_DIR": "/proc/smartmon"}, cwd=base)
    line = next(line for line in checks.folders(config) if line.name == "snapshots")
    assert line.state == "fail"


def test_short_inotify_limits_are_told_with_the_sample_that_lifts_them(tmp_path: Path) -> None:
    (tmp_path / "max_user_watches").write_text("1024\n")
    (tmp_path / "max_user_instances").write_text("128\n")
    (line,) = checks.inotify(tmp_path)
    assert (line.state, "1,024 watches" in line.message) == ("warn", True)
    sample = next(word for word in line.fix.split() if word.endswith(".conf"))
    assert Path(sample).is_file()


def test_a_system_without_inotify_is_polled(tmp_path: Path) -> None:
    (line,) = checks.inotify(tmp_path / "gone")
    assert "polled" in line.message


def test_an_installed_unit_is_found(tmp_path: Path) -> None:
    (tmp_path / "smartmon@.service").write_text("")
    assert [line.message for line in checks.units((tmp_path,))] == [f"unit at {tmp_path}/smartmon@.service"]
    assert all("samples are in" in line.message for line in checks.units(()))


def test_the_daemon_is_told_alive_or_not(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _code, lines = doctor(capsys, "-C", str(base))
    assert lines["daemon"][0]["message"] == "no daemon has run here yet"
    (base / ".smartmon").mkdir()
    Store.open(base / ".smartmon" / "smartmon.db").close()
    _code, lines = doctor(capsys, "-C", str(base))
    assert lines["daemon"][0]["message"] == "none is running"
