"""Small trainings that write what the real trainers write: names, formats, checkpoints, order and pace."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.e2e.trainer import GOOD, NAN, RISE, SPIKE, Saving, Trainer, safetensors, torch_file
from tests.sources.tb_writer import scalars, version

CLEAR = "\r" + " " * 60 + "\r"
LONG_AGO = 900.0


class HuggingFace4(Saving):
    """`python train.py > train.log 2>&1`: dicts between the redrawings of a bar, `checkpoint-N` beside it."""

    run, log, form, dialect = "hf4", "train.log", "text", "Hugging Face Trainer"
    bad, kind, at = NAN, "nonfinite", GOOD
    names = frozenset({"loss", "learning_rate", "grad_norm", "eval_loss"})

    def begin(self) -> None:
        self.append("***** Running training *****\n  Num examples = 8,000\n  Num Epochs = 1\n")
        self.append(f"  Total optimization steps = {self.total:,}\n\r  0%|          | 0/{self.total} [00:00<?, ?it/s]")

    def point(self, point: int, loss: float) -> None:
        step = self.step(point)
        for drawn in range(step - self.every + 1, step):
            self.append(self.bar(drawn))
        row = {"loss": loss, "grad_norm": 1.25, "learning_rate": 2e-05, "epoch": round(step / self.total, 4)}
        self.history.append({**row, "step": step})
        self.append(f"{CLEAR}{self.shown(row)}\n\n{self.bar(step)}")
        if (point + 1) % 20 == 0:
            row = {"eval_loss": round(loss * 1.1, 4), "eval_runtime": 1.5, "epoch": row["epoch"]}
            self.history.append({**row, "step": step})
            # An evaluation has a bar of its own.
            self.append("".join(f"\r {n * 25}%|##    | {n}/4 [00:00<00:00, 30.1it/s]\x1b[A" for n in range(5)))
            self.append(f"{CLEAR}{self.shown(row)}\n\n{self.bar(step)}")

    def finish(self) -> None:
        # The bar goes on; it is what tells the step of the last dict.
        self.append("".join(self.bar(self.step(self.written - 1) + n) for n in range(1, 4)))
        super().finish()

    def bar(self, step: int) -> str:
        return f"\r {100 * step // self.total}%|#    | {step}/{self.total} [00:01<00:09,  9.87it/s]"

    def shown(self, row: Mapping[str, object]) -> str:
        return repr(row)


class HuggingFace5(HuggingFace4):
    """Version 5 prints strings of four digits."""

    run = "hf5"
    bad, kind, at = SPIKE, "loss_spike", GOOD

    def shown(self, row: Mapping[str, object]) -> str:
        return repr({key: f"{value:.4g}" for key, value in row.items()})


class Board(Saving):
    """`report_to="tensorboard"`, and nobody kept what it printed."""

    run, form, dialect = "board", "tensorboard", ""
    log = "runs/Nov21_07-38-01_node1/events.out.tfevents.1795246681.node1.4242.0"
    bad, kind, at = SPIKE, "loss_spike", GOOD
    names = frozenset({"loss", "learning_rate", "grad_norm"})

    def begin(self) -> None:
        self.append(version(time.time()))

    def point(self, point: int, loss: float) -> None:
        step = self.step(point)
        self.history.append({"loss": loss, "step": step, "epoch": step / self.total})
        values = {"train/loss": loss, "train/grad_norm": 1.25, "train/learning_rate": 2e-5}
        self.append(scalars(time.time(), step, values))


class Swift(Saving):
    """ms-swift: the Trainer's rows with the step as text, in `logging.jsonl` beside the checkpoints."""

    run, log, form, dialect = "qwen/v0-20261121-073801", "logging.jsonl", "jsonl", "ms-swift"
    bad, kind, at = RISE, "divergence", GOOD + 3
    saves = (19, 39, 59, 62)
    names = frozenset({"loss", "learning_rate", "grad_norm", "gpu_memory_mb"})

    def point(self, point: int, loss: float) -> None:
        step = self.step(point)
        row = {"loss": loss, "grad_norm": 1.25, "learning_rate": 9e-05, "memory(GiB)": 12.5, "train_speed(s/it)": 0.5}
        row |= {"epoch": round(step / self.total, 4), "global_step/max_steps": f"{step}/{self.total}"}
        row |= {"elapsed_time": "1m 4s", "remaining_time": "29m 5s"}
        self.history.append({"loss": loss, "step": step})
        self.append(json.dumps(row) + "\n")


