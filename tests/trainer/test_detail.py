"""Looks at a model that trains: what they tell, what they cost, and that they leave no trace."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smartmon.demo import tiny
from smartmon.detectors.prediction_mismatch import Mismatch, PredictionMismatch
from smartmon.records import SourceRank, StatusReport
from smartmon.sources import discover
from smartmon.sources.base import SourceSpec
from smartmon.sources.status_file import StatusFile
from smartmon.trainer import decoding
from smartmon.trainer.detail import DetailCollector, Sample, samples_from


class Published:
    """Takes records as a writer would: as JSON."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def __call__(self, record: Any, done: bool) -> None:
        self.records.append({**json.loads(json.dumps(record)), "done": done})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> Any:
    """A model in 4 bits with an adapter, that computes activations twice, as it trains."""
    from smartmon.trainer.model import load
    from smartmon.trainer.settings import TrainSettings

    options = {"gradient_checkpointing": "on", "lora_dropout": 0.1, "lora_r": 4}
    return load(TrainSettings(dataset=Path("unused"), model=str(tiny_model), **options))


@pytest.fixture
def model(loaded: Any) -> Any:
    loaded.model.train()
    return loaded.model


@pytest.fixture
def samples(loaded: Any) -> list[Sample]:
    return samples_from(list(tiny.conversations(40)), loaded.tokenizer, 4)


@pytest.fixture
def published() -> Published:
    return Published()


def rows(loaded: Any) -> Iterator[Any]:
    import torch

    for row in tiny.conversations(6):
        yield torch.tensor([loaded.tokenizer.apply_chat_template(row["messages"], return_dict=False)])


def train(loaded: Any, looker: DetailCollector | None) -> tuple[list[float], Any]:
    """Train a copy of the adapter for a few steps, look at each if told to; return the losses and the weights."""
    import torch

    model = loaded.model
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    before = [weight.detach().clone() for weight in weights]
    torch.manual_seed(1)
    optimizer, losses = torch.optim.AdamW(weights, lr=0.01), []
    for step, ids in enumerate(rows(loaded), start=1):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if looker is not None:
            assert looker.collect(model, step).get("error") is None
    trained = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, value in zip(weights, before):
            weight.copy_(value)
    return losses, trained


def test_a_look_sets_the_answer_beside_the_golden_one(
    loaded: Any, model: Any, samples: list[Sample], published: Published
) -> None:
    looker = DetailCollector(loaded.tokenizer, samples, published)
    record = looker.collect(model, 50, epoch=0.5, train_loss=2.5, learning_rate=1e-4)
    assert published.records[-1] == {**record, "done": True}
    assert {
        "status": "training",
        "step": 50,
        "epoch": 0.5,
        "train_loss": 2.5,
        "eval_loss": None,
    }.items() <= record.items()
    assert record["prompt"]["messages"][0]["role"] == "user"
    assert json.loads(record["golden"])
    assert record["tokens"][0]["golden_id"] == samples[0].golden_ids[0]
    assert {token["verdict"] for token in record["tokens"]} <= {"match", "mismatch", "missing", "extra"}
    assert record["matches"] == sum(token["verdict"] == "match" for token in record["tokens"])
    assert (record["generating"], record["exact"], record["total"]) == (False, False, len(record["tokens"]))
    assert record["golden_loss"] == pytest.approx(math.log(512), rel=0.1)
    assert record["seconds"] > 0


