"""Holds the estimate of memory against the real peak: random Llamas trained for three steps, each in its own process.

On a CPU the peak is that of the process's own pages (RssAnon, asked every millisecond: what is mapped from files can be
given back); on a GPU it is torch's reserved memory.

    OMP_NUM_THREADS=1 python benchmarks/trainer/memory.py
"""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

CASES: tuple[dict[str, Any], ...] = (
    {"hidden": 256, "layers": 4, "words": 8000, "batch": 8, "length": 128},
    {"hidden": 256, "layers": 4, "words": 8000, "batch": 8, "length": 512},
    {"hidden": 512, "layers": 8, "words": 16000, "batch": 2, "length": 256},
    {"hidden": 512, "layers": 8, "words": 16000, "batch": 4, "length": 256, "gradient_checkpointing": "on"},
    {"hidden": 768, "layers": 8, "words": 32000, "batch": 2, "length": 256},
    {"hidden": 768, "layers": 8, "words": 32000, "batch": 2, "length": 256, "quantize": False},
    {"hidden": 512, "layers": 4, "words": 16000, "batch": 2, "length": 256, "lora_r": 128},
    {"hidden": 512, "layers": 4, "words": 16000, "batch": 2, "length": 256, "lora_dropout": 0.05},
)


def main() -> None:
    """Print a table of all cases."""
    print(f"{'model':>24} {'rows':>9} {'settings':26} {'estimate':>9} {'real':>9} {'error':>6} {'loading':>9}")
    for case in CASES:
        done = subprocess.run(
            [sys.executable, __file__, json.dumps(case)], stdout=subprocess.PIPE, text=True, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        model = f"{found['parameters'] / 1e6:.0f} M ({case['hidden']} x {case['layers']})"
        rows, asked = f"{case['batch']} x {case['length']}", ", ".join(f"{k}={case[k]}" for k in list(case)[5:])
        error = found["estimate"] / found["real"] - 1
        print(
            f"{model:>24} {rows:>9} {asked:26} {found['estimate'] / 1e6:6.0f} MB {found['real'] / 1e6:6.0f} MB "
            f"{error:+6.0%} {found['load'] / 1e6:6.0f} MB",
            flush=True,
        )


def measure(case: dict[str, Any]) -> None:
    """Load, train three steps, and print both figures in bytes."""
    import torch

    from smartmon.trainer.model import load
    from smartmon.trainer.quiet import quiet
    from smartmon.trainer.settings import TrainSettings

    settings_of = {key: case[key] for key in list(case)[5:]}
    with quiet(), tempfile.TemporaryDirectory() as folder:
        build(Path(folder), case)
        settings = TrainSettings(
            dataset=Path("none"), model=folder, batch_size=case["batch"], max_length=case["length"], **settings_of
        )
        load(settings, training=False)  # what is imported on the way is not the model's
        with Peak() as peak:
            loaded = load(settings)
            held = peak.most - peak.before
            step(loaded, case)
    estimate = loaded.choices.estimate
    assert estimate is not None
    cuda = torch.cuda.is_available()
    real = torch.cuda.max_memory_reserved() if cuda else peak.most - peak.before
    print(json.dumps({"parameters": estimate.shape.parameters, "estimate": estimate.total, "real": real, "load": held}))


def build(folder: Path, case: dict[str, Any]) -> None:
    """Write a random Llama of the case's size, with a tokenizer that is not used."""
    from smartmon.demo import tiny

    tiny.build_model(folder, hidden=64, layers=1, context=4096)
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(folder)
    config.hidden_size, config.num_hidden_layers, config.vocab_size = case["hidden"], case["layers"], case["words"]
    config.intermediate_size, config.head_dim, config.max_position_embeddings = case["hidden"] * 3, None, 4096
    config.head_dim = case["hidden"] // config.num_attention_heads
    LlamaForCausalLM(config).save_pretrained(folder)


def step(loaded: Any, case: dict[str, Any]) -> None:
    """Three steps as Trainer takes them: forward, backward, clip, AdamW."""
    import torch

    trained = [parameter for parameter in loaded.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    device = loaded.device.torch_name
    half = loaded.arithmetic.dtype != "float32"
    for _ in range(3):
        ids = torch.randint(0, case["words"], (case["batch"], case["length"]), device=device)
        with torch.autocast(device.partition(":")[0], loaded.compute_dtype, enabled=half):
            loss = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()


class Peak:
    """The most memory of its own that the process holds while this is open, above what it held before, in bytes."""

    def __enter__(self) -> Peak:
        gc.collect()
        self.before = self.most = own()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.001):
            self.most = max(self.most, own())


def own() -> int:
    """Bytes of this process that are not mapped from files."""
    found = re.search(r"RssAnon:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(json.loads(sys.argv[1]))
    else:
        main()
