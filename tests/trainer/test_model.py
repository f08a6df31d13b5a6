"""A real model in 4 bits with a real adapter: what is chosen, what is trained, and what is refused in one sentence."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartmon.errors import SmartmonError, TrainingError, UsageError
from smartmon.trainer.settings import TrainSettings

pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")

from smartmon.trainer.device import Device, choose_arithmetic, cpu_has_bfloat16
from smartmon.trainer.model import Loaded, context_length, load, load_tokenizer
from smartmon.trainer.quiet import quiet


def settings(model: Path | str, **changes: Any) -> TrainSettings:
    return TrainSettings(dataset=Path("data.jsonl"), model=str(model), **changes)


def altered(model: Path, folder: Path, **config: Any) -> Path:
    """A copy of the model with another configuration."""
    shutil.copytree(model, folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | config))
    return folder


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> Loaded:
    return load(settings(tiny_model))


@pytest.fixture(scope="module")
def adapter(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    with quiet():
        loaded.model.save_pretrained(folder)
    return folder


def test_the_base_is_in_4_bits_and_only_the_adapter_is_trained(loaded: Loaded) -> None:
    import bitsandbytes

    layers = [layer for layer in loaded.model.modules() if isinstance(layer, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14
    assert {layer.weight.quant_state.quant_type for layer in layers} == {"nf4"}
    assert all(layer.weight.quant_state.nested for layer in layers)
    trained = [name for name, parameter in loaded.model.named_parameters() if parameter.requires_grad]
    assert len(trained) == 28
    assert all(".lora_" in name for name in trained)


def test_every_choice_is_said_with_its_reason(loaded: Loaded) -> None:
    said = dict(line.split(": ", 1) for line in loaded.decisions)
    assert said.keys() >= {"device", "arithmetic", "base model", "attention", "adapter", "trained", "memory"}
    assert said["trained"].startswith("38,912 parameters")
    assert "(" in said["arithmetic"]


def test_nothing_is_cached_while_training(loaded: Loaded) -> None:
    assert loaded.model.config.use_cache is False


def test_the_same_seed_makes_the_same_adapter(tiny_model: Path, loaded: Loaded) -> None:
    import torch

    again = load(settings(tiny_model))
    other = load(settings(tiny_model, seed=7))
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
    weights = [dict(one.model.named_parameters())[name] for one in (loaded, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def gradients(model: Any) -> list[Any]:
    import torch

    model.train()
    model.zero_grad()
    ids = torch.arange(40).reshape(2, 20)
    model(input_ids=ids, labels=ids).loss.backward()
    return [parameter.grad.clone() for name, parameter in model.named_parameters() if ".lora_B." in name]


def evaluate(model: Any) -> None:
    import torch

    model.eval()
    with torch.no_grad():
        model(input_ids=torch.arange(20).reshape(1, 20))


@pytest.fixture
def avx512_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with AVX512-BF16 as bitsandbytes sees one: it packs for real, and multiplies without a gradient."""
    import torch
    from bitsandbytes import functional
    from bitsandbytes.nn import modules

    def multiply(x: Any, packed: Any, *, out: Any, state: Any) -> Any:
        with torch.no_grad():
            weight, unpacked = functional._convert_weight_packed_for_cpu_inverse(packed.data, copy.deepcopy(state))
            return x.detach() @ functional.dequantize_4bit(weight, unpacked).to(x.dtype).t()

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    monkeypatch.setattr(functional, "gemv_4bit", multiply)


def test_gradients_stay_right_after_an_evaluation_on_any_cpu(tiny_model: Path, avx512_bf16: None) -> None:
    import torch

    model = load(settings(tiny_model)).model
    before = gradients(model)
    evaluate(model)
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(model)))


def test_without_the_guard_an_evaluation_spoils_them_without_an_error(tiny_model: Path, avx512_bf16: None) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    model = load(settings(tiny_model)).model
    before = gradients(model)
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = True
    evaluate(model)
    off = [float((a - b).norm() / a.norm()) for a, b in zip(before, gradients(model))]
    assert torch.tensor(off).max() > 0.2


def test_without_quantisation_the_weights_are_whole(tiny_model: Path) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    one = load(settings(tiny_model, quantize=False, gradient_checkpointing="on"))
    assert not any(isinstance(layer, Linear4bit) for layer in one.model.modules())
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients(one.model))
    assert one.model.get_base_model().is_activation_checkpointing


def test_an_adapter_is_gone_on_from(tiny_model: Path, loaded: Loaded, adapter: Path) -> None:
    import torch

    again = load(settings(tiny_model, seed=7), adapter=adapter)
    theirs = dict(loaded.model.named_parameters())
    mine = {name: p for name, p in again.model.named_parameters() if p.requires_grad}
    assert len(mine) == 28
    assert all(torch.equal(parameter, theirs[name]) for name, parameter in mine.items())


def test_a_model_that_answers_trains_nothing(tiny_model: Path, adapter: Path) -> None:
    one = load(settings(tiny_model), adapter=adapter, training=False)
    assert not one.model.training
    assert not any(parameter.requires_grad for parameter in one.model.parameters())


def test_tied_embeddings_that_are_trained_stay_tied(tiny_model: Path, tmp_path: Path) -> None:
    tied = altered(tiny_model, tmp_path / "tied", tie_word_embeddings=True)
    one = load(settings(tied, modules_to_save=("embed_tokens", "lm_head")))
    base = one.model.get_base_model()
    copies = [layer.modules_to_save["default"].weight for layer in (base.lm_head, base.model.embed_tokens)]
    assert copies[0] is copies[1]


