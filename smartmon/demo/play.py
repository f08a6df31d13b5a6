"""Plays the demonstration: in one folder, in three processes on this machine, in under a minute."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

from smartmon import text
from smartmon.demo.receiver import Receiver
from smartmon.demo.trainer import CRASH, KEEP
from smartmon.errors import SmartmonError, UsageError

MARK = ".smartmon-demo"
SHOWN = {"run_started", "incident_opened", "incident_resolved", "snapshot_created", "snapshot_skipped", "run_failed"}
"""Kinds of events that the demonstration prints; `events list` has the rest."""
WIDTH = 80
CONFIG = """\
# Written by `smartmon demo`. A real config can be as short as this.
[monitor]
poll_interval = "1s"

[snapshots]
settle = "500ms"           # this run saves every 2.5 s, so a checkpoint must not need long to count as finished

[[notifiers]]
name = "receiver"
url = "{url}"
"""


def run(folder: Path, pace: float, say: Callable[[str], None]) -> None:
    """Play the demonstration in `folder` (made anew each time), speaking through `say`.

    Raises UsageError when `folder` holds something that is not an earlier demonstration.
    """
    _make_room(folder)
    base = folder / "run"
    base.mkdir()
    lock = threading.Lock()

    def tell(who: str, line: str) -> None:
        with lock:
            for row in _wrapped(f"{who:>9} | ", line):
                say(row)

    def alert(title: str, body: str) -> None:
        with lock:
            say("")
            say(f"    alert # {title}")
            for line in body.splitlines():
                # A command is there to be copied: it stays in one line, however long.
                rows = [f"          # {line}"] if line.startswith("smartmon ") else _wrapped("          # ", line)
                for row in rows:
                    say(row)
            say("")

    with Receiver(alert) as receiver:
        (folder / "smartmon.toml").write_text(CONFIG.format(url=receiver.url))
        tell("demo", f"a fine-tune of 4,000 steps in {base}; it keeps {KEEP} checkpoints")
        daemon = _start("run", folder, base)
        trainer: subprocess.Popen[bytes] | None = None
        tail: subprocess.Popen[bytes] | None = None
        try:
            _wait_for(base / ".smartmon" / "smartmon.db", daemon)
            tail = _start("events", folder, base, "tail", "--json", stdout=subprocess.PIPE)
            teller = threading.Thread(target=_tell_events, args=(tail, tell), daemon=True)
            teller.start()
            command = [sys.executable, "-m", "smartmon.demo.trainer", str(base), str(pace)]
            trainer = subprocess.Popen(command)
            code = trainer.wait(timeout=CRASH / pace + 60)
            tell("trainer", f"exits with {code}: the loss was NaN")
            _wait_until_told(folder, base)
        finally:
            _end(trainer)
            _end(daemon)
            _end(tail)
    _epilogue(folder, base, say)


def _make_room(folder: Path) -> None:
    if folder.exists():
        if not folder.is_dir():
            raise UsageError(f"{text.clean(folder)} is no folder; name another with --dir")
        if not (folder / MARK).exists() and any(folder.iterdir()):
            raise UsageError(f"{text.clean(folder)} is not empty and no earlier demo made it; name another with --dir")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def _start(command: str, folder: Path, base: Path, *words: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    options = ["--base-dir", str(base), "--config", str(folder / "smartmon.toml")]
    quiet = subprocess.DEVNULL if command == "run" else None
    argv = [sys.executable, "-m", "smartmon", command, *words, *options]
    return subprocess.Popen(argv, stdout=stdout, stderr=quiet, env={**os.environ, "PYTHONUNBUFFERED": "1"})


def _wait_for(path: Path, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise SmartmonError("the daemon did not start; try by hand: smartmon run --base-dir demo/run")
        time.sleep(0.05)


def _wrapped(margin: str, line: str) -> list[str]:
    """Break a line at 80 columns; what goes on keeps the margin's bar and is set in."""
    bar = margin[-2:].rjust(len(margin))
    # Names and paths are there to be copied, so they stay whole.
    rows = textwrap.wrap(line, WIDTH - len(margin) - 2, break_long_words=False, break_on_hyphens=False) or [""]
    return [margin + rows[0], *(f"{bar}  {row}" for row in rows[1:])]


def _tell_events(tail: subprocess.Popen[bytes], tell: Callable[[str, str], None]) -> None:
    assert tail.stdout is not None
    for line in tail.stdout:
        event = json.loads(line)
        if event["kind"] in SHOWN:
            step = "" if event["step"] is None else f"step {event['step']:,}: "
            tell("smartmon", f"{event['kind'].replace('_', ' ')}, {step}{text.clean(event['message'])}")


def _wait_until_told(folder: Path, base: Path) -> None:
    """Wait until every alert has gone out and no snapshot is under way, as far as `status` knows."""
    options = ["--base-dir", str(base), "--config", str(folder / "smartmon.toml"), "--json"]
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        time.sleep(0.5)
        argv = [sys.executable, "-m", "smartmon", "alerts", "list", *options]
        done = subprocess.run(argv, capture_output=True, check=False)
        rows = json.loads(done.stdout or b"[]")
        if any("crashed" in row["title"] for row in rows) and all(row["state"] in ("sent", "dead") for row in rows):
            return


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _epilogue(folder: Path, base: Path, say: Callable[[str], None]) -> None:
    left = sorted((base / "current_model").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    say("")
    say(f"What the trainer left: {', '.join(path.name for path in left)} (both from after the loss went wrong)")
    say("What smartmon kept:")
    say("")
    options = ["--base-dir", str(base), "--config", str(folder / "smartmon.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "smartmon", "snapshots", "list", *options], capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines():
        say(line)
    say("")
    say("Look further:")
    for words in ("status", "events list --limit 20", "snapshots verify", "why run --step 2700"):
        say(f"  smartmon {words} --base-dir {base}")
