"""A scripted run: what a fine-tune writes to disk, at a pace that can be watched, with real trouble in it.

The files are real: status file replaced atomically, JSON Lines, Hugging Face checkpoint folders with safetensors
weights, rotation that deletes the old ones. Only the numbers are made up. Run: `python -m smartmon.demo.trainer DIR`.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
import time
import zipfile
from pathlib import Path

TOTAL = 4000
LOG_EVERY = 10
EVAL_EVERY = SAVE_EVERY = 250
KEEP = 2
"""`save_total_limit`: the trainer's own rotation, which will have deleted every healthy checkpoint by the end."""
SPIKE = range(1210, 1230)
DROP = range(1800, 1870)
DIVERGES, NAN_FROM, CRASH = 2420, 2760, 2860
WEIGHTS = 512 * 1024


def loss_at(step: int, noise: random.Random) -> float:
    """The training loss at a step: a healthy descent with 2 % noise, one spike, and in the end no way back."""
    healthy = 0.62 + 1.8 * math.exp(-step / 500)
    value = healthy * math.exp(noise.gauss(0, 0.02))
    if step in SPIKE:
        value *= 1.9
    if step >= NAN_FROM:
        return math.nan
    return value * math.exp(max(0, step - DIVERGES) / 120)


def accuracy_at(step: int, noise: random.Random) -> float:
    """Token accuracy in percent: rises to about 78, drops once, and falls as the loss diverges."""
    value = 78 - 45 * math.exp(-step / 600) + noise.gauss(0, 0.5)
    if step in DROP:
        value -= 14
    return max(0.0, value - max(0, step - DIVERGES) / 8)


def write_safetensors(path: Path, noise: random.Random) -> None:
    """One real safetensors file: a length, a JSON header, the bytes."""
    header = json.dumps({"lora_A.weight": {"dtype": "F32", "shape": [WEIGHTS // 4], "data_offsets": [0, WEIGHTS]}})
    raw = header.encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + noise.randbytes(WEIGHTS))


def save_checkpoint(folder: Path, step: int, rows: list[dict[str, float]], noise: random.Random) -> None:
    """Write `checkpoint-N` in Hugging Face's order, `trainer_state.json` last, then rotate like it does."""
    target = folder / f"checkpoint-{step}"
    target.mkdir()
    (target / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 16}\n')
    write_safetensors(target / "adapter_model.safetensors", noise)
    with zipfile.ZipFile(target / "optimizer.pt", "w") as archive:
        archive.writestr("archive/data.pkl", noise.randbytes(WEIGHTS))
    state = {"global_step": step, "max_steps": TOTAL, "log_history": rows}
    (target / "trainer_state.json").write_text(json.dumps(state, indent=2) + "\n")
    saved = sorted(folder.glob("checkpoint-*"), key=lambda path: path.stat().st_mtime)
    for old in saved[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)


class Files:
    """The run's files, as its trainer keeps them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.model = base / "current_model"
        for folder in (base / "status", base / "logs", self.model):
            folder.mkdir(parents=True, exist_ok=True)

    def status(self, **fields: object) -> None:
        """Replace the status file atomically."""
        path = self.base / "status" / "training_status.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"total_steps": TOTAL, "model_name": "demo-lora", **fields}) + "\n")
        temporary.replace(path)

    def append(self, name: str, row: dict[str, float]) -> None:
        """Append one JSON line."""
        with (self.base / "logs" / name).open("a") as file:
            file.write(json.dumps(row) + "\n")


def train(base: Path, pace: float) -> int:
    """Write a whole run into `base` at `pace` steps a second; return the exit code, 1 as a crashed trainer would."""
    noise = random.Random(7)
    files = Files(base)
    rows: list[dict[str, float]] = []
    began = time.monotonic()
    for step in range(LOG_EVERY, CRASH + 1, LOG_EVERY):
        time.sleep(max(0.0, began + step / pace - time.monotonic()))
        loss, accuracy = loss_at(step, noise), accuracy_at(step, noise)
        row = {"epoch": step / 2000, "step": step, "loss": loss, "grad_norm": 1 + noise.random() / 4}
        row |= {"learning_rate": 2e-4 * (1 - step / TOTAL), "timestamp": time.time()}
        rows.append({key: value for key, value in row.items() if key != "timestamp"})
        files.append("training_log.jsonl", row)
        fields = {key: row[key] for key in ("epoch", "loss", "learning_rate")}
        files.status(status="training", current_step=step, accuracy_percent=accuracy, timestamp=time.time(), **fields)
        if step % EVAL_EVERY == 0:
            eval_loss = 1.05 * loss_at(step, random.Random(step)) if step < NAN_FROM else math.nan
            files.append("eval_log.jsonl", {"step": step, "eval_loss": eval_loss, "timestamp": time.time()})
            save_checkpoint(files.model, step, rows, noise)
    files.status(
        status="crashed",
        current_step=CRASH,
        loss=math.nan,
        error_type="NaNLoss",
        error_message="the loss was NaN for 10 logged steps",
        timestamp=time.time(),
    )
    return 1


if __name__ == "__main__":
    sys.exit(train(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 100.0))
