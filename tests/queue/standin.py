"""A trainer that learns nothing: the same options, files, signals and exit codes, in milliseconds.

The first row of its data is its script. Its "adapter" is a list of what it was trained on, so that a test can read
which adapter each job started from, and that a resumed one did not begin again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import tomllib
from pathlib import Path

STOP: list[int] = []


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, _frame: STOP.append(number))
    settings = tomllib.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
    data, output = Path(settings["dataset"]), Path(settings["output_dir"])
    script = json.loads(data.read_text().splitlines()[0])
    if script.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
    before = (Path(settings["adapter"]) / "adapter_model.safetensors").read_text() if "adapter" in settings else ""
    first, learned = 0, before
    for folder in sorted(output.glob("checkpoint-*"), key=lambda path: int(path.name[11:]), reverse=True)[:1]:
        first, learned = int(folder.name[11:]), (folder / "adapter_model.safetensors").read_text()
        print(f"go on from {folder.name}", flush=True)
    total = int(settings.get("max_steps", 4))
    status = Status(Path(settings["base_dir"]), total)
    for step in range(first + 1, total + 1):
        while not Path(script.get("until", "/")).exists() and not STOP:
            time.sleep(0.01)
        if STOP:
            save(output, step - 1, learned)
            status.write("stopped", step - 1)
            return 0
        code = act(script, step, status)
        if code:
            return code
        learned += f"{script['name']}:{step} "
        status.write("training", step)
        print(f"step {step} of {total}  loss {1 / step:.3f}", flush=True)
        if script.get("save", True):
            save(output, step, learned)
    adapter(output, learned)
    status.write("completed", total)
    return int(script.get("code_after", 0))


def act(script: dict[str, object], step: int, status: Status) -> int:
    """Do at a step what the script says; return the exit code if that ends it."""
    if step == script.get("die_at"):
        os.kill(os.getpid(), signal.SIGKILL)
    if step == script.get("exit_at", 1) and "exit" in script:
        print(f"smartmon: {script['say']}", flush=True)
        status.write(str(script.get("status", "training")), step)
        return int(str(script["exit"]))
    return 0


class Status:
    def __init__(self, base: Path, total: int) -> None:
        self.path, self.total = base / "status" / "training_status.json", total
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, word: str, step: int) -> None:
        fields = {"status": word, "current_step": step, "total_steps": self.total, "loss": 1 / max(step, 1)}
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(fields | json.loads(os.environ.get("SMARTMON_FACTS", "{}"))))
        temporary.replace(self.path)


def save(output: Path, step: int, learned: str) -> None:
    if step:
        folder = output / f"checkpoint-{step}"
        adapter(folder, learned)


def adapter(folder: Path, learned: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_text(learned)


if __name__ == "__main__":
    sys.exit(main())
