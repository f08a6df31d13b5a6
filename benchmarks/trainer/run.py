"""The same model, rows and settings in `smartmon train` and in TRL's SFTTrainer: tokens/s, peak memory, final loss.

Each stack trains in a process of its own. TRL is not among smartmon's packages: pip install trl.

    python benchmarks/trainer/run.py                    # miniature, for a CPU
    python benchmarks/trainer/run.py --size 8b          # a random 8B Llama, for a GPU with 24 GB or more
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "mini": {"hidden": 256, "inner": 768, "layers": 4, "heads": 4, "keys": 2, "words": 8000},
    "1b": {"hidden": 2048, "inner": 8192, "layers": 16, "heads": 32, "keys": 8, "words": 128256},
    "8b": {"hidden": 4096, "inner": 14336, "layers": 32, "heads": 32, "keys": 8, "words": 128256},
}
HEADS = ("tokens/s", "a CPU second", "peak", "first loss", "last loss", "whole")
WARM = 3
"""Steps that are not timed: kernels are chosen and memory is taken in them."""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--length", type=int, default=256, help="tokens of every row: nothing is padded")
    parser.add_argument("--lora-r", type=int, default=16)
    parser.add_argument("--no-quantize", action="store_true")
    parser.add_argument("--checkpointing", choices=("on", "off"), default="off")
    parser.add_argument("--stack", choices=("smartmon", "trl"), help="run one stack in this process")
    parser.add_argument("--folder", type=Path, help="where model and rows are kept; a temporary one if unset")
    return parser.parse_args()


def main() -> None:
    """Build model and rows, run both stacks, print a table."""
    asked = options()
    if asked.stack is not None:
        # What an earlier run left would be appended to.
        shutil.rmtree(asked.folder / asked.stack, ignore_errors=True)
        found = {"smartmon": smartmon, "trl": trl}[asked.stack](asked)
        print("RESULT " + json.dumps(found))
        return
    if importlib.util.find_spec("trl") is None:
        sys.exit("the comparison needs TRL, which smartmon does not install: pip install trl")
    with tempfile.TemporaryDirectory() if asked.folder is None else contextlib.nullcontext(asked.folder) as folder:
        if not (Path(folder) / "rows.jsonl").exists():
            build(Path(folder), asked)
        kind = "plain LoRA" if asked.no_quantize else "NF4"
        print(
            f"{asked.size}, {asked.steps} steps of {asked.batch_size} x {asked.length} tokens, "
            f"{kind}, r {asked.lora_r}, checkpointing {asked.checkpointing}"
        )
        print(f"{'':10}" + "".join(f"{head:>14}" for head in HEADS))
        for stack in ("smartmon", "trl"):
            words = [sys.executable, __file__, *sys.argv[1:], "--stack", stack, "--folder", str(folder)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
            found = json.loads(line.removeprefix("RESULT "))
            cells = (
                f"{found['tokens_per_sec']:,.0f}",
                f"{found['per_cpu_second']:,.0f}",
                f"{found['peak'] / 1e6:,.0f} MB",
                f"{found['first']:.4f}",
                f"{found['last']:.4f}",
                f"{found['seconds']:.1f} s",
            )
            print(f"{stack:10}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def build(folder: Path, asked: argparse.Namespace) -> None:
    """Write a random Llama and rows that are all cut to the same length."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from smartmon.demo import tiny

    folder.mkdir(parents=True, exist_ok=True)
    tiny.build_model(folder / "model", hidden=64, layers=1, context=8192)
    size, config = SIZES[asked.size], LlamaConfig.from_pretrained(folder / "model")
    config.hidden_size, config.intermediate_size, config.vocab_size = size["hidden"], size["inner"], size["words"]
    config.num_hidden_layers, config.num_attention_heads = size["layers"], size["heads"]
    config.num_key_value_heads, config.head_dim = size["keys"], size["hidden"] // size["heads"]
    cuda = torch.cuda.is_available()
    torch.manual_seed(0)
    with torch.device("cuda" if cuda else "cpu"):
        model = LlamaForCausalLM(config)
    model.to(torch.bfloat16 if cuda else torch.float32).save_pretrained(folder / "model")
    rng = random.Random(0)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for _ in range(asked.steps * asked.batch_size):
            question, answer = (
                [rng.choice(("tea", "rice", "soap", "salt")) for _ in range(asked.length)] for _ in "qa"
            )
            said = {"user": " ".join(question[:20]), "assistant": " ".join(answer)}
            file.write(json.dumps({"messages": [{"role": r, "content": c} for r, c in said.items()]}) + "\n")


