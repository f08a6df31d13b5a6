"""What `SmartmonCallback` costs the training thread, by part.

Run: `OMP_NUM_THREADS=1 python benchmarks/trainer/callback_cost.py [--steps 300]`

A Trainer takes steps of 16 rows of about 40 tokens with a tiny model. What is taken is the CPU time of the training
thread, which other programs on the machine disturb little: in each event and in the forward hook, and for whole steps
with and without the callback. Looks at the model's answers have a budget of their own and are off.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from smartmon.demo import tiny
from smartmon.trainer import SmartmonCallback
from smartmon.trainer.meters import Meter

STEP = 0.1
"""Seconds of the step that shares are told of: a small one on a GPU."""
EVENTS = ("on_step_begin", "on_step_end", "on_log")


class Ticks(TrainerCallback):
    """CPU seconds of the training thread at each step."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step_end(self, *_args: Any, **_given: Any) -> None:
        self.at.append(time.thread_time())


def timed(owner: Any, name: str, spent: dict[str, list[float]], label: str) -> None:
    """Have a method note how long each call takes."""
    inner = getattr(owner, name)

    def call(*args: Any, **given: Any) -> Any:
        begun = time.thread_time()
        try:
            return inner(*args, **given)
        finally:
            seconds = time.thread_time() - begun
            spent["hook, comparing tokens" if getattr(args and args[0], "comparing", False) else label].append(seconds)

    setattr(owner, name, call)


def train(folder: Path, steps: int, every: int, spent: dict[str, list[float]] | None) -> float:
    """Train; return the median CPU milliseconds of a block of `every` steps, for one step."""
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    rows = []
    for row in tiny.conversations(400):
        ids = tokenizer.apply_chat_template(row["messages"], return_dict=True)["input_ids"]
        rows.append({"input_ids": ids, "labels": list(ids)})
    args = TrainingArguments(
        str(folder / "out"),
        max_steps=steps,
        logging_steps=every,
        per_device_train_batch_size=16,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        logging_nan_inf_filter=False,
    )
    ticks = Ticks()
    callbacks: list[Any] = [ticks]
    if spent is not None:
        callback = SmartmonCallback(folder / "run", detail_steps=0)
        for name in EVENTS:
            timed(callback, name, spent, name)
        callbacks.append(callback)
    collator = DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8)
    trainer = Trainer(model, args, train_dataset=rows, data_collator=collator, callbacks=callbacks)
    trainer.pop_callback(PrinterCallback)
    trainer.train()
    blocks = [b - a for a, b in zip(ticks.at[::every], ticks.at[every::every])]
    return 1e3 * statistics.median(blocks[1:]) / every


def main() -> None:
    """Print a table for a log every step and every ten."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="steps of each training")
    steps = parser.parse_args().steps
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    hook: dict[str, list[float]] = defaultdict(list)
    timed(Meter, "_seen", hook, "hook, other steps")
    print(f"{'':24}{'log every step':>16}{'log every 10':>16}   microseconds a step")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny.build_model(folder / "model", hidden=64, layers=2)
        columns: list[dict[str, float]] = []
        train(folder, 40, 10, None)  # what is done once, is done now
        for every in (1, 10):
            spent: dict[str, list[float]] = defaultdict(list)
            hook.clear()
            without = [train(folder, steps, every, None) for _ in range(2)]
            within = train(folder, steps, every, spent)
            spent |= hook
            # Of each kind of call the median, which what else goes on here moves least, times how often it comes.
            parts = {name: 1e6 * statistics.median(spent[name]) * len(spent[name]) / steps for name in sorted(spent)}
            whole = sum(parts.values())
            parts |= {"sum": whole, f"% of a {1e3 * STEP:.0f} ms step": 1e-4 * whole / STEP}
            parts |= {"CPU ms, without": min(without), "CPU ms, with": within}
            columns.append(parts)
        for part in columns[1]:
            print(f"{part:24}" + "".join(f"{column.get(part, 0.0):16.2f}" for column in columns))


if __name__ == "__main__":
    main()
