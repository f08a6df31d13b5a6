"""`smartmon queue`: what people type and read; and the queue as a process, with signals."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smartmon.cli import main
from tests.queue.bench import TRAINER, Bench


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


@pytest.fixture
def bench(base: Path) -> Iterator[Bench]:
    """A second pair of eyes on the same queue."""
    made = Bench(base)
    yield made
    made.close()


def typed(code: int, base: Path, *words: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["queue", *words, "--base-dir", str(base)])
    assert int(caught.value.code or 0) == code


def listed(capsys: pytest.CaptureFixture[str], base: Path) -> dict[str, Any]:
    capsys.readouterr()
    typed(0, base, "list", "--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    return found


def rows(base: Path, name: str = "poems", **script: object) -> Path:
    path = base.parent / f"{name}.jsonl"
    path.write_text(json.dumps({"name": name, **script}) + "\n")
    return path


def command(base: Path, *words: str) -> list[str]:
    trainer = " ".join(TRAINER)
    start = [sys.executable, "-m", "smartmon", "queue", "run", "--base-dir", str(base), "--model", "m"]
    return [*start, "--trainer", trainer, *words]


def test_a_job_that_is_added_waits_in_the_inbox(base: Path, capsys: pytest.CaptureFixture[str]):
    typed(0, base, "add", str(rows(base)), "--priority", "5", "--set", "epochs=2")
    assert "start one with: smartmon queue run" in capsys.readouterr().out
    (job,) = listed(capsys, base)["jobs"]
    assert (job["name"], job["state"], job["priority"], job["settings"]) == ("poems", "waiting", 5, {"epochs": 2})
    assert (base / "inbox" / "poems.jsonl").exists()
    assert rows(base).exists()


def test_words_after_two_dashes_are_for_the_training(base: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["queue", "add", str(rows(base)), "-C", str(base), "--", "--learning-rate", "1e-4"])
    (job,) = listed(capsys, base)["jobs"]
    assert job["words"] == ["--learning-rate", "1e-4"]


def test_adding_a_file_that_is_in_the_inbox_changes_its_job(base: Path, capsys: pytest.CaptureFixture[str]):
    typed(0, base, "add", str(rows(base)))
    typed(0, base, "add", str(base / "inbox" / "poems.jsonl"), "--priority", "7")
    assert [(job["name"], job["priority"]) for job in listed(capsys, base)["jobs"]] == [("poems", 7)]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "nope.jsonl"), 4, "cannot read nope.jsonl: No such file"),
        (("add", "{empty}"), 2, "is empty"),
        (("add", "{rows}", "--set", "epocs=2"), 2, 'did you mean "epochs"?'),
        (("add", "{rows}", "--set", "epochs"), 2, "must be like: --set learning_rate=1e-4"),
        (("add", "{rows}", "--set", "output_dir=x"), 2, "output_dir cannot be set"),
        (("add", "{rows}", "--name", "a/b"), 2, "--name 'a/b'"),
        (("add", "{rows}", "more.jsonl"), 2, "one file at a time"),
        (("remove", "nope"), 2, "no job 'nope' is in the queue; there is none"),
        (("retry", "nope"), 2, "no job 'nope' failed or was removed"),
        (("run",), 2, "which model is to be trained?"),
        (("run", "--config", "nope.toml"), 2, "no settings at nope.toml"),
        (("run", "--model", "m", "--set", "batch_size=0"), 2, "the command line has 1 problem"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(
    base: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
):
    (base.parent / "empty.jsonl").touch()
    known = {"{rows}": str(rows(base)), "{empty}": str(base.parent / "empty.jsonl")}
    typed(code, base, *[known.get(word, word) for word in words])
    assert said in capsys.readouterr().err


def test_a_model_that_is_not_there_fails_no_job(base: Path, capsys: pytest.CaptureFixture[str]):
    typed(0, base, "add", str(rows(base)))
    capsys.readouterr()
    typed(2, base, "run", "--once", "--model", str(base / "nope"))
    assert "there is no model folder" in capsys.readouterr().err
    (job,) = listed(capsys, base)["jobs"]
    assert job["state"] == "waiting"


def test_a_base_dir_that_is_not_there_is_no_new_queue(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    typed(2, tmp_path / "nope", "list")
    assert "there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "nope").exists()


def test_a_name_that_is_taken_is_an_error_and_a_file_of_that_name_is_not(
    base: Path, capsys: pytest.CaptureFixture[str]
):
    for _ in range(2):
        typed(0, base, "add", str(rows(base)))
    assert [job["name"] for job in listed(capsys, base)["jobs"]] == ["poems", "poems-2"]
    typed(2, base, "add", str(rows(base)), "--name", "poems")


def test_pause_and_resume_show_in_the_list(base: Path, capsys: pytest.CaptureFixture[str]):
    typed(0, base, "pause", "--reason", "the GPU is needed")
    assert listed(capsys, base)["paused"] == "the GPU is needed"
    typed(0, base, "list")
    assert "held: the GPU is needed; go on with: smartmon queue resume" in capsys.readouterr().out
    typed(0, base, "resume")
    assert listed(capsys, base)["paused"] == ""


def test_a_job_that_is_removed_keeps_its_file(base: Path, capsys: pytest.CaptureFixture[str]):
    typed(0, base, "add", str(rows(base)))
    typed(0, base, "remove", "poems")
    assert list(base.glob("inbox/*.jsonl")) == []
    assert len(list(base.glob("removed/*_poems/poems.jsonl"))) == 1
    assert [job["state"] for job in listed(capsys, base)["jobs"]] == ["removed"]
    typed(0, base, "retry", "poems")
    assert [job["state"] for job in listed(capsys, base)["jobs"]] == ["waiting"]


def test_the_list_fits_a_terminal(base: Path, capsys: pytest.CaptureFixture[str]):
    typed(0, base, "add", str(rows(base, "x" * 60)), "--priority", "-1")
    long = {"exit": 21, "say": "no row of it can be trained on: " + "each has neither messages nor text, " * 4}
    typed(0, base, "add", str(rows(base, "bad", **long)))
    done = subprocess.run(command(base, "--once"), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    capsys.readouterr()
    typed(0, base, "list")
    out = capsys.readouterr().out.splitlines()
    assert max(map(len, [*out, *done.stdout.splitlines()])) <= 80
    assert any("its data cannot be used: no row of it" in line for line in out)


def test_the_settings_of_a_file_in_the_base_dir_are_the_queue_s(base: Path):
    (base / "model").mkdir()
    (base / "train.toml").write_text('[train]\nmodel = "model"\nmax_steps = 3\n')
    typed(0, base, "add", str(rows(base)))
    words = [word for word in command(base, "--once", "--set", "seed=7") if word not in ("--model", "m")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    (written,) = base.glob("done/*_poems/train.toml")
    assert f'model = "{base}/model"' in written.read_text()
    assert re.search(r"^max_steps = 3\nseed = 7$", written.read_text(), re.MULTILINE)


def test_json_is_one_document_of_what_ended(base: Path):
    typed(0, base, "add", str(rows(base)))
    done = subprocess.run(command(base, "--once", "--json"), capture_output=True, text=True, check=False, timeout=60)
    assert [(each["name"], each["state"]) for each in json.loads(done.stdout)] == [("poems", "done")]
    assert "poems: done" in done.stderr


def test_a_second_queue_is_told_who_trains_here(base: Path, bench: Bench):
    with bench.book.running():
        done = subprocess.run(command(base, "--once"), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 5
    assert re.match(r"smartmon: another queue \(pid \d+ on .+ since .+\) already trains in ", done.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_training_save_and_the_next_queue_goes_on(base: Path, bench: Bench, number: signal.Signals):
    gate = base.parent / "gate"
    typed(0, base, "add", str(rows(base, until=str(gate))))
    queue = subprocess.Popen(command(base), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    bench.until(lambda: list(base.glob("runs/*/current_model")) and bench.pid("poems"), "it never began")
    queue.send_signal(number)
    out, err = queue.communicate(timeout=30)
    assert (queue.returncode, err) == (0, "")
    assert "asked to save and stop" in out
    gate.touch()
    done = subprocess.run(command(base, "--once"), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, bench.learned()) == (0, "poems:1 poems:2 poems:3 poems:4 ")


def test_a_reader_that_goes_away_ends_no_training(base: Path, bench: Bench):
    """As with `| head -1`."""
    gate = base.parent / "gate"
    typed(0, base, "add", str(rows(base, until=str(gate))))
    queue = subprocess.Popen(command(base, "--once"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert queue.stdout is not None
    queue.stdout.close()
    bench.until(lambda: bench.pid("poems"), "it never began")
    gate.touch()
    assert queue.stderr is not None
    assert (queue.stderr.read(), queue.wait(timeout=30)) == ("", 0)
    queue.stderr.close()
    assert bench.learned() == "poems:1 poems:2 poems:3 poems:4 "


def test_a_queue_under_nohup_outlives_its_terminal(base: Path, bench: Bench):
    gate = base.parent / "gate"
    typed(0, base, "add", str(rows(base, until=str(gate))))
    words = ["nohup", *command(base, "--once")]
    queue = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bench.until(lambda: bench.pid("poems"), "it never began")
    queue.send_signal(signal.SIGHUP)
    gate.touch()
    assert queue.wait(timeout=30) == 0
    assert bench.learned() == "poems:1 poems:2 poems:3 poems:4 "


def test_a_second_signal_ends_a_training_that_does_not_stop(base: Path, bench: Bench):
    typed(0, base, "add", str(rows(base, deaf=True, until="/no/such/gate")))
    queue = subprocess.Popen(command(base), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert queue.stdout is not None
    bench.until(lambda: bench.pid("poems") and "deaf" in bench.log("poems"), "it never began")
    child = bench.pid("poems")
    queue.send_signal(signal.SIGINT)
    bench.until(lambda: "asked to save" in queue.stdout.readline(), "it was not asked")  # type: ignore[union-attr]
    queue.send_signal(signal.SIGINT)
    out, _err = queue.communicate(timeout=30)
    assert queue.returncode == 0
    assert "interrupted: it was asked to stop" in " ".join(out.split())
    assert not Path(f"/proc/{child}").exists()