def test_the_answer_is_shown_while_it_comes(
    loaded: Any, model: Any, samples: list[Sample], published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartmon.trainer.detail._REFRESH", 0.0)
    DetailCollector(loaded.tokenizer, samples, published, max_tokens=5).collect(model, 50)
    coming = [record for record in published.records if record["generating"]]
    assert [len(record["tokens"]) for record in coming] == [0, 1, 2, 3, 4, 5]
    assert not any(record["done"] for record in coming)


def test_it_answers_as_generate_does_with_or_without_a_cache(loaded: Any, model: Any, samples: list[Sample]) -> None:
    import torch

    prompt = samples[0].prompt_ids
    model.eval()
    ids = torch.tensor([prompt])
    whole = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    expected = whole[0, len(prompt) :].tolist()

    class Cacheless(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, input_ids: Any) -> Any:
            return self.inner(input_ids=input_ids, use_cache=False)

    asked = {"most": 12, "stops": decoding.stop_ids(model, loaded.tokenizer), "choose": decoding.greedy}
    assert list(decoding.tokens(model, prompt, **asked)) == expected
    assert list(decoding.tokens(Cacheless(), prompt, **asked)) == expected


def test_a_training_with_looks_is_the_same_to_the_last_bit(
    loaded: Any, model: Any, samples: list[Sample], published: Published
) -> None:
    import torch

    losses, weights = train(loaded, None)
    looked_losses, looked = train(loaded, DetailCollector(loaded.tokenizer, samples, published, max_tokens=8))
    assert looked_losses == losses
    assert all(torch.equal(one, other) for one, other in zip(weights, looked))
    assert len(set(losses)) == len(losses)


def test_every_layer_gets_its_own_mode_back(
    loaded: Any, model: Any, samples: list[Sample], published: Published
) -> None:
    frozen = next(module for module in model.modules() if "Norm" in type(module).__name__)
    frozen.eval()
    before = [module.training for module in model.modules()]
    DetailCollector(loaded.tokenizer, samples, published, max_tokens=2).collect(model, 50)
    assert [module.training for module in model.modules()] == before
    assert not frozen.training


def test_layers_in_four_bits_are_never_told_to_pack_their_weights(
    loaded: Any, model: Any, samples: list[Sample], published: Published
) -> None:
    packed: set[bool] = set()
    layer = next(module for module in model.modules() if type(module).__name__ == "Linear4bit")
    hook = layer.register_forward_pre_hook(lambda module, _: packed.add(module.training))
    DetailCollector(loaded.tokenizer, samples, published, max_tokens=2).collect(model, 50)
    hook.remove()
    assert packed == {True}


def test_a_look_under_autocast_costs_no_gradient(
    loaded: Any, model: Any, samples: list[Sample], published: Published
) -> None:
    import torch

    looker = DetailCollector(loaded.tokenizer, samples, published, max_tokens=2)
    ids = next(rows(loaded))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert looker.collect(model, 50).get("error") is None
        model(input_ids=ids, labels=ids).loss.backward()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(weight.grad is not None for weight in trained.values())
    assert any(float(weight.grad.abs().sum()) > 0 for name, weight in trained.items() if "lora_B" in name)
    model.zero_grad(set_to_none=True)


def test_a_look_ends_at_its_limit(loaded: Any, model: Any, samples: list[Sample], published: Published) -> None:
    record = DetailCollector(loaded.tokenizer, samples, published, limit=0.0).collect(model, 50)
    assert (record["ended"], len(record["tokens"])) == ("time", 1)
    assert "golden_loss" not in record


def test_each_look_takes_the_next_sample(loaded: Any, model: Any, samples: list[Sample], published: Published) -> None:
    looker = DetailCollector(loaded.tokenizer, samples, published, max_tokens=1)
    taken = [looker.collect(model, step)["sample_idx"] for step in range(50, 300, 50)]
    assert taken == [0, 1, 2, 3, 0]


def test_looks_come_at_their_steps_and_after_evaluations(samples: list[Sample], published: Published) -> None:
    looker = DetailCollector(None, samples, published, every=10, clock=Clock())
    assert [step for step in range(1, 41) if looker.due(step)] == [10, 20, 30, 40]
    assert looker.due(43, evaluated=True)
    never = DetailCollector(None, samples, published, every=0)
    assert not any(never.due(step, evaluated=True) for step in range(100))
    assert not DetailCollector(None, [], published).due(50)


def test_a_resumed_training_looks_at_the_same_steps(samples: list[Sample], published: Published) -> None:
    looker = DetailCollector(None, samples, published, every=10, clock=Clock())
    assert [step for step in range(123, 141) if looker.due(step)] == [130, 140]


def test_looks_that_took_their_share_are_waited_off(samples: list[Sample], published: Published) -> None:
    clock = Clock()
    looker = DetailCollector(None, samples, published, every=1, limit=3, share=0.1, clock=clock)
    looks = []
    for step in range(1, 101):
        clock.now += 1
        if looker.due(step):
            looks.append(step)
            looker.seconds += 2  # as a look would
    assert looks[:4] == [1, 2, 11, 31]
    assert looker.seconds <= 3 + 0.1 * clock.now + 2  # and the look that passes the bound
    assert looker.skipped == 100 - len(looks)


def test_a_failure_is_a_fact_and_the_third_is_the_last(
    loaded: Any, samples: list[Sample], published: Published
) -> None:
    import torch

    class Broken(torch.nn.Module):
        def forward(self, input_ids: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    broken = Broken()
    broken.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    looker = DetailCollector(loaded.tokenizer, samples, published, every=1)
    records = [looker.collect(broken, step) for step in (1, 2, 3)]
    assert "ran out of memory" in records[0]["error"]
    assert records[0]["ended"] == "error"
    assert records[2]["error"].endswith("no more looks, as 3 failed in a row")
    assert broken.training
    assert not looker.due(4)


def test_a_publisher_that_fails_harms_nobody(loaded: Any, model: Any, samples: list[Sample]) -> None:
    def full(_record: Any, _done: bool) -> None:
        raise OSError(28, "No space left on device")

    assert "No space" in DetailCollector(loaded.tokenizer, samples, full).collect(model, 50)["error"]


def test_a_sharded_model_is_not_asked(loaded: Any, samples: list[Sample], published: Published) -> None:
    import torch

    sharded = torch.nn.Linear(2, 2)
    sharded.weight.ds_id = 0  # as DeepSpeed marks them
    assert "sharded" in DetailCollector(loaded.tokenizer, samples, published).collect(sharded, 50)["error"]


def test_data_parallel_and_compiled_models_are_unwrapped(model: Any) -> None:
    import torch

    assert decoding.unwrapped(torch.nn.DataParallel(model)) is model
    assert decoding.unwrapped(torch.compile(model)) is model
    assert decoding.unwrapped(model) is model


def test_a_model_whose_weights_are_nan_is_said_to_be(tiny_model: Path) -> None:
    import torch

    with pytest.raises(FloatingPointError, match="NaN"):
        decoding.greedy(torch.tensor([1.0, math.nan]))


def test_the_daemon_reads_the_run_and_not_the_sample(
    loaded: Any, model: Any, samples: list[Sample], published: Published, tmp_path: Path
) -> None:
    record = DetailCollector(loaded.tokenizer, samples, published).collect(model, 50, epoch=1.0, train_loss=2.5)
    path = tmp_path / "training_detail.json"
    path.write_text(json.dumps(record))
    spec = SourceSpec("status/training_detail.json", "status", path, SourceRank.STATUS, tmp_path, {"state": False})
    batch = StatusFile(spec).read(None, 1e12)
    assert [row.values for row in batch.observations] == [{"epoch": 1.0, "loss": 2.5}]
    assert batch.status.extras["golden_answer"] == record["golden"]
    assert batch.status.extras["model_answer"] == record["predicted"]


def test_the_history_of_looks_is_no_log_of_the_run(tmp_path: Path) -> None:
    record = {"step": 50, "train_loss": 2.5, "accuracy": 3.1, "golden": "a", "predicted": "b"}
    for name in ("train/logs/training_detail.jsonl", "train/logs/other.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record) + "\n")
    (run,), _notes = discover([tmp_path])
    assert [spec.id for spec in run.sources] == ["logs/other.jsonl"]


def test_the_newest_samples_are_what_prediction_mismatch_goes_by(
    loaded: Any, model: Any, samples: list[Sample], published: Published
) -> None:
    looker, detector = DetailCollector(loaded.tokenizer, samples, published), Mismatch(PredictionMismatch())
    for step in range(50, 350, 50):
        looker.collect(model, step)
    told = looker.status()
    list(detector.report(StatusReport(0.0, step=300, extras=told), SimpleNamespace(step=300, latest={})))
    assert told["answer_matches"] is False
    assert [sample["step"] for sample in told["recent_examples"]] == [100, 150, 200, 250, 300]
    assert [right for right, _loss, _spelling in detector.samples] == [0.0] * 5
