"""`SmartmonCallback` in a real Trainer of Hugging Face: what it writes, obeys, and never does to the training."""

from __future__ import annotations

import json
import math
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from smartmon.demo import tiny
from smartmon.replay import rows
from smartmon.trainer import SmartmonCallback, StatusWriter
from smartmon.trainer.control import send
from smartmon.trainer.meters import Meter

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def data(tokenizer: Any) -> list[dict[str, Any]]:
    """Fifty conversations, of which the assistant's part is learned."""
    torch.set_num_threads(1)
    found = []
    for row in tiny.conversations(50):
        coded = tokenizer.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=True)
        pairs = zip(coded["input_ids"], coded["assistant_masks"])
        found.append({"input_ids": coded["input_ids"], "labels": [i if said else -100 for i, said in pairs]})
    return found


@pytest.fixture
def make(tiny_model: Path, tokenizer: Any, data: list[dict[str, Any]], tmp_path: Path) -> Callable[..., Trainer]:
    """Return what makes a Trainer of the tiny model, its output in `tmp_path`."""

    def made(*callbacks: Any, **given: Any) -> Trainer:
        model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
        usual = {"max_steps": 6, "logging_steps": 2, "save_strategy": "no", "per_device_train_batch_size": 4}
        quiet = {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "prediction_loss_only": True}
        args = TrainingArguments(output_dir=str(tmp_path), **{"learning_rate": 3e-3, **quiet, **usual, **given})
        collator = DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8)
        sets = {"train_dataset": data[:40], "eval_dataset": data[40:]}
        return Trainer(model, args, **sets, processing_class=tokenizer, data_collator=collator, callbacks=[*callbacks])

    return made


class At(TrainerCallback):
    """Does something at the end of a step."""

    def __init__(self, step: int, what: Callable[..., object]) -> None:
        self.step, self.what = step, what

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step == self.step:
            self.what(given["model"])


def poison(model: Any) -> None:
    """Let every later loss be NaN."""
    with torch.no_grad():
        next(iter(model.parameters())).fill_(math.nan)


def status(base: Path) -> dict[str, Any]:
    return dict(json.loads((base / "status/training_status.json").read_text()))


