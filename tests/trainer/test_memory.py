"""What is reckoned holds against what is there: parameters exactly, activations by what autograd keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smartmon.trainer.settings import TrainSettings

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")

from smartmon.trainer import memory
from smartmon.trainer.device import Arithmetic, Device
from smartmon.trainer.model import load
from smartmon.trainer.pretrained import read_config
from smartmon.trainer.quiet import quiet
from smartmon.trainer.shape import Shape, shape

CPU, GPU = Device("cpu", "CPU"), Device("cuda:0", "GPU")
FP32, BF16 = Arithmetic("float32", ""), Arithmetic("bfloat16", "")


def settings(model: Path | str = "model", **changes: Any) -> TrainSettings:
    return TrainSettings(dataset=Path("data.jsonl"), model=str(model), **changes)


def llama_8b() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )


@pytest.fixture(scope="module")
def large() -> Shape:
    return shape(settings(), llama_8b())


def part(estimate: memory.Estimate, name: str) -> int:
    return next(part.bytes for part in estimate.parts if part.name == name)


def reckoned(size: Shape, asked: TrainSettings, **changes: Any) -> memory.Estimate:
    options = {"free": None, "gradient_checkpointing": False, "optimizer": "adamw_torch_fused"} | changes
    return memory.estimate(asked, size, GPU, BF16, options.pop("length", 2048), **options)


@pytest.mark.parametrize(
    "changes", [{}, {"lora_r": 4, "target_modules": ("q_proj", "v_proj")}, {"modules_to_save": ("lm_head",)}]
)
def test_parameters_are_counted_as_they_are(tiny_model: Path, changes: dict[str, Any]) -> None:
    asked = settings(tiny_model, quantize=False, **changes)
    size = shape(asked, read_config(str(tiny_model)))
    model = load(asked).model
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert size.trained == trained
    assert size.parameters == sum(parameter.numel() for parameter in model.parameters()) - trained


def test_an_adapter_that_is_gone_on_from_counts_as_it_is(tiny_model: Path, tmp_path: Path) -> None:
    with quiet():
        load(settings(tiny_model, lora_r=4)).model.save_pretrained(tmp_path)
    assert shape(settings(tiny_model), read_config(str(tiny_model)), adapter=tmp_path).trained == 38_912 // 4


def test_experts_in_one_tensor_and_the_matrices_of_gpt2_are_counted() -> None:
    from transformers import GPT2Config, MixtralConfig

    small: dict[str, Any] = {"vocab_size": 512, "bos_token_id": 1, "eos_token_id": 2}
    gpt2 = shape(settings(), GPT2Config(n_embd=64, n_layer=2, n_head=4, **small))
    assert (gpt2.linear, gpt2.adapter) == (98304, 32768)
    moe = MixtralConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_local_experts=4, head_dim=8, **small
    )
    assert shape(settings(), moe).experts == 2 * 4 * 3 * 64 * 128


def test_a_model_of_eight_billion_is_reckoned_without_its_weights(large: Shape) -> None:
    assert large.parameters == 8_030_261_248
    assert large.trained == 41_943_040  # rank 16 on all linear layers
    estimate = reckoned(large, settings())
    assert part(estimate, "base model") == pytest.approx(3.6e9, rel=0.01)
    assert part(estimate, "not in 4 bits") == pytest.approx(2.1e9, rel=0.01)
    assert part(estimate, "optimizer") == 8 * large.trained
    assert part(reckoned(large, settings(), optimizer="paged_adamw_8bit"), "optimizer") == 2 * large.trained


def kept_by_autograd(model: Any, rows: int, length: int) -> int:
    """Bytes that a forward pass leaves for the backward one, without the parameters."""
    import torch

    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address comes twice
        return tensor

    ids = torch.zeros(rows, length, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(input_ids=ids, labels=ids)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_activations_are_what_autograd_keeps(tiny_model: Path, dropout: float) -> None:
    asked = settings(tiny_model, batch_size=4, lora_dropout=dropout)
    loaded = load(asked, longest=128)
    estimate = memory.estimate(
        asked,
        shape(asked, loaded.model.config),
        CPU,
        FP32,
        128,
        free=None,
        gradient_checkpointing=False,
        optimizer="adamw_torch_fused",
    )
    logits = 4 * 128 * 512 * 4  # of the three copies at the peak, the one that is kept between the passes
    real = kept_by_autograd(loaded.model, 4, 128)
    assert part(estimate, "activations") + logits == pytest.approx(real, rel=0.05)


def test_computing_activations_twice_keeps_less(large: Shape) -> None:
    once, twice = (reckoned(large, settings(), gradient_checkpointing=on) for on in (False, True))
    assert part(twice, "activations") < part(once, "activations") / 10


def choose(monkeypatch: pytest.MonkeyPatch, free: float, device: Device = GPU, **changes: Any) -> memory.Choices:
    """What is chosen for a model of a few millions with so many bytes free."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=1000, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4
    )
    monkeypatch.setattr(memory, "free_memory", lambda _device: int(free))
    return memory.choose(settings(batch_size=4, lora_r=64, **changes), config, device, BF16, 512)


@pytest.mark.parametrize(
    ("free", "twice", "optimizer"),
    [(800e6, False, "adamw_torch_fused"), (650e6, True, "adamw_torch_fused"), (606e6, True, "paged_adamw_8bit")],
)
def test_scarce_memory_decides_step_by_step(
    monkeypatch: pytest.MonkeyPatch, free: float, twice: bool, optimizer: str
) -> None:
    chosen = choose(monkeypatch, free)
    assert (chosen.gradient_checkpointing, chosen.optimizer) == (twice, optimizer)


def test_what_was_asked_is_not_chosen_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose(monkeypatch, 300e6, gradient_checkpointing="off", optimizer="adamw_torch_fused")
    assert (chosen.gradient_checkpointing, chosen.optimizer) == (False, "adamw_torch_fused")
    assert "it may not suffice" in chosen.reasons[0]


def test_the_slow_optimizer_is_not_chosen_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, 10e6, CPU).optimizer == "adamw_torch_fused"


def test_advice_after_memory_ran_out_keeps_the_step_as_it_was() -> None:
    with quiet():
        advice = memory.oom_advice(settings(batch_size=6, grad_accum=2), RuntimeError("CUDA out of memory.\nGPU 0 ..."))
    lines = advice.splitlines()
    assert lines[0] == "memory ran out (CUDA out of memory.). Lower, in this order:"
    assert "--batch-size 3 --grad-accum 4" in lines[1]
    assert "--max-length 1024" in advice


def test_advice_names_only_what_is_left_to_lower() -> None:
    asked = settings(batch_size=1, gradient_checkpointing="on", optimizer="paged_adamw_8bit", max_length=256, lora_r=8)
    assert memory.oom_advice(asked, MemoryError()).splitlines()[1:-1] == ["  1. a smaller model"]
