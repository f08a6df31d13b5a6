"""The life of a real 4-bit QLoRA training on a CPU: trained, evaluated, rotated, killed, resumed, merged, asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")

from smartmon.cli import main
from smartmon.trainer import checkpoints, sample
from smartmon.trainer.finding import find
from smartmon.trainer.merge import merge
from tests.trainer.training import names, rows, status

PROMPT = {"role": "user", "content": "What is 3 plus 4?"}


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 90) -> None:
    """Wait until a file is there, or fail with what the process said."""
    end = time.monotonic() + seconds
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(f"{path} is not there: {process.communicate()}")
        time.sleep(0.05)


def greedy(folder: Path) -> str:
    """Return the answer of an adapter or model."""
    speaker = sample.load(find(folder), threads=1)
    answer = sample.Answer()
    for _piece in speaker.answer(sample.Question((PROMPT,)), answer, most=12, choose=sample.chooser(0.0, 0)):
        pass
    return answer.text


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_qlora_training_lives_through_a_kill_and_its_adapter_answers(
    tmp_path: Path, tiny_model: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        *("train", "--dataset", str(tiny_data), "--model", str(tiny_model), "--base-dir", str(tmp_path), "--use-qlora"),
        *("--max-steps", "40", "--save-steps", "4", "--save-total-limit", "2", "--eval-steps", "8", "--threads", "1"),
        *("--logging-steps", "1", "--learning-rate", "5e-3", "--detail-steps", "0", "--batch-size", "4"),
    ]
    output, environ = tmp_path / "current_model", os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "smartmon", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        wait_for(output / "checkpoint-16" / "trainer_state.json", process)
        process.send_signal(signal.SIGKILL)
        said, noise = process.communicate()

    # Nothing but our own lines, rotation at work, and no word of how it ended.
    assert noise == ""
    assert "checkpoint-12 saved" in said
    assert "evaluated at step 8" in said
    assert max(map(len, said.splitlines())) < 80
    assert "checkpoint-4" not in names(output)
    assert status(tmp_path)["status"] in ("training", "evaluating")

    newest, _torn = checkpoints.newest_verified(output)
    assert newest is not None
    with pytest.raises(SystemExit) as exit_:
        main(words)
    told = capsys.readouterr().out
    assert exit_.value.code == 0
    assert f"at {newest.name}" in told
    assert status(tmp_path)["status"] == "completed"
    assert {row["step"] for row in rows(tmp_path)} == set(range(1, 41))
    assert rows(tmp_path)[-1]["loss"] < rows(tmp_path)[0]["loss"]
    assert names(output)[-1] == "checkpoint-40"

    # Merged with the base as its four bits give it back, it says what the adapter says.
    merged = merge(find(output), tmp_path / "merged")
    assert greedy(output) == greedy(merged.folder) != ""