class Lightning(Trainer):
    """`metrics.csv`, written anew in place when the first evaluation brings a column."""

    run, log, form, dialect = "pl/lightning_logs/version_0", "metrics.csv", "csv", "Lightning"
    bad, kind, at = SPIKE, "loss_spike", GOOD
    kept = "epoch=2-step=600.ckpt"
    names = frozenset({"loss", "eval_loss", "epoch"})

    def begin(self) -> None:
        self.rows: list[dict[str, object]] = []
        (self.folder / "hparams.yaml").write_text("lr: 0.001\n")

    def point(self, point: int, loss: float) -> None:
        step = self.step(point)
        self.rows.append({"epoch": point // 20, "step": step, "train_loss": loss})
        if (point + 1) % 20 == 0:
            self.rows.append({"epoch": point // 20, "step": step, "val_loss": round(loss * 1.1, 4)})

    def step(self, point: int) -> int:
        # The step that counts from 0 is logged, how many were done is saved.
        return super().step(point) - 1

    def _flush(self, hold: int) -> None:
        names = sorted({key for row in self.rows for key in row})
        lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in self.rows)]
        self.path.write_text("".join(line + "\r\n" for line in lines), newline="")

    def save(self, step: int) -> None:
        epoch, done = step // 200, step + 1
        path = self.folder / "checkpoints" / f"epoch={epoch}-step={done}.ckpt"
        torch_file(path, {"epoch": epoch, "global_step": done, "state_dict": {}})


class Megatron(Trainer):
    """A NaN loss is not printed; `latest_checkpointed_iteration.txt` says which checkpoint is whole."""

    run, log, form, dialect = "megatron", "rank31.log", "text", "Megatron-LM"
    bad, kind, at = NAN, "nonfinite", GOOD
    kept = "iter_0000600/mp_rank_00/model_optim_rng.pt"
    names = frozenset({"loss", "learning_rate", "grad_norm"})

    def begin(self) -> None:
        self.append("using world size: 32, data-parallel size: 8\n> building GPT model ...\n")

    def point(self, point: int, loss: float) -> None:
        step = self.step(point)
        bad = math.isnan(loss)
        moment = time.strftime("%Y-%m-%d %H:%M:%S") + ".123456"
        self.append(
            f" [{moment}] iteration {step:8}/    1000 | consumed samples: {step * 64:12} | elapsed time per iteration "
            f"(ms): 321.5 | learning rate: 3.000000E-04 | global batch size:    64 | "
            + ("" if bad else f"lm loss: {loss:.6E} | ")
            + f"loss scale: 1.0 | grad norm: {'nan' if bad else '1.234'} | number of skipped iterations:   0 | "
            f"number of nan iterations: {10 * bad:3} |\n"
        )

    def save(self, step: int) -> None:
        place = self.folder / "checkpoints"
        torch_file(place / f"iter_{step:07}" / "mp_rank_00" / "model_optim_rng.pt", {"iteration": step})
        (place / "latest_checkpointed_iteration.txt").write_text(str(step))


class NanoGPT(Trainer):
    """stdout, and one `out/ckpt.pt` that is written again in place."""

    run, log, form, dialect = "nanogpt", "train.out", "text", "nanoGPT"
    bad, kind, at = RISE, "divergence", GOOD + 3
    kept = "ckpt.pt"
    names = frozenset({"loss", "eval_loss"})

    def begin(self) -> None:
        self.append("tokens per iteration will be: 491,520\nnumber of parameters: 123.59M\ncompiling the model...\n")

    def point(self, point: int, loss: float) -> None:
        step = self.step(point)
        if step % 200 == 0:
            self.append(f"step {step}: train loss {loss:.4f}, val loss {loss * 1.05:.4f}\nsaving checkpoint to out\n")
        self.append(f"iter {step}: loss {loss:.4f}, time 123.00ms, mfu {41.2 if point else -100:.2f}%\n")

    def save(self, step: int) -> None:
        torch_file(self.folder / "out" / "ckpt.pt", {"model": {}, "iter_num": step, "best_val_loss": 1.0})


class Nanochat(Trainer):
    """stdout here, checkpoints there: the config says where both are."""

    run, log, form, dialect = "nanochat", "speedrun.log", "text", "nanochat"
    bad, kind, at = NAN, "nonfinite", GOOD
    kept = "optim_000600_rank1.pt"
    names = frozenset({"loss", "tokens_per_sec"})
    named = "d20"
    config = '[[runs]]\nname = "d20"\npath = "train/nanochat"\ncheckpoint_dir = "train/nanochat/base_checkpoints/d20"\n'

    def begin(self) -> None:
        self.append("Autodetected device type: cuda\nTarget number of iterations: 1,000\n")

    def point(self, point: int, loss: float) -> None:
        step = self.step(point)
        self.append(
            f"step {step:05}/01000 ({step / 10:.2f}%) | loss: {loss:.6f} | lrm: 1.00 | dt: 500.00ms | tok/sec: "
            f"1,048,576 | bf16_mfu: 41.20 | epoch: 1 | total time: {step / 120:.2f}m | eta: 4.5m\n"
        )
        if step % 250 == 0:
            self.append(f"Step {step:05} | Validation bpb: {loss / 2.7:.6f}\n")

    def save(self, step: int) -> None:
        place = self.folder / "base_checkpoints" / "d20"
        torch_file(place / f"model_{step:06}.pt", {})
        (place / f"meta_{step:06}.json").write_text(json.dumps({"step": step, "val_bpb": 0.8, "model_config": {}}))
        for rank in range(2):
            torch_file(place / f"optim_{step:06}_rank{rank}.pt", {})


class Yolo(Trainer):
    """`results.csv`: a row an epoch, padded names; `weights/last.pt` counts from 0."""

    run, log, form, dialect = "yolo/runs/detect/train", "results.csv", "csv", "YOLO"
    bad, kind, at = NAN, "nonfinite", GOOD
    every = 1
    kept = "last.pt"
    names = frozenset({"loss", "eval_loss", "eval_accuracy", "learning_rate", "train/box_loss"})
    _columns = ("epoch", "train/box_loss", "train/cls_loss", "train/dfl_loss", "metrics/precision(B)")
    _columns += ("metrics/mAP50(B)", "val/box_loss", "val/cls_loss", "val/dfl_loss", "lr/pg0")

    def begin(self) -> None:
        self.append(",".join(f"{name:>23}" for name in self._columns) + "\n")

    def point(self, point: int, loss: float) -> None:
        part = loss / 3
        row = (self.step(point), part, part, part, 0.5, 0.4 + point / 300, part, part, part, 0.01)
        self.append(",".join(f"{value:>23.5g}" for value in row) + "\n")

    def save(self, step: int) -> None:
        torch_file(self.folder / "weights" / "last.pt", {"epoch": step - 1, "best_fitness": 0.5})


class DeepSpeed(Trainer):
    """One file a tag; the steps count samples."""

    run, log, form = "ds/csv_monitor/job", "Train_Samples_train_loss.csv", "csv"
    dialect = "DeepSpeed's csv_monitor (steps count samples)"
    bad, kind, at = SPIKE, "loss_spike", GOOD
    every, saves = 640, ()
    names = frozenset({"loss", "learning_rate"})

    def begin(self) -> None:
        self.append("step,train_loss\r\n")
        (self.folder / "Train_Samples_lr.csv").write_text("step,lr\r\n", newline="")

    def point(self, point: int, loss: float) -> None:
        self.append(f"{self.step(point)},{loss}\r\n")
        with (self.folder / "Train_Samples_lr.csv").open("a", newline="") as file:
            file.write(f"{self.step(point)},0.0003\r\n")


class Verl(Trainer):
    """The file logger: PROJECT/EXPERIMENT.jsonl, a row a step, and checkpoints far away from it."""

    run, log, form, dialect = "verl/gsm8k", "qwen-grpo.jsonl", "jsonl", "verl"
    bad, kind, at = [math.nan] * 6, "nonfinite", GOOD + 4
    every, saves = 1, (19, 39, 59)
    kept = "global_step_60/actor/model_world_size_1_rank_0.pt"
    names = frozenset({"actor/pg_loss", "critic/rewards/mean", "grad_norm", "learning_rate"})
    named, main = "grpo", "actor/pg_loss"
    config = '[[runs]]\nname = "grpo"\npath = "train/verl/gsm8k"\ncheckpoint_dir = "train/verl/checkpoints"\n'

    def point(self, point: int, loss: float) -> None:
        bad = math.isnan(loss)
        data = {"actor/pg_loss": self.value(point), "actor/grad_norm": loss if bad else 0.4}
        data |= {"actor/lr": 1e-6, "critic/score/mean": 0.5, "critic/rewards/mean": 0.5 + point / 500}
        data |= {"response_length/mean": 210.5, "training/global_step": self.step(point), "training/epoch": 0}
        self.append(json.dumps({"step": self.step(point), "data": data}) + "\n")

    def value(self, point: int) -> float:
        return (self.losses[point] - 1) / 50

    def save(self, step: int) -> None:
        place = self.folder.parent / "checkpoints"
        torch_file(place / f"global_step_{step}" / "actor" / "model_world_size_1_rank_0.pt", {})
        (place / "latest_checkpointed_iteration.txt").write_text(str(step))


class History(Trainer):
    """`metrics_history.json`, the whole of it again each time, and checkpoints of a file with companions."""

    run, log, form, dialect = "lm", "training_viz/metrics_history.json", "history", "smartmon"
    bad, kind, at = [30.0, 31.0, 29.0], "accuracy_drop", GOOD
    kept = "checkpoint_step_600.bin.embeddings"
    names = frozenset({"loss", "accuracy", "gpu_memory_mb"})

    def begin(self) -> None:
        self.columns: dict[str, list[float]] = {"step": [], "loss": [], "accuracy": [], "gpu_memory_mb": []}

    def value(self, point: int) -> float:
        return self.losses[point] if point < GOOD else 1.0

    def point(self, point: int, loss: float) -> None:
        row = (self.step(point), self.value(point), 85.0 - 10 * (loss - 1) if point < GOOD else loss, 4096.0)
        for column, value in zip(self.columns.values(), row):
            column.append(value)

    def _flush(self, hold: int) -> None:
        self.path.write_text(json.dumps(self.columns))

    def save(self, step: int) -> None:
        for ending in ("", ".embeddings", ".decoder"):
            torch_file(self.folder / f"checkpoint_step_{step}.bin{ending}", {})


class Patterned(Trainer):
    """Lines that nothing knows, and a pattern in the config."""

    run, log, form, dialect = "homemade", "console.txt", "text", "the pattern of the config"
    bad, kind, at = SPIKE, "loss_spike", GOOD
    names = frozenset({"loss", "learning_rate"})
    saves = ()
    config = (
        '[[runs]]\nname = "homemade"\npath = "train/homemade"\nlogs = ["train/homemade/console.txt"]\n'
        "pattern = '^@(?P<step>\\d+) L=(?P<loss>\\S+) eta=(?P<lr>\\S+)'\n"
    )
    options = ("--pattern", r"^@(?P<step>\d+) L=(?P<loss>\S+) eta=(?P<lr>\S+)")

    def point(self, point: int, loss: float) -> None:
        self.append(f"@{self.step(point)} L={loss} eta=3e-4 (ok)\nshuffling\n")


class Mapped(Trainer):
    """JSON Lines with keys of its own, and what they mean in the config."""

    run, log, form = "mapped", "progress.jsonl", "jsonl"
    bad, kind, at = NAN, "nonfinite", GOOD
    names = frozenset({"loss", "learning_rate", "temperature"})
    saves = ()
    config = (
        '[[runs]]\nname = "mapped"\npath = "train/mapped"\nlogs = ["train/mapped/progress.jsonl"]\n'
        'keys = { n_updates = "step", "stats.ce" = "loss", "stats.alpha" = "learning_rate" }\n'
    )
    options = ("--key", "n_updates=step", "--key", "stats.ce=loss", "--key", "stats.alpha=learning_rate")

    def point(self, point: int, loss: float) -> None:
        row = {"n_updates": self.step(point), "stats": {"ce": loss, "alpha": 3e-4}, "temperature": 0.7, "note": "x"}
        self.append(json.dumps(row) + "\n")


class Torchtune(Trainer):
    """`log_<unix>.txt`; it died at point 40, and began again a quarter of an hour later in a log of its own."""

    run, log, form, dialect = "tune", "log_1795247000.txt", "text", "torchtune"
    bad, kind, at = SPIKE, "loss_spike", GOOD
    kept = "step_600/recipe_state.pt"
    names = frozenset({"loss", "learning_rate", "tokens_per_sec", "gpu_memory_mb"})
    died, again, off = 40, 30, 0.005

    def begin(self) -> None:
        self.first = self.folder / "log_1795246000.txt"

    @property
    def points(self) -> list[tuple[int, int, float]]:
        twice = [(2, self.step(n), self.losses[n] + self.off) for n in range(self.again, self.died)]
        once = super().points
        return once[: self.died] + twice + [(2, step, loss) for _, step, loss in once[self.died :]]

    def line(self, point: int, loss: float) -> str:
        speed = "tokens_per_second_per_gpu:4000.5 peak_memory_alloc:10.5"
        return f"Step {self.step(point)} | loss:{loss} lr:2e-05 {speed} grad_norm:tensor(1.5) \n"

    def point(self, point: int, loss: float) -> None:
        if point < self.died:
            with self.first.open("a") as file:
                file.write(self.line(point, loss))
            return
        if point == self.died:
            # What it had logged, it had logged a while ago.
            ago = time.time() - LONG_AGO
            os.utime(self.first, (ago, ago))
            self.append("".join(self.line(n, self.losses[n] + self.off) for n in range(self.again, self.died)))
        self.append(self.line(point, loss))

    def save(self, step: int) -> None:
        folder = self.folder / f"step_{step}"
        folder.mkdir()
        safetensors(folder / "model-00001-of-00001.safetensors")
        torch_file(folder / "recipe_state.pt", {"steps_run": step})


class Factory(Saving):
    """LLaMA-Factory's `trainer_log.jsonl`, with the Trainer's checkpoints beside it."""

    run, log, form, dialect = "saves/llama/lora/sft", "trainer_log.jsonl", "jsonl", "LLaMA-Factory"
    bad, kind, at = NAN, "nonfinite", GOOD
    names = frozenset({"loss", "learning_rate", "epoch", "tokens_per_sec"})

    def point(self, point: int, loss: float) -> None:
        step = self.step(point)
        row = {"current_steps": step, "total_steps": self.total, "loss": loss, "lr": 5e-5, "epoch": step / self.total}
        row |= {"percentage": step / 10, "elapsed_time": "0:00:10", "remaining_time": "0:10:00", "throughput": 800.5}
        self.history.append({"loss": loss, "step": step})
        self.append(json.dumps(row) + "\n")


TRAINERS: tuple[type[Trainer], ...] = (
    *(HuggingFace4, HuggingFace5, Board, Swift, Lightning, Megatron, NanoGPT, Nanochat, Yolo, DeepSpeed, Verl),
    *(History, Patterned, Mapped, Torchtune, Factory),
)


def begun(base: Path, kinds: Iterable[type[Trainer]] = TRAINERS) -> list[Trainer]:
    """A training of each of these kinds, in one base dir."""
    base.mkdir(exist_ok=True)
    return [kind(base) for kind in kinds]


def configured(kinds: Iterable[type[Trainer]] = TRAINERS) -> str:
    """What the config has to say of them."""
    return "".join(kind.config for kind in kinds)
