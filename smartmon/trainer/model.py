"""Loads what is trained: tokenizer, base model in 4 bits, adapter. Each choice is made once, and said why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.errors import TrainingError
from smartmon.trainer import adapter as adapters
from smartmon.trainer import memory
from smartmon.trainer.device import Arithmetic, Device, choose_arithmetic, choose_device
from smartmon.trainer.pretrained import explained, pretrained_quantization, read_config
from smartmon.trainer.quiet import no_bars, quiet
from smartmon.trainer.settings import TrainSettings

_PADS = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<|endoftext|>", "<unk>")
"""Tokens that models without a pad token have for it, or can spare, the best first."""

_ENDLESS = 1 << 24
"""Tokenizers that know no limit say a length beyond this."""


@dataclass(frozen=True)
class Loaded:
    """A model on its device, ready to train or to answer."""

    model: Any
    tokenizer: Any
    device: Device
    arithmetic: Arithmetic
    choices: memory.Choices
    decisions: list[str]
    """Sentences to say once: what was chosen and why."""
    context: int
    """Longest row in tokens: the settings' `max_length`, cut to what the model can."""

    @property
    def compute_dtype(self) -> Any:
        """What activations are computed in, as torch has it."""
        return self.arithmetic.torch_dtype


def load_tokenizer(settings: TrainSettings) -> Any:
    """Return the model's tokenizer, padding on the right, with a pad token. Raises UsageError or TrainingError."""
    with quiet(), explained(settings.model, "reading the tokenizer of"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(settings.model, trust_remote_code=False)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        vocabulary = tokenizer.get_vocab()
        # The embeddings are never enlarged for a pad token: what is padded is masked, any token will do.
        tokenizer.pad_token = next((pad for pad in _PADS if pad in vocabulary), tokenizer.eos_token)
    if tokenizer.pad_token is None:
        raise TrainingError(
            f"the tokenizer of {text.clean(settings.model)} has neither a pad nor an end token; "
            'set "eos_token" in its tokenizer_config.json'
        )
    return tokenizer


def context_length(settings: TrainSettings, config: Any, tokenizer: Any = None) -> int:
    """Return `max_length`, cut to what the model and its tokenizer can, in tokens."""
    told = config.get_text_config()
    limits = [getattr(told, name, None) for name in ("max_position_embeddings", "n_positions", "max_seq_len")]
    limits.append(getattr(tokenizer, "model_max_length", None))
    return min([settings.max_length, *(int(limit) for limit in limits if limit and 0 < limit < _ENDLESS)])


def load(
    settings: TrainSettings, *, adapter: Path | None = None, training: bool = True, longest: int | None = None
) -> Loaded:
    """Load tokenizer, base model and adapter.

    `adapter`, or else the settings' own, is a folder to go on from; without one a new adapter is attached if
    `training`, and none if not. `longest` is the longest row in tokens, if known: memory is then judged by it.
    Raises UsageError for a model that cannot be used, TrainingError for one that is damaged or out of reach.
    """
    config, adapter = read_config(settings.model), adapter or settings.adapter
    if adapter is not None:
        adapters.check_folder(adapter)
    device = choose_device(fsdp=settings.fsdp)
    arithmetic = choose_arithmetic(device, settings.compute_dtype)
    tokenizer = load_tokenizer(settings)
    context = context_length(settings, config, tokenizer)
    with quiet():
        if settings.threads is not None and not device.cuda:
            import torch

            torch.set_num_threads(settings.threads)
        choices = memory.choose(
            settings, config, device, arithmetic, min(longest or context, context), adapter=adapter, training=training
        )
        decisions = [
            f"device: {device.name}" + (f" ({device.reason})" if device.reason else ""),
            f"arithmetic: {arithmetic.dtype} ({arithmetic.reason})",
        ]
        model = _base(settings, config, device, arithmetic, decisions)
        _fits_tokenizer(settings, model, tokenizer)
        model = _prepared(model, settings, device, arithmetic, choices, training=training)
        model = adapters.attach(model, settings, adapter, training=training, decisions=decisions)
    if training:
        decisions += choices.reasons
    model.train(training)
    return Loaded(model, tokenizer, device, arithmetic, choices, decisions, context)


def _base(settings: TrainSettings, config: Any, device: Device, arithmetic: Arithmetic, decisions: list[str]) -> Any:
    """Read the weights; quantise them on the way if asked."""
    from transformers import AutoModelForCausalLM

    attention = _attention(config, device, arithmetic)
    options: dict[str, Any] = {"dtype": arithmetic.torch_dtype, "trust_remote_code": False}
    options |= {"device_map": {"": device.torch_name}} if device.cuda else {}
    options |= {"attn_implementation": attention} if attention else {}
    already = pretrained_quantization(settings, config)
    if settings.quantize and not already:
        options["quantization_config"] = quantization(settings, arithmetic)
    local = Path(settings.model).is_dir()
    with explained(settings.model, "reading the weights of"), no_bars() if local else quiet():
        model, report = AutoModelForCausalLM.from_pretrained(
            settings.model, config=config, output_loading_info=True, **options
        )
    _nothing_missing(settings, report["missing_keys"])
    guard_packed_weights(model)
    # With a cache, packed rows would see each other: Transformers then leaves their mask out, and says nothing.
    model.config.use_cache = False
    kept = "4 bits as it was saved" if already else "4 bits (NF4, double quantisation)"
    decisions.append(f"base model: {kept if settings.quantize or already else arithmetic.dtype + ', not quantised'}")
    decisions.append(f"attention: {model.config._attn_implementation}")
    return model


def quantization(settings: TrainSettings, arithmetic: Arithmetic) -> Any:
    """Return how bitsandbytes is to hold the base model: NF4, the scales quantised again (4.13 bits a weight)."""
    from transformers import BitsAndBytesConfig

    storage = {"bnb_4bit_quant_storage": arithmetic.torch_dtype} if settings.fsdp else {}
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=arithmetic.torch_dtype,
        **storage,  # FSDP shards only tensors of one floating type, so the packed bits go by that name
    )