def test_a_tokenizer_without_a_pad_token_gets_one_that_it_knows(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    path = tmp_path / "model" / "tokenizer_config.json"
    told = json.loads(path.read_text())
    del told["pad_token"]
    path.write_text(json.dumps(told))
    tokenizer = load_tokenizer(settings(tmp_path / "model"))
    assert tokenizer.pad_token == "<|pad|>"
    assert tokenizer.padding_side == "right"


def test_the_longest_row_is_cut_to_what_the_model_can(tiny_model: Path, loaded: Loaded) -> None:
    assert context_length(settings(tiny_model), loaded.model.config) == 256
    assert context_length(settings(tiny_model, max_length=100), loaded.model.config) == 100


def _absent(model: Path, folder: Path) -> str:
    return str(folder / "nothing")


def _file(model: Path, folder: Path) -> str:
    return str(model / "config.json")


def _no_config(model: Path, folder: Path) -> str:
    folder.mkdir()
    return str(folder)


def _adapter_only(model: Path, folder: Path) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    return str(folder)


def _no_weights(model: Path, folder: Path) -> str:
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return str(folder)


def _cut_off(model: Path, folder: Path) -> str:
    shutil.copytree(model, folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    return str(folder)


def _torn_config(model: Path, folder: Path) -> str:
    shutil.copytree(model, folder)
    (folder / "config.json").write_text('{"model_type":')
    return str(folder)


def _classifier(model: Path, folder: Path) -> str:
    return str(altered(model, folder, architectures=["LlamaForSequenceClassification"]))


def _unknown_kind(model: Path, folder: Path) -> str:
    return str(altered(model, folder, model_type="foo"))


def _own_code(model: Path, folder: Path) -> str:
    code = {"AutoConfig": "configuration_foo.Foo", "AutoModelForCausalLM": "modeling_foo.Foo"}
    altered(model, folder, model_type="foo", auto_map=code)
    (folder / "configuration_foo.py").write_text("raise SystemExit('this must not run')\n")
    return str(folder)


def _too_many_layers(model: Path, folder: Path) -> str:
    return str(altered(model, folder, num_hidden_layers=3))


def _gptq(model: Path, folder: Path) -> str:
    return str(altered(model, folder, quantization_config={"quant_method": "gptq", "bits": 4}))


def _more_tokens(model: Path, folder: Path) -> str:
    shutil.copytree(model, folder)
    tokenizer = load_tokenizer(settings(folder))
    tokenizer.add_tokens(["<one>", "<two>"])
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (_absent, UsageError, "there is no model folder"),
        (_file, UsageError, "is a file"),
        (_no_config, UsageError, "holds no config.json"),
        (_adapter_only, UsageError, "is an adapter"),
        (_no_weights, UsageError, "holds no weights"),
        (_cut_off, TrainingError, "model.safetensors is cut off"),
        (_torn_config, TrainingError, "not a valid JSON file"),
        (_classifier, UsageError, "no causal language model"),
        (_unknown_kind, UsageError, "does not know the architecture"),
        (_own_code, UsageError, "brings code of its own"),
        (_too_many_layers, TrainingError, "lack 9 of the model's tensors"),
        (_gptq, UsageError, "quantised already (gptq)"),
        (_more_tokens, TrainingError, "knows 514 tokens and the model only 512"),
    ],
)
def test_what_is_no_model_is_refused_in_one_sentence(
    make: Callable[[Path, Path], str], kind: type[SmartmonError], says: str, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(kind) as refused:
        load(settings(make(tiny_model, tmp_path / "model")))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_that_no_hub_can_be_asked_about_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TrainingError, match="hub cannot be reached"):
        load(settings("nobody/nothing-of-this-name"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target_modules": ("q_prj",)}, "no layer q_prj; it has q_proj"),
        ({"modules_to_save": ("lm_hed",)}, "no layer lm_hed; it has lm_head"),
        ({"modules_to_save": ("q_proj",)}, "held in 4 bits"),
    ],
)
def test_layers_that_cannot_be_trained_are_named(tiny_model: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load(settings(tiny_model, **changes))


def test_an_adapter_that_is_none_is_refused(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no adapter_config\.json"):
        load(settings(tiny_model, adapter=tmp_path))
    shutil.copytree(adapter, tmp_path / "cut")
    whole = (adapter / "adapter_model.safetensors").read_bytes()
    (tmp_path / "cut" / "adapter_model.safetensors").write_bytes(whole[:5000])
    with pytest.raises(TrainingError, match="is cut off"):
        load(settings(tiny_model, adapter=tmp_path / "cut"))


def test_an_adapter_of_another_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    from smartmon.demo import tiny

    other = tiny.build_model(tmp_path / "other", hidden=32, layers=2)
    with pytest.raises(TrainingError, match="trained on another model"):
        load(settings(other, adapter=adapter))


def test_sharding_needs_gpus(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="fsdp shards a model over GPUs"):
        load(settings(tiny_model, fsdp=True))


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [("flags : fpu avx2", "float32"), ("flags\t: avx2 avx512_bf16", "bfloat16"), ("Features: asimd bf16", "bfloat16")],
)
def test_a_cpu_computes_in_what_it_has_instructions_for(flags: str, dtype: str, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\n{flags}\n\nprocessor : 1\n{flags}\n")
    assert choose_arithmetic(Device("cpu", "CPU"), cpuinfo=cpuinfo).dtype == dtype
    asked = choose_arithmetic(Device("cpu", "CPU"), "bfloat16", cpuinfo=cpuinfo)
    assert ("slower" in asked.reason) is (dtype == "float32")


def test_a_machine_that_tells_nothing_of_its_cpu_is_taken_for_a_plain_one(tmp_path: Path) -> None:
    assert not cpu_has_bfloat16(tmp_path / "nothing")
