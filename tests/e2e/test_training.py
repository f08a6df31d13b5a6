"""The bundled trainer and the daemon, two processes that share nothing but files: real QLoRA, real trouble."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smartmon.demo.plan import QUESTIONS, Plan
from smartmon.errors import NonFiniteError
from tests.e2e.world import Receiver, notifier, started, until

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")
pytestmark = pytest.mark.timeout(240)  # two trainings of 10 s on an idle core

# The task of the demonstration: learned by step 100, and checkpoint-125 is gone once checkpoint-150 is there.
ROOT = Path(__file__).parents[2]
PLAN = Plan(keep=1, poisoned=156)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a training, as JSON has them, with a model and the rows that it learns."""
    from smartmon.demo import tiny

    folder = tmp_path_factory.mktemp("task")
    tiny.build_model(folder / "model", hidden=PLAN.hidden, layers=PLAN.layers)
    tiny.write_dataset(folder / "data.jsonl", PLAN.rows)
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in PLAN.settings(folder).items()}
    return {**settings, "detail_steps": 0}


def train(base: Path, task: dict[str, Any], faults: dict[str, list[Any]], **settings: Any) -> int:
    """Train to the end, and return the exit code."""
    told = json.dumps({**task, "base_dir": str(base), **settings})
    argv = [sys.executable, "-m", "tests.e2e.qlora", told, json.dumps(faults)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with (base.parent / "training.log").open("wb") as log:
        return subprocess.run(argv, stdout=log, stderr=log, timeout=200, check=False, env=env, cwd=ROOT).returncode


def right(adapter: Path) -> int:
    """How many of the three questions an adapter answers to the letter."""
    from smartmon.demo.answers import answers

    return sum(answer == golden for answer, golden in zip(answers(adapter), QUESTIONS.values()))


def test_the_daemon_catches_what_ruins_a_training_and_keeps_the_last_good_adapter(tmp_path: Path, task: dict[str, Any]):
    base = tmp_path / "train"
    base.mkdir()
    faults: dict[str, list[Any]] = {
        "LearningRateFault": [PLAN.too_fast, 100, PLAN.too_fast_steps],
        "PauseUntilKept": [149, str(base / "snapshots"), "checkpoint-125"],
        "PoisonedBatch": [PLAN.poisoned],
    }
    with Receiver() as receiver, started(base, config=notifier(receiver)) as daemon:
        assert train(base, task, faults) == NonFiniteError.exit_code
        until(lambda: any("training crashed" in text for text in receiver.texts), patience=60)
        incidents = daemon.cli("events", "list", "--kind", "incident_opened")
        (run,) = daemon.cli("status")["runs"]
        begun = {event["data"]["kind"]: event["step"] for event in incidents}
        assert PLAN.too_fast <= min(begun["loss_spike"], begun["divergence"]) <= PLAN.too_fast + 2
        assert begun["nonfinite"] == PLAN.poisoned
        assert run["state"] == "failed"
        alerts = "\n".join(receiver.texts)
        assert "the learning rate rose" in alerts
        assert f"loss is NaN at step {PLAN.poisoned}" in alerts

        # The trainer's own rotation has removed what was good; what the daemon kept of it is whole, loads, and answers.
        assert [path.name for path in (base / "current_model").glob("checkpoint-*")] == ["checkpoint-150"]
        kept = [row for row in daemon.cli("snapshots", "list") if row["checkpoint_step"] == 125]
        assert kept
        daemon.cli("snapshots", "verify")
        daemon.cli("snapshots", "restore", kept[0]["name"], str(tmp_path / "restored"), "--checkpoint-only")
    assert right(tmp_path / "restored" / "checkpoint-125") >= 2
    assert right(base / "current_model" / "checkpoint-150") == 0


def test_a_hook_stops_a_training_that_diverges_where_one_asks_for_it(tmp_path: Path, task: dict[str, Any]):
    base = tmp_path / "train"
    base.mkdir()
    stop = json.dumps([sys.executable, "-m", "smartmon", "control", "stop", "--base-dir", str(base)])
    hook = f'[[hooks]]\non = ["divergence"]\nrun = {stop}\n'
    with started(base, config=f'[monitor]\npoll_interval = "500ms"\n{hook}') as daemon:
        assert train(base, task, {"LearningRateFault": [61, 100, 3]}, max_steps=5000, eval_steps=0) == 0
        (run,) = until(lambda: [run for run in daemon.cli("status")["runs"] if run["state"] == "stopped"])
    status = json.loads((base / "status" / "training_status.json").read_text())
    assert status["status"] == "stopped"
    assert 61 < status["current_step"] < 5000
    assert run["step"] == status["current_step"]
    assert (base / "current_model" / f"checkpoint-{status['current_step']}" / "trainer_state.json").exists()
