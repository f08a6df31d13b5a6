"""The queue with the real trainer: 4-bit QLoRA, killed in the middle, gone on with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.queue.bench import Bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SETTINGS = """
max_steps = {steps}
save_steps = 5
logging_steps = 5
eval_steps = 0
detail_steps = 0
learning_rate = 3e-3
batch_size = 4
threads = 1
"""
STEPS = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")
    from smartmon.demo import tiny

    return tiny.build_model(tmp_path_factory.mktemp("model"), hidden=64, layers=2)


def test_two_files_are_trained_on_one_another_though_the_second_is_killed(bench: Bench, model: Path):
    """Killed by SIGKILL, queue and trainer both; the next queue takes the job up at its newest whole checkpoint."""
    from smartmon.demo import tiny

    (bench.base / "train.toml").write_text(f"model = {json.dumps(str(model))}{SETTINGS.format(steps=STEPS)}")
    first = tiny.write_dataset(bench.base / "first.jsonl", 100)
    bench.desk.add(first, settings={"max_steps": 10})
    tiny.write_dataset(bench.places.inbox / "second.jsonl", 100, seed=1)

    queue = _queue(bench)
    bench.until(lambda: _checkpoint(bench), "it never got to a checkpoint", 200)
    job = bench.book.read().named("second")
    assert job is not None
    os.kill(queue.pid, signal.SIGKILL)
    os.kill(job.pid, signal.SIGKILL)
    queue.communicate()
    reached = _checkpoint(bench)

    out, err = _queue(bench).communicate(timeout=200)
    assert err == ""
    assert 0 < reached < STEPS
    assert "second: interrupted: it was killed" in out
    assert [(each.job.name, each.state, each.facts["step"]) for each in bench.desk.over()] == [
        ("first", "done", 10),
        ("second", "done", STEPS),
    ]
    steps = [row["step"] for row in _rows(bench, "second")]
    assert (steps[-1], len(steps)) == (STEPS, len(set(steps))), "it told a step twice"
    (log,) = bench.base.glob("done/*_second/train.log")
    starts = re.findall(r"^start +at checkpoint-(\d+)", log.read_text(), re.MULTILINE)
    assert [int(step) >= reached for step in starts] == [True], "it began again instead of going on"
    begun = [_rows(bench, name)[0]["loss"] for name in ("first", "second")]
    assert begun[1] < begun[0] - 0.1, "the second did not start from what the first had learned"
    assert (bench.places.model / "adapter_model.safetensors").stat().st_size > 10_000
    (told,) = bench.places.runs.glob("*_second/status/training_status.json")
    assert json.loads(told.read_text())["current_file"] == "second.jsonl"


def _queue(bench: Bench) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "smartmon", "queue", "run", "--once", "-C", str(bench.base)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def _rows(bench: Bench, name: str) -> list[dict[str, Any]]:
    found = list(bench.places.runs.glob(f"*_{name}/logs/training_log.jsonl"))
    return [json.loads(line) for line in found[0].read_text().splitlines()] if found else []


def _checkpoint(bench: Bench) -> int:
    """The step of the second job's newest whole checkpoint."""
    from smartmon.trainer.checkpoints import newest_verified, step_of

    for output in bench.places.runs.glob("*_second/current_model"):
        newest, _skipped = newest_verified(output)
        return (step_of(newest) or 0) if newest is not None else 0
    return 0
