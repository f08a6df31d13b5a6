"""Two processes on CPUs, over gloo: what torchrun does with more of them, and on GPUs over NCCL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")

import typer
from torch.distributed.run import get_args_parser

from smartmon.cli import app
from smartmon.errors import TrainingError
from smartmon.trainer import checkpoints
from smartmon.trainer.peers import Peers
from smartmon.trainer.run import train
from tests.trainer.training import At, names, rows, small, status


def processes_of(parent: int) -> dict[int, int]:
    """The trainings that torchrun has started: their process ids by rank."""
    found = {}
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in map(int, children):
        words = Path(f"/proc/{child}/environ").read_bytes().decode(errors="replace").split("\0")
        rank = next((word[5:] for word in words if word.startswith("RANK=")), None)
        if rank is not None:
            found[int(rank)] = child
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_processes_train_as_one_and_a_signal_to_either_ends_both(
    tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    alone, pair = tmp_path / "alone", tmp_path / "pair"
    words = [
        *(
            "train",
            "--dataset",
            str(tiny_data),
            "--model",
            str(tiny_model),
            "--base-dir",
            str(pair),
            "--packing",
            "off",
        ),
        *("--max-steps", "4000", "--save-steps", "4000", "--eval-steps", "0", "--detail-steps", "0", "--threads", "1"),
        *("--logging-steps", "1", "--learning-rate", "3e-3", "--batch-size", "4"),
    ]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    with subprocess.Popen(
        [*torchrun, "-m", "smartmon", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        end = time.monotonic() + 150
        log = pair / "logs" / "training_log.jsonl"
        while not (log.exists() and len(rows(pair)) >= 3):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.1)
        os.kill(processes_of(process.pid)[1], signal.SIGTERM)  # not the one that writes
        said = process.communicate(timeout=60)[0]

    assert process.returncode == 0, said
    step = status(pair)["current_step"]
    assert status(pair)["status"] == "stopped"
    assert names(pair / "current_model") == [f"checkpoint-{step}"]
    assert checkpoints.problem(pair / "current_model" / f"checkpoint-{step}", world_size=2) == ""
    assert said.count("of 4,000, by a signal") == 1
    # One row for each step; the loss is that of both halves of the batch.
    assert [row["step"] for row in rows(pair)] == list(range(1, step + 1))
    schedule = {"max_steps": 4000, "save_steps": 4000, "batch_size": 8}
    train(small(alone, tiny_model, tiny_data, **schedule, early_stopping=None), say=print, callbacks=[_stop_after(2)])
    for row, expected in zip(rows(pair)[:2], rows(alone)[:2]):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert row["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-3)
        assert row["accuracy_percent"] == pytest.approx(expected["accuracy_percent"], rel=1e-4)


def _stop_after(step: int) -> object:
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, _args: object, state: object, control: object, **_: object) -> None:
            control.should_training_stop = state.global_step >= step  # type: ignore[attr-defined]

    return Stop()


def test_torchrun_takes_no_option_of_ours_for_its_own() -> None:
    command = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    options = [name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    words = ["--nproc-per-node", "2", "--standalone", "-m", "smartmon", "train", *options]
    assert get_args_parser().parse_args(words).training_script_args == ["train", *options]


def test_a_process_whose_peer_has_died_says_that(
    tmp_path: Path, tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_model: object) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")  # only now: there is nobody to meet at the start
        raise RuntimeError("[gloo/transport/tcp/pair.cc:537] Read error: Connection reset by peer. Check the logs")

    with pytest.raises(TrainingError, match=r"another of its processes has ended; .*checkpoint-2"):
        train(small(tmp_path, tiny_model, tiny_data), say=print, callbacks=[At(3, gone)])


def test_fsdp_is_refused_where_there_is_no_gpu(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    import torch

    from smartmon.errors import UsageError

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match="no CUDA GPU"):
        train(small(tmp_path, tiny_model, tiny_data, fsdp=True), say=print)


def test_a_callback_that_the_others_were_not_given_waits_for_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        peers = Peers()
        peers.number = 2
        assert not peers.meet(patience=0.05)
        assert peers.most([3.0]) == [3.0]
    finally:
        dist.destroy_process_group()
    assert "has come to 1 of 2 processes" in capsys.readouterr().err
