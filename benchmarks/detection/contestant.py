"""smartmon as a contestant: `smartmon replay --json` with its defaults, and what of its answer a person is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import smartmon
from benchmarks.detection.curves import Alarm, Curve
from smartmon.incidents import FAMILIES as OWN_FAMILIES

RANK = {"info": 0, "warning": 1, "critical": 2}

FAMILY = {
    "loss_spike": "loss",
    "divergence": "loss",
    "slow_divergence": "loss",
    "collapse": "loss",
    "plateau": "loss",
    "nonfinite": "nonfinite",
    "frozen_metric": "frozen",
    "accuracy_drop": "eval",
    "overfit": "eval",
    "prediction_mismatch": "eval",
    "stalled": "stall",
    "throughput_drop": "speed",
    "resume_regression": "resume",
    "crashed": "crash",
    "crash_loop": "crash",
    "grad_explosion": "grad",
    "grad_vanish": "grad",
    "lr_jump": "lr",
}
"""Kind -> what it is right about. Who is told what goes by smartmon's own families."""


def replay(curves: list[Curve], options: list[str]) -> dict[str, dict[str, Any]]:
    """Return curve id -> smartmon's answer for its file. A file that it cannot read has none."""
    # Nobody's own settings: the defaults are what is judged.
    env = {name: value for name, value in os.environ.items() if not name.startswith("SMARTMON_")}
    with tempfile.TemporaryDirectory() as home:
        env |= {"XDG_CONFIG_HOME": home, "PYTHONPATH": str(Path(smartmon.__file__).parents[1])}
        command = [sys.executable, "-m", "smartmon", "replay", "--json", *options]
        command += [str(curve.path) for curve in curves]
        done = subprocess.run(command, capture_output=True, cwd=home, env=env, text=True, check=False)
    if done.returncode not in (0, 3, 4):
        raise SystemExit(f"smartmon replay failed with {done.returncode} ({curves[0].id} ...):\n{done.stderr[-2000:]}")
    files = {entry["path"]: entry for entry in json.loads(done.stdout)["files"]} if done.stdout else {}
    return {curve.id: files[str(curve.path)] for curve in curves if str(curve.path) in files}


def alarms(curve: Curve, answer: dict[str, Any]) -> list[Alarm]:
    """Return what a person is sent: what opens an incident, and what escalates one. Info is never sent.

    While an incident of a family is open, another of that family says something only when it is worse.
    """
    sent: list[Alarm] = []
    told: dict[str, tuple[int, int]] = {}
    ends = _ends(curve, answer)
    for row, anomaly in placed(curve, answer):
        rank = RANK[anomaly["severity"]]
        incident = _incident(answer, anomaly)
        if rank == 0 or incident is None:
            continue
        kind = anomaly["kind"]
        group = OWN_FAMILIES.get(kind, kind)
        until, worst = told.get(group, (-1, 0))
        worst = worst if row <= until else 0
        if rank > worst:
            sent.append(Alarm(row, _families(anomaly), kind, anomaly["severity"], anomaly["metric"]))
        told[group] = (max(until, ends.get(incident["key"], row), row), max(worst, rank))
    return sent


def infos(curve: Curve, answer: dict[str, Any]) -> list[Alarm]:
    """Return what smartmon recorded without telling anybody, best models apart."""
    return [
        Alarm(row, _families(a), a["kind"], a["severity"], a["metric"])
        for row, a in placed(curve, answer)
        if a["severity"] == "info" and a["kind"] != "best_model"
    ]


def _families(anomaly: dict[str, Any]) -> frozenset[str]:
    family = FAMILY.get(anomaly["kind"], anomaly["kind"])
    metric = anomaly["metric"].lower()
    about_eval = family == "loss" and (metric.startswith(("eval", "val")) or "accuracy" in metric)
    return frozenset({family, "eval"} if about_eval else {family})


def placed(curve: Curve, answer: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return each anomaly with its row.

    Where the steps go back as often as smartmon counted attempts, the attempt tells which row of a step is meant;
    else anomalies come in the order of the file, so it is the next row of that step.
    """
    rows: dict[tuple[int, int], list[int]] = {}
    attempt = 1
    for index, row in enumerate(curve.rows):
        attempt += index > 0 and row.step < curve.rows[index - 1].step
        rows.setdefault((attempt, row.step), []).append(index)
    known = attempt == answer["attempts"]
    if not known:
        rows = _joined(rows)
    found, pointer = [], 0
    for anomaly in answer["anomalies"]:
        places = rows.get((anomaly["attempt"] if known else 1, anomaly["step"]), [])
        first = next((place for place in places if known or place >= pointer), places[-1] if places else pointer)
        # Of the records of one step, the one that carries the metric: an evaluation has a record of its own.
        near = (place for place in places if first <= place <= first + 3)
        row = next((place for place in near if anomaly["metric"] in curve.rows[place].values), first)
        found.append((row, anomaly))
        pointer = max(pointer, first)
    return sorted(found, key=lambda pair: pair[0])


def _joined(rows: dict[tuple[int, int], list[int]]) -> dict[tuple[int, int], list[int]]:
    joined: dict[tuple[int, int], list[int]] = {}
    for (_, step), places in rows.items():
        joined.setdefault((1, step), []).extend(places)
    return joined


def _incident(answer: dict[str, Any], anomaly: dict[str, Any]) -> dict[str, Any] | None:
    """Return the incident that an anomaly belongs to."""
    return next(
        (
            incident
            for incident in answer["incidents"]
            if incident["kind"] == anomaly["kind"]
            and incident["attempt"] == anomaly["attempt"]
            and incident["severity"] != "info"
            and incident["start_step"] <= anomaly["step"] <= incident["end_step"]
        ),
        None,
    )


def _ends(curve: Curve, answer: dict[str, Any]) -> dict[str, int]:
    """Return incident key -> the row of its last anomaly."""
    ends: dict[str, int] = {}
    for row, anomaly in placed(curve, answer):
        incident = _incident(answer, anomaly)
        if incident is not None:
            ends[incident["key"]] = row
    return ends
