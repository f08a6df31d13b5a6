"""A training as it should go, as it is stopped, and as it breaks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")

from smartmon.errors import DataError, LockedError, NonFiniteError, TrainingError, UsageError
from smartmon.trainer import checkpoints, control, lock
from smartmon.trainer.run import train
from smartmon.trainer.signals import Interrupted, Signals
from tests.trainer.training import At, crash, names, poison, rows, small, spoil, status


def quietly(_line: str) -> None:
    """Nobody listens."""


def test_a_training_leaves_everything_that_is_promised(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    said: list[str] = []
    settings = small(tmp_path, tiny_model, tiny_data, eval_steps=3, detail_steps=3, save_total_limit=2)
    outcome = train(settings, say=said.append)
    output = tmp_path / "current_model"
    assert (outcome.state, outcome.reason, outcome.step, outcome.total_steps) == ("completed", "", 6, 6)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "grad_norm", "learning_rate", "accuracy_percent", "epoch"} <= rows(tmp_path)[-1].keys()
    assert [row["step"] for row in rows(tmp_path, "eval_log")] == [3, 6]
    assert rows(tmp_path, "training_detail")[0]["golden"]
    assert names(output) == ["checkpoint-4", "checkpoint-6"]
    assert outcome.best_step == 6
    assert outcome.checkpoint == output / "checkpoint-6"
    assert outcome.adapter is not None
    assert outcome.adapter.read_bytes() == (output / "checkpoint-6" / "adapter_model.safetensors").read_bytes()
    assert {path.name for path in output.iterdir() if path.is_file()} >= {
        *("adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja"),
        "training_config.json",
    }
    told = status(tmp_path)
    assert (told["status"], told["current_step"], told["total_steps"]) == ("completed", 6, 6)
    assert told["last_checkpoint"] == "checkpoint-6"
    assert told["output_dir"] == str(output)
    record = json.loads((output / "training_config.json").read_text())
    assert record["state"] == "completed"
    assert record["settings"]["lora_r"] == 16
    assert record["versions"]["torch"]
    assert any("NF4" in decision for decision in record["decisions"])
    assert any(line.startswith("arithmetic") for line in said)
    assert max(len(line) for line in said if str(tmp_path) not in line) < 80


def test_every_row_has_its_accuracy_also_before_a_save_and_at_the_end(
    tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    train(small(tmp_path, tiny_model, tiny_data, logging_steps=4, save_steps=3, max_steps=7), say=quietly)
    assert [row["step"] for row in rows(tmp_path)] == [1, 3, 4, 6, 7]
    assert all("accuracy_percent" in row for row in rows(tmp_path))


def test_the_loss_falls(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    changes: dict[str, Any] = {"modules_to_save": ("embed_tokens", "lm_head"), "max_steps": 25, "save_steps": 25}
    train(small(tmp_path, tiny_model, tiny_data, batch_size=8, **changes), say=quietly)
    losses = [row["loss"] for row in rows(tmp_path)]
    assert losses[-1] < losses[0] - 1


def test_a_loss_that_is_no_number_stops_before_a_checkpoint_is_lost(
    tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    settings = small(tmp_path, tiny_model, tiny_data, save_steps=1, save_total_limit=1, max_steps=20)
    with pytest.raises(NonFiniteError, match=r"checkpoint-2.*--learning-rate") as told:
        train(settings, say=quietly, callbacks=[At(3, poison)])
    assert told.value.exit_code == 20
    assert names(settings.output) == ["checkpoint-2"]
    assert checkpoints.problem(settings.output / "checkpoint-2") == ""
    assert not (settings.output / "adapter_model.safetensors").exists()
    assert status(tmp_path)["status"] == "crashed"
    assert rows(tmp_path, "error_log")[-1]["error_type"] == "NaNLoss"


def test_nan_is_logged_as_nan(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    settings = small(tmp_path, tiny_model, tiny_data, save_steps=20, max_steps=20)
    with pytest.raises(NonFiniteError):
        train(settings, say=quietly, callbacks=[At(2, poison)])
    last = rows(tmp_path)[-1]
    assert last["step"] == 3
    assert last["loss"] != last["loss"]


def test_training_on_through_nan_never_saves_it(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    settings = small(tmp_path, tiny_model, tiny_data, on_nonfinite="continue", save_total_limit=1)
    outcome = train(settings, say=quietly, callbacks=[At(3, poison)])
    assert outcome.step == 6
    assert names(settings.output) == ["checkpoint-2"]
    assert "the adapter is that of checkpoint-2" in " ".join(outcome.lines())


def test_an_error_is_told_in_one_sentence_and_its_traceback_kept(
    tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    settings = small(tmp_path, tiny_model, tiny_data)
    with pytest.raises(TrainingError) as told:
        train(settings, say=quietly, callbacks=[At(3, crash(ValueError("a cable\nis loose")))])
    assert str(told.value) == (
        "the training broke off: ValueError: a cable; the traceback is in "
        f"{tmp_path / 'logs' / 'error_log.jsonl'}; the same command goes on from checkpoint-2"
    )
    assert (status(tmp_path)["status"], status(tmp_path)["error_type"]) == ("crashed", "ValueError")
    assert "a cable" in rows(tmp_path, "error_log")[-1]["traceback"]


def test_where_memory_runs_out_it_says_what_to_lower(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    settings = small(tmp_path, tiny_model, tiny_data)
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
    with pytest.raises(TrainingError, match=r"--batch-size 2 --grad-accum 2"):
        train(settings, say=quietly, callbacks=[At(1, crash(error))])
    assert status(tmp_path)["status"] == "crashed"


def test_a_signal_ends_it_after_the_step_with_a_checkpoint(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    signals = Signals()
    signals.take()
    try:
        settings = small(tmp_path, tiny_model, tiny_data, max_steps=20, save_steps=20)
        kill = At(3, lambda _model: os.kill(os.getpid(), signal.SIGTERM))
        outcome = train(settings, say=quietly, callbacks=[kill], signals=signals)
    finally:
        signals.give_back()
    assert (outcome.state, outcome.reason) == ("stopped", "signal")
    assert names(settings.output) == [f"checkpoint-{outcome.step}"]
    assert outcome.step in (3, 4)
    assert status(tmp_path)["status"] == "stopped"


def test_a_signal_breaks_an_evaluation_off(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    from transformers import TrainerCallback

    class Kill(TrainerCallback):
        def on_prediction_step(self, *_: Any, **__: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    signals = Signals()
    signals.take()
    try:
        changes: dict[str, Any] = {"eval_steps": 2, "eval_fraction": 0.5, "max_steps": 20, "save_steps": 20}
        settings = small(tmp_path, tiny_model, tiny_data, **changes)
        outcome = train(settings, say=quietly, callbacks=[Kill()], signals=signals)
    finally:
        signals.give_back()
    assert (outcome.state, outcome.step) == ("stopped", 3)
    assert not (tmp_path / "logs" / "eval_log.jsonl").exists()
    assert names(settings.output) == ["checkpoint-3"]


def test_a_signal_before_the_first_step_ends_it_cleanly(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("arithmetic"):
            os.kill(os.getpid(), signal.SIGTERM)

    signals = Signals()
    signals.take()
    try:
        with pytest.raises(Interrupted):
            train(small(tmp_path, tiny_model, tiny_data), say=interrupt, signals=signals)
    finally:
        signals.give_back()
    assert status(tmp_path)["status"] == "stopped"


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_second_signal_ends_it_at_once(name: str, code: int) -> None:
    assert signalled_twice(name, echo=0) == (code, "")


def test_a_signal_that_comes_twice_at_once_counts_once() -> None:
    assert signalled_twice("SIGINT", echo=60) == (0, "still here\n")


def signalled_twice(name: str, *, echo: float) -> tuple[int, str]:
    """Send the same signal twice to a process that takes it; return its exit code and what it said."""
    script = (
        "import os, signal\nfrom smartmon.trainer.signals import Signals\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"signals = Signals(echo={echo}); signals.take(); signals.during(lambda: None)\n"
        f"for _ in range(2): os.kill(os.getpid(), signal.{name})\n"
        "print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout


def test_the_control_file_saves_and_stops(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    settings = small(tmp_path, tiny_model, tiny_data, max_steps=5000, save_steps=5000, learning_rate=1e-5)
    over = threading.Event()

    def steer() -> None:
        for word in ("checkpoint", "stop"):
            saved = len(names(settings.output))
            while not over.is_set() and not (tmp_path / "logs" / "training_log.jsonl").exists():
                over.wait(0.05)
            control.send(tmp_path, word)
            while not over.is_set() and len(names(settings.output)) == saved:
                over.wait(0.05)

    helper = threading.Thread(target=steer)
    helper.start()
    try:
        outcome = train(settings, say=quietly)
    finally:
        over.set()
        helper.join()
    assert (outcome.state, outcome.reason) == ("stopped", "control")
    assert len(names(settings.output)) == 2
    assert status(tmp_path)["status"] == "stopped"


def test_it_stops_early_when_the_evaluations_get_no_better(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    changes: dict[str, Any] = {"eval_steps": 1, "early_stopping": 2, "learning_rate": 1e-30, "max_steps": 20}
    outcome = train(small(tmp_path, tiny_model, tiny_data, **changes), say=quietly)
    assert (outcome.state, outcome.reason, outcome.step) == ("completed", "early_stopping", 3)
    assert outcome.checkpoint == tmp_path / "current_model" / "checkpoint-3"


def test_the_best_checkpoint_stays_beyond_the_newest(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    changes: dict[str, Any] = {"eval_steps": 1, "save_steps": 1, "save_total_limit": 1, "max_steps": 4}
    settings = small(tmp_path, tiny_model, tiny_data, **changes)
    outcome = train(settings, say=quietly, callbacks=[At(3, spoil)])
    assert outcome.best_step == 2
    assert names(settings.output) == ["checkpoint-2", "checkpoint-4"]


def test_a_second_training_in_the_same_folder_is_refused(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    with lock.held([tmp_path]), pytest.raises(LockedError, match=f"pid {os.getpid()}"):
        train(small(tmp_path, tiny_model, tiny_data), say=quietly)


def test_no_adapter_is_written_into_a_whole_model(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    before = sorted(tiny_model.iterdir())
    with pytest.raises(UsageError, match="holds a whole model"):
        train(small(tmp_path, tiny_model, tiny_data, output_dir=tiny_model), say=quietly)
    assert sorted(tiny_model.iterdir()) == before


def test_bad_data_is_refused_before_anything_is_written(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(DataError):
        train(small(tmp_path, tiny_model, tmp_path / "absent.jsonl"), say=quietly)
    assert not (tmp_path / "status").exists()


def test_early_stopping_without_evaluations_is_refused(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    with pytest.raises(UsageError, match="--eval-fraction"):
        train(small(tmp_path, tiny_model, tiny_data, early_stopping=2), say=quietly)


def test_a_wrong_word_is_no_crash_of_a_run(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    with pytest.raises(UsageError, match="nope"):
        train(small(tmp_path, tiny_model, tiny_data, target_modules=("nope",)), say=quietly)
    told = json.loads((tmp_path / "status" / "training_status.json").read_text())
    assert told["status"] == "stopped"
    assert "nope" in told["error_message"]


def test_packed_rows_are_trained_on(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    said: list[str] = []
    outcome = train(small(tmp_path, tiny_model, tiny_data, packing="on", max_steps=2), say=said.append)
    assert outcome.step == 2
    assert any("packed" in line for line in said)
