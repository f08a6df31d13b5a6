"""`smartmon events`: the timeline, and following it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smartmon.cli import main
from smartmon.store import Store

KEYS = ["id", "time", "run", "attempt", "kind", "severity", "step", "message", "historic", "data"]


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    main_returns(0, "events", "list", "--json", *words)
    events: list[dict[str, object]] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    return events


def main_returns(code: int, *words: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*words])
    assert int(caught.value.code or 0) == code


def follow(base: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "smartmon", "events", "tail", "-C", str(base), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def add(base: Path, message: str, kind: str = "warning") -> None:
    with Store.open(base / ".smartmon" / "smartmon.db") as store:
        store.add_event(at=1.0, kind=kind, message=message)


def test_events_have_exactly_the_promised_keys(watched: Path, capsys: pytest.CaptureFixture[str]):
    (failed, spike) = listed(capsys, "-C", str(watched))
    assert list(spike) == KEYS
    assert (failed["kind"], spike["kind"], spike["run"], spike["step"]) == ("run_failed", "loss_spike", "qlora-7b", 500)
    assert spike["data"] == {"z": None}


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (("--since", "1d"), ["loss_spike"]),
        (("--kind", "run_failed"), ["run_failed"]),
        (("--kind", "run_failed", "--kind", "loss_spike"), ["run_failed", "loss_spike"]),
        (("--severity", "critical"), ["run_failed"]),
        (("--run", "ql"), ["loss_spike"]),
        (("--limit", "1"), ["loss_spike"]),
    ],
)
def test_events_are_picked(watched: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], kinds: list[str]):
    assert [event["kind"] for event in listed(capsys, "-C", str(watched), *words)] == kinds


@pytest.mark.parametrize(
    "words", [("--since", "yesterday"), ("--severity", "bad"), ("--run", "zzz"), ("--kind", "los_spike")]
)
def test_a_wrong_word_is_a_usage_error(watched: Path, words: tuple[str, ...]):
    main_returns(2, "events", "list", "-C", str(watched), *words)


def test_an_event_is_one_line_for_grep(watched: Path, capsys: pytest.CaptureFixture[str]):
    main_returns(0, "events", "list", "-C", str(watched))
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2
    assert out[1].endswith("warning  loss_spike qlora-7b step 500: loss 50 at step 500 [bold]x")


def test_tail_prints_each_new_event_as_one_object_a_line_and_ctrl_c_ends_it(watched: Path):
    process = follow(watched, "--json")
    assert process.stdout is not None
    first = [json.loads(process.stdout.readline())["kind"] for _ in range(2)]
    add(watched, "new")
    fresh = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (first, fresh["message"], process.returncode) == (["run_failed", "loss_spike"], "new", 130)
    assert (out, err) == ("", "")


def test_tail_keeps_to_its_filters(watched: Path):
    add(watched, "first", kind="wanted")
    process = follow(watched, "--kind", "wanted", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["message"] == "first"
    add(watched, "no", kind="other")
    add(watched, "yes", kind="wanted")
    assert json.loads(process.stdout.readline())["message"] == "yes"
    process.kill()
    process.communicate()


def test_tail_ends_quietly_when_its_reader_has_gone(watched: Path):
    """As with `| head -1`: even if nothing more ever happens."""
    process = follow(watched)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
