"""A server, and what it is asked about: a run that resumed, spiked and kept something, and one with an evil name."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smartmon.config import Config, load
from smartmon.records import Change, IncidentChange, Severity, Snapshot, SnapshotState
from smartmon.store import Store

if TYPE_CHECKING:
    from smartmon.web.serve import Served

RUN = "qlora-7b"
EVIL = '<script>alert(1)</script>"\n'
NOW = round(time.time())
FIRST, LAST, BACK = 1, 1000, 900
"""Steps: the first attempt goes from FIRST to LAST, the second goes back to BACK."""


def fill(base: Path) -> None:
    """Make a base dir as a daemon would have left it."""
    for folder in ("q/logs", "q/status", "e", "q/checkpoint-900", "q/checkpoint-950"):
        (base / folder).mkdir(parents=True)
    beat(base)
    with Store.open(base / ".smartmon" / "smartmon.db") as store, store.transaction():
        _evil(store, base)
        _run(store, base)
    _files(base / "q")


def beat(base: Path) -> None:
    """Say that the daemon lives, as it would every 10 s."""
    said = {"pid": os.getpid(), "started_at": NOW - 60, "beat_at": time.time(), "version": "0", "state": "running"}
    with Store.open(base / ".smartmon" / "smartmon.db") as store, store.transaction():
        store.set_meta("daemon", json.dumps(said | {"workers": {"watch": True}}))


def at(attempt: int, step: int) -> float:
    """When a row was written: half a second a step, an hour between the attempts."""
    return NOW - 7200 + step / 2 + (attempt - 1) * 3600


def loss(step: int) -> float:
    """The loss of a step."""
    return 50.0 if step == 500 else math.nan if step == 600 else 2.0 - step / 1000


def _evil(store: Store, base: Path) -> None:
    run = store.ensure_run(EVIL, base / "e", base, NOW - 86400)
    store.append(run.id, 1, 1, NOW - 86400, {"loss": math.nan})
    data = {"latest": {"loss": math.nan}, "error_message": "\ud800 <b>OOM</b>"}
    store.update_run(run.id, state="failed", step=1, data=data)
    text = "it failed \ud800 <img src=x onerror=alert(1)>"
    store.add_event(at=NOW - 86400, kind="run_failed", message=text, run_id=run.id, severity="critical")


def _run(store: Store, base: Path) -> None:
    run = store.ensure_run(RUN, base / "q", base, NOW - 3600)
    for attempt, steps in ((1, range(FIRST, LAST + 1)), (2, range(BACK, LAST + 1))):
        if attempt == 2:
            store.begin_attempt(run.id, 2, BACK, at(2, BACK), "resumed")
        for step in steps:
            values = {"loss": loss(step), "learning_rate": min(1.0, step / 100) * 2e-4, "grad_norm": 1.0, "epoch": 0.5}
            values |= {"tokens_per_sec": 5000.0} if step % 10 == 0 else {}
            values |= {"eval_loss": 1.5 - step / 2000} if step % 100 == 0 else {}
            shares = {
                f"expert_usage/layer_{layer}/expert_{n}": 100 / 7 * (n != 3) for layer in (2, 10) for n in range(8)
            }
            values |= shares if step % 100 == 0 else {}
            store.append(run.id, attempt, step, at(attempt, step), values)
    latest = {"loss": 1.0, "accuracy": 81.25, "learning_rate": 2e-4, "aux_loss": math.nan, "eval_loss": 1.0}
    data = {"latest": latest, "best_loss": 1.0, "best_loss_step": 950, "best_metric": "eval_loss", "model_name": "Q"}
    store.update_run(run.id, state="running", step=LAST, total_steps=2000, attempt=2, data=data)
    incident = store.save_incident(run.id, spike())
    told = {"run_id": run.id, "attempt": 1, "severity": "warning", "step": 500, "message": "loss 50"}
    store.add_event(at=at(1, 500), kind="loss_spike", data={"z": math.nan}, **told)
    store.add_event(at=at(1, 500), kind="incident_opened", data={"incident": "k"}, **told)
    payload = {"change": None, "event": {"kind": "loss_spike"}}
    store.add_delivery(
        notifier="phone", kind="opened", severity="warning", created_at=at(1, 500), run_id=run.id,
        incident_id=incident, payload=payload,
    )  # fmt: skip
    keep = store.request_keep(
        run.id, 1, 500, at=at(1, 500), kinds=["loss_spike"], reasons=["loss_spike_2300.0pct"], severity="warning",
        hold=False, incident_keys=["k"], payload={},
    )  # fmt: skip
    store.update_keep(keep, state="done", snapshot=snapshot(base).name)
    store.index_snapshots(base, [snapshot(base)])


def spike() -> IncidentChange:
    """An incident that is open."""
    place = {"at": at(1, 500), "step": 500, "start_step": 500, "end_step": 500, "anomalies": 1}
    words = {"reason": "loss_spike_2300.0pct", "message": "loss 50 at step 500", "severity": Severity.WARNING}
    context = {"loss_history": [1.5, math.nan, 50.0], "latest": {"loss": 50.0}, "around": ["grad_norm rose"]}
    return IncidentChange(
        "k", "loss_spike", "spike", Change.OPENED, **place, **words, metric="loss", value=50.0, expected=1.5,
        context=context,
    )  # fmt: skip


def snapshot(base: Path) -> Snapshot:
    """What was kept."""
    name = "anomaly_20251112_143022_loss_spike_2300.0pct"
    return Snapshot(
        name=name, path=base / "snapshots" / name, run=RUN, created_at="2025-11-12T14:30:22+00:00",
        reason="loss_spike_2300.0pct", triggers=("loss_spike_2300.0pct",), severity=Severity.WARNING, step=500,
        loss=50.0, accuracy=None, checkpoint_step=400, bytes=4_100_000_000, pinned=False, state=SnapshotState.OK,
    )  # fmt: skip


def _files(run: Path) -> None:
    lines = [f"Step {step} loss 1.0" for step in range(1, 501)]
    text = ["***** Running training *****", *lines, "Saving model checkpoint to x", "{'eval_loss': 1}", "done"]
    (run / "logs" / "output.log").write_text("\n".join(text) + "\n")
    status = {"status": "training", "current_step": LAST, "pid": os.getpid(), "host": os.uname().nodename}
    (run / "status" / "training_status.json").write_text(json.dumps(status))
    with (run / "logs" / "training_detail.jsonl").open("w") as file:
        for step in (100, 200, 300):
            file.write(json.dumps(look(step, "cat" if step < 300 else "dog")) + "\n")
    for step in (900, 950):
        (run / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    (run / "checkpoint-950" / "trainer_state.json").rename(run / "checkpoint-950" / "config.json")
    for folder, rate in ((run, 2e-4), (run.parent / "e", 1e-4)):
        told = {"settings": {"lr": rate, "hub_token": f"hf_secret_{rate}"}, "begun": f"{rate}"}
        (folder / "training_config.json").write_text(json.dumps(told))


def look(step: int, said: str) -> dict[str, object]:
    """A sample as the bundled trainer writes it."""
    verdict = "match" if said == "dog" else "mismatch"
    tokens = [{"golden": "dog", "predicted": said, "verdict": verdict}]
    asked = [{"role": "user", "content": "<script>alert(1)</script> who barks?"}]
    answer = {"golden": "dog", "predicted": said, "exact": said == "dog", "ended": "end", "generating": False}
    return {"step": step, "prompt": {"messages": asked}, "tokens": tokens, "timestamp": NOW, "loss": 1.0, **answer}


@contextmanager
def served(base: Path, **overrides: object) -> Iterator[Served]:
    """Serve a base dir on a free port while the body runs."""
    from smartmon.web.serve import serve

    settings = {"dashboard.port": 0, **{key.replace("__", "."): value for key, value in overrides.items()}}
    config: Config = load(None, base_dirs=[base], overrides=settings, environ={})
    ready = threading.Event()
    told: list[Served] = []
    ends: list[Callable[[], None]] = []

    def listening(where: Served) -> None:
        told.append(where)
        ready.set()

    thread = threading.Thread(
        target=serve, args=(config, lambda: config.database, listening), kwargs={"stop": ends.append}, daemon=True
    )
    thread.start()
    assert ready.wait(20)
    try:
        yield told[0]
    finally:
        ends[0]()
        thread.join(10)
        assert not thread.is_alive()
