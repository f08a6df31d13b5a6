"""Expert usage: what the routers of real mixture-of-experts models choose, and who is never chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")

import torch
from transformers import (
    DeepseekV3Config,
    GptOssConfig,
    MixtralConfig,
    PreTrainedModel,
    Qwen2MoeConfig,
    Trainer,
    TrainingArguments,
)
from transformers.models.auto import AutoModelForCausalLM

from smartmon.replay import rows
from smartmon.sources.experts import expert_usage
from smartmon.trainer import SmartmonCallback
from smartmon.trainer.experts import Experts

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
CONFIGS = [
    MixtralConfig(**SMALL, **HEADS, num_local_experts=4, num_experts_per_tok=2),
    Qwen2MoeConfig(
        **SMALL,
        **HEADS,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    ),
    GptOssConfig(**SMALL, **HEADS, num_local_experts=4, num_experts_per_tok=2, head_dim=16),
    DeepseekV3Config(
        **SMALL,
        **HEADS,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=0,
        moe_intermediate_size=16,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
    ),
]


def build(config: Any) -> PreTrainedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def count(model: PreTrainedModel, **batch: torch.Tensor) -> dict[str, Any]:
    experts = Experts(model)
    experts.start()
    model(**batch)
    return experts.usage(experts.counts())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_each_token_chooses_its_experts_in_each_layer(config: Any) -> None:
    usage = count(build(config), input_ids=torch.randint(0, 64, (4, 10)))
    assert list(usage) == ["layer_0", "layer_1"]
    for layer in usage.values():
        assert sum(layer["expert_counts"].values()) == 4 * 10 * 2
        assert sum(layer["expert_percentages"].values()) == pytest.approx(100)
        assert list(layer["expert_counts"]) == [f"expert_{number}" for number in range(4)]
    assert len(expert_usage({"expert_usage": usage})) == 8, "smartmon reads it"


def test_an_expert_that_nothing_is_sent_to_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(CONFIGS[2])
    with torch.no_grad():
        model.model.layers[1].mlp.router.bias[3] = -1e4
    usage = count(model, input_ids=torch.randint(0, 64, (4, 10)))
    assert (usage["layer_0"]["dead_experts"], usage["layer_1"]["dead_experts"]) == ([], ["expert_3"])
    assert usage["layer_1"]["expert_percentages"]["expert_3"] == 0.0


def test_padding_is_not_counted() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    usage = count(build(CONFIGS[0]), input_ids=torch.ones_like(mask), attention_mask=mask)
    assert sum(usage["layer_0"]["expert_counts"].values()) == 4 * 2


def test_a_model_without_experts_has_none_and_counting_leaves_no_hook() -> None:
    from transformers import LlamaConfig

    assert not Experts(build(LlamaConfig(**SMALL, **HEADS)))
    model = build(CONFIGS[0])
    experts = Experts(model)
    experts.start()
    experts.stop()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_trainer_of_experts_writes_their_usage_and_the_aux_loss(tmp_path: Path) -> None:
    model = build(MixtralConfig(**CONFIGS[0].to_dict() | {"output_router_logits": True}))
    data = [{"input_ids": (ids := torch.randint(0, 64, (12,)).tolist()), "labels": ids} for _ in range(16)]
    quiet = {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "save_strategy": "no"}
    args = TrainingArguments(str(tmp_path), max_steps=4, logging_steps=2, gradient_accumulation_steps=2, **quiet)
    Trainer(model, args, train_dataset=data, callbacks=[SmartmonCallback(expert_steps=2)]).train()
    usage = [json.loads(line) for line in (tmp_path / "logs/expert_usage_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in usage] == [2, 4]
    assert sum(usage[0]["expert_usage"]["layer_0"]["expert_counts"].values()) == 16 * 12 * 2
    read = list(rows(tmp_path / "logs/training_log.jsonl", {}))
    assert all(obs.values["aux_loss"] > 0 for obs in read)


def test_what_gradient_checkpointing_does_again_is_counted_once() -> None:
    model = build(CONFIGS[0])
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    ids = torch.arange(12).reshape(2, 6)
    experts = Experts(model)
    experts.start()
    model(input_ids=ids, labels=ids).loss.backward()
    usage = experts.usage(experts.counts())
    assert [sum(layer["expert_counts"].values()) for layer in usage.values()] == [24, 24]
