"""Logs of JSON Lines as each trainer really writes them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from smartmon.records import RunState
from smartmon.sources import jsonl
from tests.sources.test_jsonl import write


def row_of(path: Path, reader, record: object, **options: object):
    """Return the one observation that a log with this record gives, and its source."""
    log = reader(write(path, record), **options)
    (row,) = log.read()
    return row, log.source


SWIFT = {"loss": 2.34, "grad_norm": 1.25, "learning_rate": 9e-05, "memory(GiB)": 12.5, "train_speed(s/it)": 0.5}
SWIFT |= {"epoch": 0.03, "elapsed_time": "1m 4s", "remaining_time": "29m 5s"}


@pytest.mark.parametrize("key", ["global_step/max_steps", "iteration"])
def test_ms_swift(tmp_path: Path, reader, key: str):
    row, source = row_of(tmp_path / "logging.jsonl", reader, SWIFT | {key: "37/1000"})
    assert (row.step, row.values["total_steps"], row.values["grad_norm"]) == (37, 1000.0, 1.25)
    assert (row.values["gpu_memory_mb"], row.values["train_speed(s/it)"]) == (12800.0, 0.5)
    assert row.values["eta_seconds"] == 1745.0
    assert source.account.dialect == ("ms-swift" if key != "iteration" else "ms-swift with Megatron")


def test_the_file_logger_of_verl_and_its_restart(tmp_path: Path, reader):
    path = tmp_path / "exp.jsonl"
    data = {"actor/pg_loss": 0.01, "actor/grad_norm": 0.4, "actor/lr": 1e-6, "critic/score/mean": 0.5}
    data |= {"training/global_step": 3, "training/epoch": 0, "perf": {"throughput": 812.5}, "val": {"acc": 0.25}}
    row, source = row_of(path, reader, {"step": 3, "data": data})
    assert (row.step, row.values["actor/pg_loss"], row.values["critic/score/mean"]) == (3, 0.01, 0.5)
    assert (row.values["grad_norm"], row.values["learning_rate"]) == (0.4, 1e-6)
    assert row.values["tokens_per_sec"] == 812.5
    assert source.account.dialect == "verl"
    log = reader(path)
    log.read()
    write(path, {"step": 1, "data": {"actor/pg_loss": 0.9}}, mode="w")
    assert [row.step for row in log.read()] == [1]
    assert [note.kind for note in log.notes] == ["source_truncated"]


SFT = {"entropy": 1.2, "mean_token_accuracy": 0.61, "num_tokens": 40960.0, "aux_loss": 0.01}
REWARD = {"accuracy": 0.7, "margin": 0.2, "max_reward": 1.5, "mean_reward": 0.4, "min_reward": -1.0}
DPO = {f"{kind}/{side}": 0.5 for kind in ("rewards", "logps", "logits") for side in ("chosen", "rejected")}
DPO |= {"rewards/margins": 0.1, "rewards/accuracies": 0.75, "kl": 0.02}
GRPO = {"reward": 0.3, "reward_std": 0.1, "frac_reward_zero_std": 0.25, "rewards/format/mean": 0.9, "kl": 0.001}
GRPO |= {"completions/mean_length": 200.5, "completions/clipped_ratio": 0.1, "clip_ratio/high_max": 0.0}
GRPO |= {"sampling/importance_sampling_ratio/mean": 1.0, "tools/call_frequency": 0.5, "step_time": 3.2}
CANONICAL = {"mean_token_accuracy": "accuracy"}


@pytest.mark.parametrize("keys", [SFT, REWARD, DPO, GRPO], ids=["sft", "reward", "dpo", "grpo"])
@pytest.mark.parametrize("prefix", ["", "eval_"])
def test_trl_keeps_its_keys_under_their_own_names(tmp_path: Path, reader, keys: dict[str, float], prefix: str):
    record = {"step": 10, "epoch": 0.1} | {prefix + key: value for key, value in keys.items()}
    row, source = row_of(tmp_path / "log.jsonl", reader, record)
    for key, value in keys.items():
        assert row.values[prefix + CANONICAL.get(key, key)] == value
    assert source.account.dialect == "TRL"


def test_a_mean_over_nothing_is_a_null_of_trl(tmp_path: Path, reader):
    row, _source = row_of(tmp_path / "log.jsonl", reader, {"step": 1, "loss": 0.0, "reward": 0.1} | dict.fromkeys(DPO))
    assert row.nulls == DPO.keys()
    assert (row.values["loss"], row.values["reward"]) == (0.0, 0.1)


def test_axolotl(tmp_path: Path, reader):
    record = {"loss": 1.5, "grad_norm": 0.3, "learning_rate": 2e-4, "ppl": math.inf, "epoch": 0.5, "step": 40}
    record |= {"memory/max_active (GiB)": 10.0, "memory/max_allocated (GiB)": 8.0, "memory/device_reserved (GiB)": 11.5}
    record |= {"tokens/train_per_sec_per_gpu": 5000.0, "tokens/total": 1e6}
    row, source = row_of(tmp_path / "log.jsonl", reader, record)
    assert (row.values["perplexity"], row.values["gpu_memory_mb"]) == (math.inf, 8192.0)
    assert (row.values["tokens_per_sec"], row.values["memory/max_active (GiB)"]) == (5000.0, 10.0)
    assert source.account.dialect == "axolotl"


def test_torchtune(tmp_path: Path, reader):
    record = {"step": 7, "loss": 1.5, "lr": 3e-4, "tokens_per_second_per_gpu": 900.5, "grad_norm": "nan"}
    record |= {"peak_memory_active": 10.0, "peak_memory_alloc": 9.0, "peak_memory_reserved": 12.0}
    row, source = row_of(tmp_path / "log_1700000000.jsonl", reader, record)
    assert (row.step, row.values["learning_rate"], row.values["gpu_memory_mb"]) == (7, 3e-4, 9216.0)
    assert math.isnan(row.values["grad_norm"])
    assert source.account.dialect == "torchtune"


FACTORY = {"current_steps": 5, "total_steps": 10, "loss": 2.3, "lr": 1e-6, "epoch": 0.5, "percentage": 50.0}


def test_llama_factory_in_both_generations(tmp_path: Path, reader):
    times = {"elapsed_time": "1 day, 0:32:48", "remaining_time": "0:10:00", "throughput": 1234.5, "total_tokens": 9000}
    row, source = row_of(tmp_path / "a" / "trainer_log.jsonl", reader, FACTORY | times)
    assert (row.values["tokens_per_sec"], row.values["eta_seconds"]) == (1234.5, 600.0)
    assert source.account.dialect == "LLaMA-Factory"
    rewards = {"current_steps": 6, "total_steps": 10, "reward": 0.5, "accuracy": 0.75}
    row, _source = row_of(tmp_path / "b" / "trainer_log.jsonl", reader, rewards)
    assert (row.values["reward"], row.values["accuracy"]) == (0.5, 0.75)
    other = {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 1e-5, "epoch": 0.1, "step": 3, "total_steps": 9}
    row, _source = row_of(tmp_path / "c" / "trainer_log.jsonl", reader, other)
    assert (row.step, row.values["total_steps"], row.values["loss"]) == (3, 9.0, 2.0)


def test_a_status_and_a_state_have_accounts_too(tmp_path: Path, reader):
    (tmp_path / "training_status.json").write_text(json.dumps({"current_step": 1, "loss": 2.0, "prompt": "Why?"}))
    state = {"log_history": [{"step": 1, "loss": 2.0, "learning_rate": 1e-4}, {"step": 1, "train_runtime": 3.0}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    for kind, name, rows in (("status", "training_status.json", 1), ("trainer_state", "trainer_state.json", 1)):
        log = reader(tmp_path / name, kind)
        log.read()
        assert log.source.account.rows == rows
        assert log.source.account.metrics["loss"] == "loss"
    assert log.source.account.dialect == "Hugging Face"
    assert [what for what in log.source.account.ignored if "summary" in what]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()


def test_a_map_of_keys_makes_any_log_readable(tmp_path: Path, reader):
    keys = {"t.n": "step", "metrics.train.ce": "loss", "when": "timestamp", "hit rate": "accuracy_percent"}
    record = {"t": {"n": "12"}, "metrics": {"train": {"ce": 1.5, "x": 9.0}}, "hit rate": 62.5, "when": 1.9e9, "loss": 7}
    row, source = row_of(tmp_path / "odd.jsonl", reader, record, keys=keys)
    assert (row.step, row.at, row.percent) == (12, 1.9e9, True)
    assert (row.values["loss"], row.values["accuracy"]) == (1.5, 62.5)
    assert source.account.metrics["metrics.train.ce"] == "loss"


def test_a_map_of_keys_may_give_names_of_its_own(tmp_path: Path, reader):
    row, _source = row_of(tmp_path / "x.jsonl", reader, {"step": 1, "bleu.score": 30.5}, keys={"bleu.score": "bleu"})
    assert dict(row.values) == {"bleu": 30.5}


@pytest.mark.parametrize("keys", [None, 3, "x", ["a"], {"a": 3, "": "x"}, {"a.b.c": "loss"}])
def test_a_map_that_is_none_changes_nothing(tmp_path: Path, reader, keys: object):
    row, _source = row_of(tmp_path / "x.jsonl", reader, {"step": 1, "loss": 2.0, "a": {"b": 1}}, keys=keys)
    assert dict(row.values) == {"loss": 2.0}


@pytest.mark.parametrize(
    ("record", "values"),
    [
        ({"step": 1, "metrics": {"loss": 2.0}}, {"loss": 2.0}),
        ({"step": 1, "train": {"loss": 2.0, "lr": 1e-4}}, {"loss": 2.0, "learning_rate": 1e-4}),
        ({"step": 1, "metrics": {"train": {"loss": 2.0}, "val": {"loss": 3.0}}}, {"loss": 2.0, "eval_loss": 3.0}),
        ({"metrics": {"step": 1, "loss": 2.0}}, {"loss": 2.0}),
        ({"step": 1, "epoch": 1, "scores": {"a": {"b": {"c": {"d": 1.0}}}, "e": 1.0}}, {"epoch": 1.0, "scores/e": 1.0}),
        ({"step": 1, "loss": 2.0, "train": {"lr": 1e-4}}, {"loss": 2.0}),
    ],
)
def test_nested_metrics_are_found_where_there_are_none_at_the_top(tmp_path: Path, reader, record, values):
    row, _source = row_of(tmp_path / "x.jsonl", reader, record)
    assert dict(row.values) == values


def test_nested_objects_are_taken_within_bounds(tmp_path: Path, reader):
    row, _source = row_of(tmp_path / "x.jsonl", reader, {"step": 1, "m": {f"k{n}": 1.0 for n in range(9000)}})
    assert len(row.values) == 256


def test_the_account_of_a_log_tells_what_became_of_it(tmp_path: Path, reader):
    path = write(tmp_path / "trainer_log.jsonl", FACTORY | {"note": "warm-up"}, '{"cut', {"remark": "hello", "seed": 4})
    write(path, {"current_steps": 10, "total_steps": 10, "percentage": 100.0})
    log = reader(path)
    log.read()
    account = log.source.account
    assert (account.dialect, account.rows) == ("LLaMA-Factory", 1)
    assert (account.metrics["lr"], account.metrics["current_steps"]) == ("learning_rate", "step")
    assert account.ignored["lines that are no JSON object"] == (1, '{"cut')
    assert account.ignored["rows without a step"] == (1, '{"remark": "hello", "seed": 4}')
    assert "seed" not in account.metrics
    assert account.ignored["rows that only count, and the summary of the run"][0] == 1
    assert account.ignored["note: no number"] == (1, "'warm-up'")
    assert log.status.state is RunState.COMPLETED


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        (json.dumps(FACTORY) + "\n" + json.dumps(FACTORY) + "\n", "x", "as LLaMA-Factory writes them"),
        (json.dumps(FACTORY) + "\n", "x.jsonl", "as LLaMA-Factory writes them"),
        (json.dumps(FACTORY) + "\n", "x.json", ""),
        ('{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n{"ste', "x", "its lines are JSON objects that count steps"),
        ('{"step": 3, "data": {"actor/pg_loss": 1}}\n' * 2, "x", "as verl writes them"),
        ('{"a": 1}\n{"a": 2}\n', "x.jsonl", ""),
        ("{'loss': 2.0, 'epoch': 0.1}\n" * 3, "x.log", ""),
        ("step,loss\n1,2\n", "x.jsonl", ""),
        ("", "x.jsonl", ""),
    ],
)
def test_a_log_is_known_by_its_lines(text: str, name: str, reason: str):
    found = jsonl.recognises(text.encode(), Path(name))
    assert reason in found
    assert bool(found) == bool(reason)