def guard_packed_weights(model: Any) -> int:
    """Keep 4-bit layers from repacking their weights for inference, and return how many there are.

    On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks a weight in place at the first forward pass in evaluation mode
    and never back. The loss then looks right and the gradients are wrong, without an error.
    """
    import bitsandbytes

    layers = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)


def _attention(config: Any, device: Device, arithmetic: Arithmetic) -> str | None:
    """FlashAttention where it is installed and the model knows it; else None: Transformers takes PyTorch's own."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING
    from transformers.utils import is_flash_attn_2_available

    if not device.cuda or arithmetic.dtype == "float32" or not is_flash_attn_2_available():
        return None
    return (
        "flash_attention_2" if getattr(MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], "_supports_flash_attn", 0) else None
    )


def _prepared(
    model: Any,
    settings: TrainSettings,
    device: Device,
    arithmetic: Arithmetic,
    choices: memory.Choices,
    *,
    training: bool,
) -> Any:
    """Freeze the base model, and let it compute activations twice if that was chosen.

    On a CPU everything that is not in 4 bits becomes float32 (peft's own preparation). On a GPU it stays as it is,
    which halves the embeddings; norms become float32 only under float16, whose residuals overflow: with bfloat16 a
    norm in float32 would gain nothing (the weights were bfloat16, the sums are float32 anyway) and double activations.
    """
    if not training:
        return model
    if settings.quantize and not device.cuda:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    for parameter in model.parameters():
        parameter.requires_grad = False
    if arithmetic.dtype == "float16":
        for name, module in model.named_modules():
            if "norm" in name.rpartition(".")[2].lower():
                module.float()
    if choices.gradient_checkpointing:
        # The re-entrant kind needs inputs with gradients, breaks under DDP, and is the old default.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return model


def _nothing_missing(settings: TrainSettings, missing: Any) -> None:
    if missing:
        names = sorted(missing)
        raise TrainingError(
            f"the weights of {text.clean(settings.model)} lack {len(names)} of the model's tensors, {names[0]} first: "
            "they would be random; fetch the model again, or give the one that its config.json describes"
        )


def _fits_tokenizer(settings: TrainSettings, model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise TrainingError(
            f"the tokenizer of {text.clean(settings.model)} knows {len(tokenizer):,} tokens and the model only "
            f"{rows:,}: they belong to different models; take both from one place"
        )
