"""`smartmon demo` keeps what it promises: the story that it tells is true, and it leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.world import until

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")


def running(folder: Path) -> list[str]:
    """Command lines that name the folder, of processes that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        found += [" ".join(words)] if any(str(folder) in word for word in words) else []
    return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demonstration that has begun in a folder where an earlier one was."""
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / ".smartmon-demo").touch()
    (folder / "data.jsonl").write_text("from an earlier one\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "smartmon", "demo", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert running(folder) == []


def heard(demo: subprocess.Popen[str], words: str) -> str:
    """What it has said when it says these words."""
    lines: list[str] = []
    assert demo.stdout is not None
    for line in demo.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


@pytest.mark.timeout(300)  # a minute on two idle cores
def test_the_demo_catches_what_it_provokes_and_brings_the_good_adapter_back(
    demo: subprocess.Popen[str], tmp_path: Path
) -> None:
    story = heard(demo, "the page: ") if find_spec("uvicorn") else ""
    if story:
        # While it trains, the run is on the page.
        url = story.split("the page: ")[1].split()[0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        until(lambda: json.load(opener.open(f"{url}api/runs", timeout=20))["runs"], patience=60)
        assert b"<script" in opener.open(url, timeout=20).read()
    assert demo.stdout is not None
    assert demo.stderr is not None
    story += demo.stdout.read()
    assert (demo.wait(timeout=30), demo.stderr.read()) == (0, "")
    losses = [float(line.split("loss")[1].split()[0]) for line in story.splitlines() if "| step" in line]
    assert losses[0] > 5
    assert min(losses) < 0.5
    assert "ALERT # loss spike" in story
    assert "ALERT # training crashed" in story
    assert "Likely cause: the learning rate rose" in story
    assert "left      checkpoint-175, checkpoint-200: after the loss went wrong, all" in story
    # Of three questions the adapter that was kept answers two right at least, the one that was left none.
    answers = [line for line in story.splitlines() if line.startswith(("    left", "    restored"))]
    assert len(answers) == 6
    right = [line.split()[0] for line in answers if line.endswith("  right")]
    assert right in (["restored"] * 2, ["restored"] * 3)
    assert max(len(line) for line in story.splitlines() if "anomaly_" not in line and str(tmp_path) not in line) <= 80

    # What the last lines say to look at is there.
    base = tmp_path / "demo" / "run"
    argv = [sys.executable, "-m", "smartmon", "snapshots", "verify", "--base-dir", str(base), "--json"]
    assert json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    alerts = (tmp_path / "demo" / "alerts.txt").read_text()
    assert "Likely cause" in alerts
    if find_spec("uvicorn"):
        assert f"{url}#/run/run/incident/" in alerts
    if find_spec("matplotlib"):
        assert (tmp_path / "demo" / "run.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_ends_all_that_the_demo_has_started(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    until(lambda: any("smartmon.demo.training" in line for line in running(tmp_path)))
    os.kill(demo.pid, signal.SIGINT)
    assert demo.wait(timeout=30) == 130
    assert "Traceback" not in demo.stderr.read()
    assert running(tmp_path / "demo") == []
