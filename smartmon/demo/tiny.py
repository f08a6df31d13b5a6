"""A tiny language model and a small real task, built on the spot: no model hub, no download, under a second.

The model is a Llama of random weights with a tokenizer trained on the task itself. It stands for a real one in every
way that matters to a trainer: configuration, safetensors, fast tokenizer, chat template.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SYSTEM = "Answer in JSON."
_CAPITALS = {
    "Austria": "Vienna",
    "Brazil": "Brasilia",
    "Chile": "Santiago",
    "Denmark": "Copenhagen",
    "Egypt": "Cairo",
    "Finland": "Helsinki",
    "Greece": "Athens",
    "Hungary": "Budapest",
    "India": "Delhi",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Latvia": "Riga",
    "Mexico": "Mexico City",
    "Norway": "Oslo",
    "Oman": "Muscat",
    "Peru": "Lima",
    "Qatar": "Doha",
    "Spain": "Madrid",
    "Turkey": "Ankara",
    "Uganda": "Kampala",
}
_GOODS = ("tea", "rice", "soap", "salt", "milk", "bread", "rope", "ink")

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML with the mark that tells Transformers which tokens the assistant said."""


def conversations(number: int, *, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield rows of `{"messages": [...]}`: orders to fill in, sums of two digits, capitals of twenty countries."""
    rng = random.Random(seed)  # the same rows each time
    for _ in range(number):
        question, answer = rng.choice((_order, _sum, _capital))(rng)
        yield {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": json.dumps(answer)},
            ]
        }


def write_dataset(path: Path, number: int = 2000, *, seed: int = 0) -> Path:
    """Write the rows as JSON Lines, and return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in conversations(number, seed=seed)), encoding="utf-8")
    return path


def build_model(
    folder: Path,
    *,
    hidden: int = 128,
    layers: int = 4,
    vocabulary: int = 512,
    context: int = 256,
    template: str | None = TEMPLATE,
    seed: int = 0,
) -> Path:
    """Write a model of random weights and its tokenizer into `folder`, and return it.

    The defaults have 0.9 million parameters (3.7 MB); hidden 64 and 2 layers, as tests use, 0.15 million. Embeddings
    are not tied: trained copies of tied ones are a trap of their own.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer(vocabulary, context, template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 3,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(vocabulary: int, context: int, template: str | None) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [f"{m['role']}\n{m['content']}\n" for row in conversations(500) for m in row["messages"]]
    words.train_from_iterator([*texts, f"system\n{SYSTEM}\n"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        **dict(zip(("pad_token", "bos_token", "eos_token"), special)),
        model_max_length=context,
    )
    tokenizer.chat_template = template
    return tokenizer


def _order(rng: random.Random) -> tuple[str, dict[str, Any]]:
    number, good = rng.randint(1, 9), rng.choice(_GOODS)
    return f"Please send {number} {good}.", {"item": good, "count": number}


def _sum(rng: random.Random) -> tuple[str, dict[str, Any]]:
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    return f"What is {a} plus {b}?", {"sum": a + b}


def _capital(rng: random.Random) -> tuple[str, dict[str, Any]]:
    country = rng.choice(list(_CAPITALS))
    return f"Name the capital of {country}.", {"country": country, "capital": _CAPITALS[country]}
