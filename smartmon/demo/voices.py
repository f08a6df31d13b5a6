"""Who speaks in the demonstration: the daemon by its events, the training by its log and by what it provokes."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.demo.narrator import Narrator
from smartmon.demo.plan import Plan
from smartmon.demo.witness import Witness

_SHOWN = {"run_started", "incident_opened", "incident_resolved", "snapshot_created", "snapshot_skipped"}
"""Kinds of events that are told; `events list` has the rest."""
_SAID = ("base model ", "trained ")
"""Beginnings of what the training says of itself that is told; `training_config.json` has the rest."""

_COLUMNS = re.compile(" {2,}")


def tell_events(tail: subprocess.Popen[bytes], narrator: Narrator, witness: Witness) -> None:
    """Tell of the daemon's events as they come, until it ends."""
    assert tail.stdout is not None
    for line in tail.stdout:
        event = json.loads(line)
        witness.event(event)
        # That all of them end with the run is one event too many for each.
        if event["kind"] in _SHOWN and not event["message"].endswith(": the run ended"):
            narrator.tell("smartmon", _words(event))


def _words(event: Mapping[str, Any]) -> str:
    kind, message = event["kind"].replace("_", " "), text.clean(event["message"])
    if event["kind"] == "incident_opened":
        # The alert has the rest of the sentence.
        return f"{event['data']['kind'].replace('_', ' ')}: {message.partition(';')[0].removesuffix('.')}"
    if event["kind"] == "snapshot_created":
        what = message.rpartition(": ")[2]
        return f"snapshot at step {text.count(event['step'])}, {first_reason(event['data']['reason'])}: {what}"
    return message if event["kind"] == "run_started" else f"{kind}: {message}"


def first_reason(reason: str) -> str:
    """Return the first of a snapshot's reasons: the anomaly that asked for it."""
    first, several, _rest = reason.partition("pct_")
    return first + ("pct ..." if several else "")


def hear(training: subprocess.Popen[bytes], narrator: Narrator, witness: Witness) -> None:
    """Hear the training's process out: what it provokes, and its last words."""
    assert training.stdout is not None
    for line in training.stdout:
        if not line.startswith(b"{"):
            continue  # a library's
        told = json.loads(line)
        if "trouble" in told:
            witness.provoked(told["trouble"], told["step"], told["at"])
            narrator.tell("demo", f"PROVOKED at step {told['step']}: {told['trouble']}")
        elif "said" in told and told["said"].startswith(_SAID):
            narrator.tell("training", _COLUMNS.sub(": ", told["said"]))
        elif "error" in told:
            narrator.tell("training", told["error"])


def tell_progress(log: Path, plan: Plan, narrator: Narrator, training: subprocess.Popen[bytes]) -> None:
    """Tell of some rows of the training's log as it grows."""
    while not log.exists() and training.poll() is None:
        time.sleep(0.1)
    if not log.exists():
        return
    with log.open(encoding="utf-8") as rows:
        row = ""
        while training.poll() is None:
            row += rows.readline()
            if not row.endswith("\n"):
                time.sleep(0.1)
                continue
            values, row = json.loads(row), ""
            if values["step"] == 1 or values["step"] % plan.save == 0:
                narrator.tell(
                    "training",
                    f"step {values['step']:>3} of {plan.total}   loss {values['loss']:.3f}   "
                    f"accuracy {values.get('accuracy_percent', 0.0):.1f} %",
                )
