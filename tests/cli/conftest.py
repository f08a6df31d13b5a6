"""A training directory that a daemon has watched for a while."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import pytest

from smartmon.records import Change, IncidentChange, Severity, Snapshot, SnapshotState
from smartmon.store import Store

LONG_AGO = 60 * 86400


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One run with an open incident, a spike of one step, a snapshot; one that failed long ago, with an evil name."""
    monkeypatch.chdir(tmp_path)
    base, now = tmp_path / "train", time.time()
    for folder in ("e", "q"):
        (base / folder).mkdir(parents=True)
    with Store.open(base / ".smartmon" / "smartmon.db") as store, store.transaction():
        beat = {"pid": os.getpid(), "started_at": now - 60, "beat_at": now, "version": "0", "state": "running"}
        store.set_meta("daemon", json.dumps(beat))
        old = store.ensure_run("sub/\x1b[31mevil [red]x[/red]", base / "e", base, now - LONG_AGO)
        store.append(old.id, 1, 1, now - LONG_AGO, {"loss": math.nan})
        store.update_run(old.id, state="failed", step=1, data={"latest": {"loss": math.nan}, "error_message": "OOM"})
        run = store.ensure_run("qlora-7b", base / "q", base, now)
        for step in range(1, 1001):
            loss = 50.0 if step == 500 else 2.0 - step / 1000
            store.append(run.id, 1, step, now - 1000 + step, {"loss": loss})
        data = {"latest": {"loss": 1.0, "accuracy": 81.25}, "best_loss": 0.9, "best_loss_step": 990}
        store.update_run(run.id, state="running", step=1000, total_steps=2000, data=data)
        store.save_incident(run.id, spike(now))
        event = {"kind": "loss_spike", "severity": "warning", "run_id": run.id, "step": 500}
        store.add_event(at=now - LONG_AGO, kind="run_failed", message="it failed", run_id=old.id, severity="critical")
        store.add_event(at=now - 500, message="loss 50 at step 500 [bold]x", data={"z": math.nan}, **event)
        store.index_snapshots(base, [snapshot(base)])
    return base


def spike(now: float) -> IncidentChange:
    message = "loss 50 at step 500, expected at most 2.1"
    place = {"at": now - 500, "step": 500, "start_step": 500, "end_step": 500, "anomalies": 1}
    words = {"reason": "loss_spike_2300.0pct", "message": message, "severity": Severity.WARNING}
    return IncidentChange("k", "loss_spike", "spike", Change.OPENED, **place, **words)


def snapshot(base: Path) -> Snapshot:
    return Snapshot(
        name="anomaly_20251112_143022_loss_spike_2300.0pct",
        path=base / "snapshots" / "x",
        run="qlora-7b",
        created_at="2025-11-12T14:30:22+00:00",
        reason="loss_spike_2300.0pct",
        triggers=("loss_spike",),
        step=500,
        loss=50.0,
        accuracy=None,
        checkpoint_step=400,
        bytes=4_100_000_000,
        pinned=False,
        state=SnapshotState.OK,
    )
