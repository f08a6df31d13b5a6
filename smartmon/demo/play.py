"""Plays the demonstration: a real training, the real daemon beside it, and a receiver for what the daemon has to say.

Each is a process of its own on this machine. The daemon knows no more of the training than any program can read.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from smartmon import text
from smartmon.demo import ending, page
from smartmon.demo.narrator import Narrator
from smartmon.demo.plan import Plan
from smartmon.demo.receiver import Receiver
from smartmon.demo.stage import Stage
from smartmon.demo.voices import hear, tell_events, tell_progress
from smartmon.demo.witness import Witness
from smartmon.errors import NonFiniteError, SmartmonError, UsageError

_NEEDED = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "jinja2")
_START_PATIENCE, _TRAINING_PATIENCE, _ALERTS_PATIENCE = 20.0, 600.0, 30.0
"""Seconds. The training takes less than a minute on two idle cores."""


def play(folder: Path, say: Callable[[str], None], *, keep: bool = False, plan: Plan | None = None) -> None:
    """Play the demonstration in `folder` (made anew each time), speaking through `say`.

    With `keep` the daemon goes on watching until Ctrl-C. Raises UsageError when `folder` holds something that is not
    an earlier demonstration or what trains is not installed, SmartmonError when the training does not end as planned.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the demonstration trains for real, and {', '.join(missing)} is not installed; "
            "try: pip install 'smartmon[train]'"
        )
    stage, plan, witness, narrator = Stage(folder), plan or Plan(), Witness(), Narrator(say)

    def arrived(title: str, body: str) -> None:
        witness.alert(title)
        with stage.alerts.open("a", encoding="utf-8") as file:
            file.write(f"{title}\n{body}\n\n")
        narrator.alert(title, body, whole=len(witness.titles) == 1)

    with Receiver(arrived) as receiver, _ended_by_signals(), contextlib.closing(stage):
        port = page.free_port()
        stage.configure(receiver.url, port)
        _announce(stage, plan, narrator)
        daemon = stage.start("smartmon", "run", *stage.options)
        _wait_for(stage.run / ".smartmon" / "smartmon.db", daemon)
        if port is None:
            narrator.tell("demo", "no live page: pip install 'smartmon[dashboard]' brings it")
        else:
            _in_thread(page.tell, f"http://127.0.0.1:{port}/", narrator)
        _train(stage, plan, witness, narrator)
        _wait_until_told(stage)
        ending.tell(stage, witness, narrator)
        if keep:
            served = f" The page: http://127.0.0.1:{port}/" if port is not None else ""
            narrator.plain("", f"The daemon watches on, for all of these. Ctrl-C ends it.{served}")
            with contextlib.suppress(KeyboardInterrupt):
                daemon.wait()


def _announce(stage: Stage, plan: Plan, narrator: Narrator) -> None:
    place = text.clean(stage.folder)
    narrator.tell("demo", f"everything is real, and in {place}/: no network, no GPU, about a minute")
    narrator.tell("demo", f"the daemon: smartmon run --base-dir {place}/run")
    narrator.tell(
        "demo",
        f"the training: a small language model, QLoRA in 4 bits, {text.count(plan.rows)} questions with answers; "
        f"it saves every {plan.save} steps and keeps {plan.keep} checkpoints",
    )


def _train(stage: Stage, plan: Plan, witness: Witness, narrator: Narrator) -> None:
    """Let the training go wrong, and tell of it. Raises SmartmonError when it ended otherwise than by NaN."""
    tail = stage.start("smartmon", "events", "tail", "--json", *stage.options, listen=True)
    training = stage.start("smartmon.demo.training", str(stage.folder), listen=True)
    _in_thread(tell_events, tail, narrator, witness)
    _in_thread(tell_progress, stage.run / "logs" / "training_log.jsonl", plan, narrator, training)
    hearing = _in_thread(hear, training, narrator, witness)
    try:
        code = training.wait(timeout=_TRAINING_PATIENCE)
    except subprocess.TimeoutExpired:
        raise SmartmonError(f"the training did not end; {text.clean(stage.log)} says how far it came") from None
    hearing.join()
    narrator.tell("training", f"exits with {code}")
    if code != NonFiniteError.exit_code:
        raise SmartmonError(f"the training ended with {code}, not with NaN; {text.clean(stage.log)} says why")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let `kill` and a closed terminal end the demonstration as Ctrl-C does: with all that it started."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_thread(work: Callable[..., None], *words: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=words, daemon=True)
    thread.start()
    return thread


def _wait_for(path: Path, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_PATIENCE
    while not path.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise SmartmonError(
                f"the daemon did not start; try by hand: smartmon run --base-dir {text.clean(path.parent.parent)}"
            )
        time.sleep(0.05)


def _wait_until_told(stage: Stage) -> None:
    """Wait until every alert has gone out and no snapshot is under way, as far as `alerts list` knows."""
    deadline = time.monotonic() + _ALERTS_PATIENCE
    while time.monotonic() < deadline:
        rows = json.loads(stage.ask("alerts", "list", "--json") or "[]")
        if any("crashed" in row["title"] for row in rows) and all(row["state"] in ("sent", "dead") for row in rows):
            return
        time.sleep(0.3)
