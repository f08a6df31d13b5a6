"""`smartmon report`: a picture of a run or of a log, and a picture each so many steps."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smartmon.cli import main
from smartmon.sources.discovery import discover, run_sources
from smartmon.store import Store

pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")


def report(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code and what it wrote."""
    with pytest.raises(SystemExit) as exit_:
        main(["report", *(str(arg) for arg in argv)])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def write_log(folder: Path, steps: int, first: int = 1) -> Path:
    """A run's log, as a trainer of ours writes it."""
    log = folder / "logs" / "training_log.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        for step in range(first, first + steps):
            row = {"step": step, "loss": 2.0 / step, "accuracy": 0.5, "learning_rate": 1e-4, "timestamp": 1e9 + step}
            file.write(json.dumps(row) + "\n")
    return log


@pytest.mark.parametrize(("ending", "starts"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("html", b"<!doctype html>")])
def test_the_ending_says_what_is_drawn(
    watched: Path, capsys: pytest.CaptureFixture[str], ending: str, starts: bytes
) -> None:
    file = watched / f"out.{ending}"
    code, out, _err = report(capsys, "qlora", "-o", file, "--base-dir", watched)
    assert (code, str(file) in out) == (0, True)
    assert file.read_bytes().startswith(starts)


def test_without_a_name_for_it_the_picture_is_called_after_the_run(
    watched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _err = report(capsys, "sub/", "--base-dir", watched, "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["path"] == "sub-31mevil-red-x-red.png"
    assert (tmp_path / answer["path"]).stat().st_size == answer["bytes"]


def test_a_log_is_drawn_without_a_daemon_and_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = write_log(tmp_path / "my-run", 60)
    with log.open("a") as file:
        file.write('{"step": 61, "loss": NaN}\n')
    code, _out, _err = report(capsys, log, "-o", "out.html")
    drawn = (tmp_path / "out.html").read_text()
    assert code == 0
    assert "<h1>my-run</h1>" in drawn
    assert "triangle at the top edge" in drawn
    # A share of 1 becomes percent, as everywhere.
    assert "no accuracy was logged" not in drawn
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-run", "out.html"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("nobody",), 2, "there is no run nobody"),
        (("/absent/log.jsonl",), 2, "there is no log or folder /absent/log.jsonl"),
        (("qlora", "-o", "out.gif"), 2, ".png, .svg or .html"),
        (("qlora", "-o", "absent/out.png"), 2, "absent/out.png: No such file"),
        (("qlora", "--every", "0"), 2, "--every"),
        (("qlora", "--every", "10", "-o", "out.png"), 2, "names a folder"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(
    watched: Path, capsys: pytest.CaptureFixture[str], *, words: tuple[str, ...], code: int, told: str
) -> None:
    found, _out, err = report(capsys, *words, "--base-dir", watched)
    assert (found, told in err) == (code, True)
    assert "Traceback" not in err


def test_a_file_that_is_no_log_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("{}")
    code, _out, err = report(capsys, tmp_path / "x.json", "-o", tmp_path / "x.png")
    assert code == 4
    assert "x.json" in err
    assert not (tmp_path / "x.png").exists()


def test_without_matplotlib_it_says_what_to_install(watched: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ModuleNotFoundError('no', name='matplotlib')\n")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from smartmon.cli import main; main(sys.argv[1:])"
    for more in (["-o", "out.png"], ["--every", "10"]):
        argv = [sys.executable, "-c", code, str(tmp_path), "report", "qlora", "--base-dir", str(watched), *more]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        assert "pip install 'smartmon[plots]'" in done.stderr
    assert not (watched / "q" / "training_viz").exists()


def test_of_a_run_that_goes_on_each_so_many_steps_are_drawn_until_it_ends(watched: Path) -> None:
    argv = [sys.executable, "-m", "smartmon", "report", "qlora", "--every", "500", "--base-dir", str(watched)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        lines = [follower.stdout.readline() for _ in range(3)]
        with Store.open(watched / ".smartmon" / "smartmon.db") as store:
            run = store.run("qlora-7b")
            assert run is not None
            store.append(run.id, 1, 1500, time.time(), {"loss": 1.0})
            store.update_run(run.id, state="completed", step=1500)
        rest = follower.stdout.read()
        assert follower.wait(timeout=60) == 0
    assert [line.split("training_")[-1].split(" ")[0] for line in lines] == [
        "step_000500.png",
        "step_001000.png",
        "latest.png",
    ]
    assert "training_step_001500.png" in rest
    assert "training_latest.png" in rest


def test_a_folder_that_cannot_be_written_for_a_while_stops_nothing(watched: Path) -> None:
    folder = watched / "viz"
    argv = [sys.executable, "-m", "smartmon", "report", "qlora", "--every", "1000", "-o", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*argv, "--base-dir", str(watched)], text=True, **pipes) as follower:  # type: ignore[call-overload]
        assert follower.stdout is not None
        assert follower.stderr is not None
        assert "step_001000" in follower.stdout.readline()
        assert "latest" in follower.stdout.readline()
        shutil.rmtree(folder)
        with Store.open(watched / ".smartmon" / "smartmon.db") as store:
            run = store.run("qlora-7b")
            assert run is not None
            store.append(run.id, 1, 2000, time.time(), {"loss": 1.0})
            store.update_run(run.id, step=2000)
            lines = iter(follower.stderr.readline, "")
            assert next(line for line in lines if "trying again" in line).startswith("cannot write pictures into")
            follower.send_signal(signal.SIGINT)
            assert follower.wait(60) == 0


def test_ctrl_c_is_the_way_to_leave_it(watched: Path) -> None:
    argv = [sys.executable, "-m", "smartmon", "report", "qlora", "--every", "1000", "--base-dir", str(watched)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline()
        assert follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        _out, err = follower.communicate(timeout=60)
    assert (follower.returncode, err) == (0, "")


def test_the_daemon_does_not_read_our_own_numbers_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "my-run"
    log = write_log(run, 20)
    before = {spec.id for spec in run_sources(run)}
    for folder in (run / "training_viz", tmp_path / "elsewhere"):
        assert report(capsys, log, "--every", "10", "-o", folder)[0] == 0
        assert (folder / "metrics_history.json").exists()
    assert {spec.id for spec in run_sources(run)} == before
    assert [found.name for found in discover([tmp_path])[0]] == ["my-run"]


def test_the_trainers_own_history_is_still_read(tmp_path: Path) -> None:
    run = tmp_path / "my-run"
    write_log(run, 3)
    (run / "training_viz").mkdir()
    (run / "training_viz" / "metrics_history.json").write_text('[{"step": 1, "loss": 1.0}]')
    assert "training_viz/metrics_history.json" in {spec.id for spec in run_sources(run)}