def lines(base: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (base / "logs" / name).read_text().splitlines()]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Run something beside the training; what it raises fails the test."""
    threads: list[threading.Thread] = []
    raised: list[BaseException] = []

    def start(work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                work()
            except AssertionError as error:
                raised.append(error)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(30)
    assert raised == []


def test_one_line_writes_a_run_that_smartmon_reads(make: Callable[..., Trainer], tmp_path: Path) -> None:
    callback = SmartmonCallback(detail_steps=4, detail_tokens=8, detail_share=1.0, metrics=lambda: {"mine": 7})
    assert isinstance(callback, TrainerCallback)
    given = {"max_steps": 10, "eval_strategy": "steps", "eval_steps": 5, "eval_on_start": True}
    trainer = make(callback, **given, save_strategy="steps", save_steps=5)
    trainer.train()

    history = {row["step"]: row for row in trainer.state.log_history if "loss" in row}
    read = {obs.step: obs.values for obs in rows(tmp_path / "logs/training_log.jsonl", {})}
    assert read.keys() == history.keys() == {2, 4, 6, 8, 10}
    for step, values in read.items():
        same = ("loss", "grad_norm", "learning_rate", "epoch")
        assert {name: values[name] for name in same} == {name: history[step][name] for name in same}
    also = {"accuracy", "tokens_per_sec", "samples_per_sec", "steps_per_sec", "eta_seconds", "mine"}
    assert also <= read[10].keys()
    assert read[10]["loss"] < read[2]["loss"]
    assert read[10]["accuracy"] > read[2]["accuracy"]

    evaluations = lines(tmp_path, "eval_log.jsonl")
    assert [row["step"] for row in evaluations] == [0, 5, 10]
    assert evaluations[0]["note"] == "before training"
    assert evaluations[2]["eval_perplexity"] == pytest.approx(math.exp(evaluations[2]["eval_loss"]))

    found = status(tmp_path)
    assert (found["status"], found["current_step"], found["total_steps"]) == ("completed", 10, 10)
    assert (found["output_dir"], found["last_checkpoint"]) == (str(tmp_path), "checkpoint-10")
    assert found["validation_loss"] == evaluations[2]["eval_loss"]
    assert [row["step"] for row in lines(tmp_path, "training_detail.jsonl")] == [0, 4, 5, 8, 10]


@pytest.mark.parametrize("batches", [1, 2])
def test_token_accuracy_is_the_share_of_trained_tokens_that_are_the_likeliest(
    make: Callable[..., Trainer], data: list[dict[str, Any]], tmp_path: Path, batches: int
) -> None:
    given = {"per_device_train_batch_size": 40 // batches, "gradient_accumulation_steps": batches}
    trainer = make(SmartmonCallback(detail_steps=0), learning_rate=2e-2, max_steps=9, logging_steps=1, **given)
    trainer.train()
    # The ninth step was measured before it was taken: take the others once more.
    again = make(learning_rate=2e-2, lr_scheduler_type="linear", max_steps=9, logging_steps=1, **given)
    again.add_callback(stop := At(8, lambda model: None))
    stop.what = lambda model: setattr(again.control, "should_training_stop", True)
    again.train()
    right = trained = 0
    for row in data[:40]:
        with torch.no_grad():
            said = again.model(torch.tensor([row["input_ids"]])).logits[0, :-1].argmax(-1).tolist()
        pairs = [(a, b) for a, b in zip(said, row["labels"][1:]) if b != -100]
        right, trained = right + sum(a == b for a, b in pairs), trained + len(pairs)
    assert right > 0
    # Sums in another order: a near tie may fall to the other side.
    assert lines(tmp_path, "training_log.jsonl")[8]["accuracy_percent"] == pytest.approx(100 * right / trained, abs=0.2)


def test_packed_rows_and_padding_are_counted_as_what_they_are(tiny_model: Path, tokenizer: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).train()
    meter = Meter(model)
    packed = {"input_ids": torch.arange(3, 13)[None], "position_ids": torch.tensor([[0, 1, 2, 3, 0, 1, 2, 0, 1, 2]])}
    model(**packed, use_cache=False)
    assert (meter.training.read().rows, meter.training.drain().tokens) == (3, 10)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    model(input_ids=torch.ones_like(mask), attention_mask=mask)
    assert (meter.training.read().rows, meter.training.drain().tokens) == (2, 5)


def test_what_is_generated_and_predicted_counts_for_no_step_and_no_evaluation(
    make: Callable[..., Trainer], tmp_path: Path, data: list[dict[str, Any]]
) -> None:
    trainer = make(SmartmonCallback(detail_steps=0), max_steps=4, logging_steps=4)

    def aside(model: Any) -> None:
        with torch.no_grad():  # as TRL's trainers do, in the mode of the training
            model.generate(torch.tensor([data[0]["input_ids"]]), max_new_tokens=8)
        trainer.evaluate()
        trainer.predict(data[:8])  # type: ignore[arg-type]
        trainer.evaluate()

    trainer.add_callback(At(2, aside))
    trainer.train()
    row = lines(tmp_path, "training_log.jsonl")[-1]
    assert row["samples_per_sec"] == pytest.approx(4 * row["steps_per_sec"], rel=1e-3)
    alone, behind = lines(tmp_path, "eval_log.jsonl")
    assert behind["eval_accuracy_percent"] == alone["eval_accuracy_percent"]


def test_a_mask_of_many_numbers_for_each_token_is_not_kept(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    meter = Meter(model)
    ids = torch.arange(8).reshape(2, 4)
    model(input_ids=ids, labels=ids, attention_mask=torch.zeros(2, 1, 4, 4))
    assert meter.evaluation._passes[0][2] is None
    assert (meter.evaluation.read().tokens, meter.problem) == (8, None)


def test_a_copy_of_the_callback_begins_anew_in_another_process(make: Callable[..., Trainer], tmp_path: Path) -> None:
    callback = SmartmonCallback(tmp_path / "run", detail_steps=0)
    make(callback).train()
    copied = pickle.loads(pickle.dumps(callback))
    make(copied).train()
    assert status(tmp_path / "run")["attempt"] == 2


def test_one_that_was_given_unasked_leaves_the_training_to_the_users_own(
    make: Callable[..., Trainer], tmp_path: Path
) -> None:
    unasked = SmartmonCallback(tmp_path / "exec", detail_steps=0)
    unasked.yields = True
    trainer = make(unasked)
    trainer.add_callback(SmartmonCallback(tmp_path / "own", detail_steps=0))
    trainer.train()
    assert status(tmp_path / "own")["status"] == "completed"
    assert not (tmp_path / "exec").exists()


def test_a_nan_that_the_trainer_hides_is_logged(make: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = make(SmartmonCallback(detail_steps=0), At(2, poison))
    trainer.train()
    assert [row["loss"] for row in trainer.state.log_history if row.get("step") == 6 and "loss" in row] == [0.0]
    written = lines(tmp_path, "training_log.jsonl")
    assert [math.isnan(row["loss"]) for row in written] == [False, True, True]
    errors = lines(tmp_path, "error_log.jsonl")
    assert [(row["error_type"], row["step"]) for row in errors] == [("NaNLoss", 4)]
    assert status(tmp_path)["status"] == "completed"


def test_a_nan_stops_before_anything_of_it_is_saved(make: Callable[..., Trainer], tmp_path: Path) -> None:
    callback = SmartmonCallback(detail_steps=0, stop_on_nonfinite=True)
    # A save falls between two rows of the log: the NaN has not been logged yet.
    trainer = make(callback, At(3, poison), max_steps=12, logging_steps=6, save_strategy="steps", save_steps=2)
    trainer.train()
    assert callback.stopped == "nonfinite"
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    assert (status(tmp_path)["status"], status(tmp_path)["error_type"]) == ("crashed", "NaNLoss")


def test_stop_saves_first_and_is_acknowledged(make: Callable[..., Trainer], tmp_path: Path) -> None:
    callback = SmartmonCallback(detail_steps=0)
    sent: list[str] = []

    def ask(model: object) -> None:
        if not sent:
            sent.append(send(tmp_path, "stop"))

    trainer = make(callback, At(2, ask), max_steps=1000)
    trainer.train()
    found = status(tmp_path)
    step = found["current_step"]
    assert (callback.stopped, found["status"]) == ("control", "stopped")
    assert (tmp_path / f"checkpoint-{step}" / "trainer_state.json").is_file()
    assert found["control_ack"]["id"] == sent[0]
    assert found["control_ack"]["result"] == f"stopping at step {step}, with a checkpoint"


def test_a_pause_holds_the_training_saves_when_asked_and_ends(
    make: Callable[..., Trainer], tmp_path: Path, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    def conduct() -> None:
        until(lambda: status(tmp_path)["status"] == "paused")
        held = status(tmp_path)["current_step"]
        identity = send(tmp_path, "checkpoint")
        until(lambda: status(tmp_path)["control_ack"].get("id") == identity)
        until((tmp_path / f"checkpoint-{held}" / "trainer_state.json").is_file)
        until(lambda: status(tmp_path)["status"] == "paused")
        (tmp_path / ".control").write_text("explode")
        until(lambda: status(tmp_path)["control_ack"]["word"] == "explode")
        assert status(tmp_path)["current_step"] == held
        send(tmp_path, "resume")

    callback = SmartmonCallback(detail_steps=0)
    trainer = make(callback, At(2, lambda model: callback.request("pause")), max_steps=6)
    meanwhile(lambda: (until((tmp_path / "status/training_status.json").is_file), conduct()))
    trainer.train()
    assert (status(tmp_path)["status"], status(tmp_path)["current_step"]) == ("completed", 6)
    assert status(tmp_path)["control_ack"]["result"].startswith("resumed at step")


def test_a_signal_stops_and_a_word_that_is_none_is_refused(make: Callable[..., Trainer], tmp_path: Path) -> None:
    callback = SmartmonCallback(detail_steps=0)
    with pytest.raises(ValueError, match="none of pause"):
        callback.request("explode")
    make(callback, At(3, lambda model: callback.request("stop")), max_steps=1000).train()
    assert callback.stopped == "signal"
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{status(tmp_path)['current_step']}"]


def test_an_exception_that_the_script_catches_is_told_all_the_same(
    make: Callable[..., Trainer], tmp_path: Path
) -> None:
    def fail(model: object) -> None:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        make(SmartmonCallback(detail_steps=0), At(3, fail)).train()
    found = status(tmp_path)
    assert (found["status"], found["error_type"], found["error_message"]) == ("crashed", "RuntimeError", "boom")
    row = lines(tmp_path, "error_log.jsonl")[0]
    assert row["step"] == 3
    assert "raise RuntimeError" in row["traceback"]


def test_a_second_training_of_the_trainer_is_another_attempt(make: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = make(SmartmonCallback(detail_steps=0), max_steps=2)
    trainer.train()
    trainer.train()
    assert (status(tmp_path)["attempt"], status(tmp_path)["status"]) == (2, "completed")
    assert [row["step"] for row in lines(tmp_path, "training_log.jsonl")] == [2, 2]


def test_what_fails_of_ours_is_said_once_and_costs_the_training_nothing(
    make: Callable[..., Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def metrics() -> dict[str, float]:
        raise KeyError("mine")

    def announce(folder: Path, step: int) -> None:
        raise OSError("no")

    trainer = make(SmartmonCallback(metrics=metrics, announce=announce), save_strategy="steps", save_steps=3)
    trainer.train()
    assert trainer.state.global_step == 6
    assert len(lines(tmp_path, "training_log.jsonl")) == 3
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("smartmon:")]
    assert [line.split(" failed")[0] for line in told] == [
        "smartmon: announcing a checkpoint",
        "smartmon: your metrics",
    ] or [line.split(" failed")[0] for line in told] == ["smartmon: your metrics", "smartmon: announcing a checkpoint"]


def test_metrics_are_given_what_they_ask_for(make: Callable[..., Trainer], tmp_path: Path) -> None:
    def metrics(step: int, model: Any) -> dict[str, float]:
        return {"twice": 2 * step, "parameters": sum(p.numel() for p in model.parameters())}

    make(SmartmonCallback(detail_steps=0, metrics=metrics)).train()
    assert [row["twice"] for row in lines(tmp_path, "training_log.jsonl")] == [4, 8, 12]


def test_a_writer_of_ones_own_keeps_the_last_word(make: Callable[..., Trainer], tmp_path: Path) -> None:
    with StatusWriter(tmp_path / "base", model_name="mine") as out:
        make(SmartmonCallback(detail_steps=0, writer=out)).train()
        assert out.word == "training"
        out.update("error")
    assert (status(tmp_path / "base")["status"], status(tmp_path / "base")["model_name"]) == ("error", "mine")


def test_the_run_folder_of_the_environment_is_used(
    make: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTMON_RUN_DIR", str(tmp_path / "elsewhere"))
    make(SmartmonCallback(detail_steps=0)).train()
    assert status(tmp_path / "elsewhere")["output_dir"] == str(tmp_path)
