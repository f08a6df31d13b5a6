"""The faults do to a real training what their names say, at the step they are given, and nothing before."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")
os.environ.setdefault("OMP_NUM_THREADS", "1")

GARBAGE, WRONG, FAST, NAN, LAST = 31, 36, 44, 52, 54


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What a training logged that all of them befell, by step."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from smartmon.demo import faults, tiny
    from smartmon.trainer import model
    from smartmon.trainer.data import Collator, Rows, read_rows
    from smartmon.trainer.settings import TrainSettings

    torch.set_num_threads(1)
    folder: Path = tmp_path_factory.mktemp("faults")
    data = tiny.write_dataset(folder / "data.jsonl", 500)
    tiny.build_model(folder / "model", hidden=64, layers=1)
    whole = ("embed_tokens", "lm_head")
    loaded = model.load(TrainSettings(dataset=data, model=str(folder / "model"), modules_to_save=whole, threads=1))
    logged: dict[int, dict[str, Any]] = {}

    class Log(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            logged.setdefault(state.global_step, dict(logs))

    arguments = TrainingArguments(
        str(folder / "out"),
        max_steps=LAST,
        per_device_train_batch_size=8,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        loaded.model,
        arguments,
        train_dataset=Rows(read_rows(data, loaded.tokenizer, max_length=64).rows),
        data_collator=Collator(loaded.tokenizer.pad_token_id),
        callbacks=[
            Log(),
            faults.GarbageBatch(GARBAGE),
            faults.WrongLabels(WRONG, 2),
            faults.LearningRateFault(FAST, 100, 2),
            faults.PoisonedBatch(NAN),
        ],
    )
    trainer.train()
    return logged


def test_a_garbage_batch_is_one_high_loss_and_the_next_is_as_before(rows: dict[int, dict[str, Any]]):
    before = rows[GARBAGE - 1]["loss"]
    assert rows[GARBAGE]["loss"] > 3 * before
    assert rows[GARBAGE + 1]["loss"] < 2 * before


def test_wrong_labels_are_high_losses_for_as_long_as_they_last(rows: dict[int, dict[str, Any]]):
    before = rows[WRONG - 1]["loss"]
    assert min(rows[WRONG]["loss"], rows[WRONG + 1]["loss"]) > 1.5 * before
    assert rows[WRONG + 3]["loss"] < 2 * before


def test_a_learning_rate_fault_is_in_the_log_and_ruins_the_model_when_it_is_over(rows: dict[int, dict[str, Any]]):
    rates = {step: round(rows[step]["learning_rate"], 6) for step in range(FAST - 2, FAST + 4)}
    assert set(rates.values()) == {0.01, 1.0}
    assert [step for step, rate in rates.items() if rate == 1.0] == [FAST, FAST + 1]
    assert rows[NAN - 1]["loss"] > 3 * rows[FAST - 1]["loss"]


def test_a_poisoned_batch_is_nan_from_its_step_on(rows: dict[int, dict[str, Any]]):
    assert not any(math.isnan(rows[step]["loss"]) for step in range(1, NAN))
    assert all(math.isnan(rows[step]["loss"]) for step in range(NAN, LAST + 1))
