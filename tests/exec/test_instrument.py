"""The callback comes into a training that knows nothing of smartmon, and nothing else changes there."""

from __future__ import annotations

import ast
import json
import math
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from smartmon.exec.instrument import INJECT, environment
from tests.exec.world import run, status

NAMED = ("--no-daemon", "--name", "t")
TRANSFORMERS = "class TrainerCallback: pass\n"
TRAINER = """
class Handler:
    callbacks = []
class Trainer:
    def __init__(self, model=None, callbacks=()):
        self.callback_handler = Handler()
        self.callback_handler.callbacks = list(callbacks)
    def add_callback(self, callback):
        self.callback_handler.callbacks.append(callback)
    def train(self):
        return 42
class Sub(Trainer):
    pass
"""
LOOK = "print(*[type(c).__name__ for c in {}.callback_handler.callbacks])"


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A folder with a package that looks like Transformers to the hook, and loads at once."""
    (tmp_path / "fake/transformers").mkdir(parents=True)
    (tmp_path / "fake/transformers/__init__.py").write_text(TRANSFORMERS)
    (tmp_path / "fake/transformers/trainer.py").write_text(TRAINER)
    return tmp_path / "fake"


def told(base: Path, fake: Path, code: str, *options: str, **variables: str) -> tuple[list[str], list[str]]:
    """What such a script prints under exec: lines of standard output, and those of standard error."""
    given = {**os.environ, "PYTHONPATH": str(fake), **variables}
    head = "import sys, inspect, os\nfrom transformers.trainer import Trainer, Sub\n"
    done = run(base, sys.executable, "-c", head + code, options=(*NAMED, *options), env=given)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines(), done.stderr.decode().splitlines()[1:]


def test_every_trainer_gets_the_callback_once_and_stays_what_it_was(tmp_path: Path, fake: Path) -> None:
    own = "class SmartmonCallback: pass\n"
    code = (
        f"{own}{LOOK.format('Trainer()')}; {LOOK.format('Sub(1)')}; "
        f"{LOOK.format('Trainer(callbacks=[SmartmonCallback()])')}\n"
        "print(inspect.signature(Trainer.__init__), Trainer().train(), [p for p in sys.path if 'inject' in p])"
    )
    out, err = told(tmp_path, fake, code)
    assert out == ["SmartmonCallback"] * 3 + ["(self, model=None, callbacks=()) 42 []"]
    assert err == []


def test_what_is_left_out_or_breaks_leaves_the_training_as_it_is(tmp_path: Path, fake: Path) -> None:
    assert told(tmp_path, fake, LOOK.format("Trainer()"), "--no-instrument") == ([""], [])
    (fake / "transformers/__init__.py").write_text("")
    out, err = told(tmp_path, fake, LOOK.format("Trainer()"))
    assert out == [""]
    assert err[0].startswith("smartmon: the Hugging Face trainer is not watched from inside: cannot import name")
    assert len(err) == 1


def test_a_training_on_several_machines_is_left_alone_unless_all_are_under_exec(tmp_path: Path, fake: Path) -> None:
    code = LOOK.format("Trainer()")
    machines = {"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "RANK": "0"}
    out, err = told(tmp_path, fake, code, **machines)
    assert out == [""]
    assert "start each of them under: smartmon exec --instrument" in err[0]
    assert told(tmp_path, fake, code, "--instrument", **machines) == (["SmartmonCallback"], [])
    assert told(tmp_path, fake, code, **machines | {"LOCAL_WORLD_SIZE": "16"})[0] == ["SmartmonCallback"]


def test_a_sitecustomize_of_the_users_own_runs_as_without_us(tmp_path: Path, fake: Path) -> None:
    (fake / "sitecustomize.py").write_text("print('mine', __name__)\n")
    out, _ = told(tmp_path, fake, f"print(sys.modules['sitecustomize'].__file__)\n{LOOK.format('Trainer()')}")
    assert out[-3:] == ["mine sitecustomize", str(fake / "sitecustomize.py"), "SmartmonCallback"]
    (fake / "sitecustomize.py").write_text("raise ValueError('theirs')\n")
    _, err = told(tmp_path, fake, "")
    assert err[-2:] == ["Error in sitecustomize; set PYTHONVERBOSE for traceback:", "ValueError: theirs"]


def test_the_hook_loads_nothing_that_python_does_not_load_by_itself(tmp_path: Path) -> None:
    code = "import sys; print(sorted(sys.modules))"
    loaded = [
        set(ast.literal_eval(run(tmp_path, sys.executable, "-c", code, options=(*NAMED, *more)).stdout.decode()))
        for more in ((), ("--no-instrument",))
    ]
    assert loaded[0] - loaded[1] <= {"_smartmon_hook", "sitecustomize", "__future__"}


def test_the_path_of_the_user_stays_in_its_order() -> None:
    given = environment({"PYTHONPATH": f"a:{INJECT}::b"}, Path("/r"), 3)
    assert given["PYTHONPATH"] == f"{INJECT}:a::b"
    assert (given["SMARTMON_RUN_DIR"], given["SMARTMON_ATTEMPT"]) == ("/r", "3")
    assert "PYTHONPATH" not in environment({}, Path("/r"), 1, instrument=False)
    assert environment({"PYTHONPATH": f"{INJECT}:a"}, Path("/r"), 1, instrument=False)["PYTHONPATH"] == "a"


REAL = """
import importlib.util, json, random, sys
import torch
torch.set_num_threads(1)
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed
set_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=32))
rows = [{"input_ids": [i % 64] * 16, "labels": [i % 64] * 16} for i in range(64)]
class Poisoned(Trainer):
    def compute_loss(self, *args, **given):
        loss = super().compute_loss(*args, **given)
        return loss * float("nan") if self.state.global_step >= 8 else loss
args = TrainingArguments("out", max_steps=10, per_device_train_batch_size=4, logging_steps=1, save_steps=5,
    use_cpu=True, report_to="none", logging_nan_inf_filter=False, disable_tqdm=True)
Poisoned(model=model, args=args, train_dataset=rows).train()
print("SMARTMON", importlib.util.find_spec("smartmon.cli"), [p for p in sys.path if "smartmon" in p or "inject" in p])
"""


@pytest.mark.timeout(180)
def test_a_hugging_face_script_in_an_environment_without_smartmon_is_watched_down_to_its_nan(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="pip install 'smartmon[train]'")
    python = _environment(tmp_path)
    (tmp_path / "train.py").write_text(REAL)
    given = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = run(tmp_path, str(python), "train.py", env=given, timeout=150)
    assert done.returncode == 0, done.stderr.decode()
    assert b"not watched from inside" not in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "train/logs/training_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert [math.isnan(row["loss"]) for row in rows] == [False] * 8 + [True] * 2
    printed = [line for line in done.stdout.decode().splitlines() if "'grad_norm'" in line]
    assert len(printed) == 10
    assert all(f"'{row['loss']:.4g}'" in line for row, line in zip(rows, printed))
    told = status(tmp_path / "train")
    assert (told["status"], told["current_step"], told["exit_code"]) == ("completed", 10, 0)
    assert told["output_dir"] == str(tmp_path / "out")
    assert (told["attempt"], told["pid"], shlex.split(told["command"])) == (1, told["pid"], [str(python), "train.py"])


def _environment(folder: Path) -> Path:
    """A virtual environment that has the packages of ours, but no smartmon."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=30)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "venv/lib" / version / "site-packages"
    # Without the `.pth` files in there, which make an editable smartmon importable.
    packages.joinpath("ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv/bin/python"