def smartmon(asked: argparse.Namespace) -> dict[str, Any]:
    """Train as `smartmon train` does; evaluations and looks at answers are left out, as TRL has none."""
    from smartmon.trainer.run import train
    from smartmon.trainer.settings import TrainSettings

    folder = asked.folder / "smartmon"
    settings = TrainSettings(
        dataset=asked.folder / "rows.jsonl",
        model=str(asked.folder / "model"),
        base_dir=folder,
        resume="none",
        max_steps=asked.steps,
        batch_size=asked.batch_size,
        max_length=asked.length,
        packing="off",
        quantize=not asked.no_quantize,
        lora_r=asked.lora_r,
        gradient_checkpointing=asked.checkpointing,
        optimizer="adamw_torch_fused",
        logging_steps=1,
        eval_steps=0,
        detail_steps=0,
        save_steps=asked.steps,
    )
    clock = timer()
    begun = time.perf_counter()
    train(settings, say=lambda _line: None, callbacks=[clock])
    rows = [json.loads(line) for line in (folder / "logs" / "training_log.jsonl").read_text().splitlines()]
    return clock.result(asked, [row["loss"] for row in rows if row.get("loss") is not None], begun)


def trl(asked: argparse.Namespace) -> dict[str, Any]:
    """Train by SFTTrainer with the same settings, and its own defaults for all others."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    begun, cuda = time.perf_counter(), torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(
        asked.folder / "model",
        dtype=dtype,
        quantization_config=None if asked.no_quantize else four_bits,
        device_map={"": 0} if cuda else None,
    )
    arguments = SFTConfig(
        output_dir=str(asked.folder / "trl"),
        max_steps=asked.steps,
        per_device_train_batch_size=asked.batch_size,
        learning_rate=2e-4,
        lr_scheduler_type="cosine",
        warmup_steps=1,
        max_length=asked.length,
        packing=False,
        assistant_only_loss=True,
        optim="adamw_torch_fused",
        gradient_checkpointing=asked.checkpointing == "on",
        bf16=cuda,
        use_cpu=not cuda,
        logging_steps=1,
        save_steps=asked.steps,
        report_to="none",
        disable_tqdm=True,
    )
    clock = timer()
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=load_dataset("json", data_files=str(asked.folder / "rows.jsonl"), split="train"),
        processing_class=AutoTokenizer.from_pretrained(asked.folder / "model"),
        peft_config=LoraConfig(
            r=asked.lora_r, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[clock],
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return clock.result(asked, losses, begun)


def timer() -> Any:
    """Return a callback that notes when each step ends, the same for both stacks."""
    import resource

    import torch
    from transformers import TrainerCallback

    class Timer(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []
            self.used: list[float] = []  # seconds of the processor: what a busy machine does not spoil

        def on_step_end(self, *_args: Any, **_more: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())
            self.used.append(time.process_time())

        def result(self, asked: argparse.Namespace, losses: list[float], begun: float) -> dict[str, Any]:
            tokens = (len(self.ends) - WARM) * asked.batch_size * asked.length
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            return {
                "tokens_per_sec": tokens / (self.ends[-1] - self.ends[WARM - 1]),
                "per_cpu_second": tokens / (self.used[-1] - self.used[WARM - 1]),
                "peak": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak,
                "first": losses[0],
                "last": sum(losses[-5:]) / len(losses[-5:]),
                "seconds": time.perf_counter() - begun,
            }

    return Timer()


if __name__ == "__main__":
    main()
