"""What a causal language model says, token by token: one loop for looks at a training and for `smartmon sample`.

Standard library only: torch is asked for when a model is there. It is no `generate`: it can stop between any two
tokens, and it leaves the model as it was.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

_BROKEN = "\ufffd"
"""What decoders write for bytes that are no whole character yet."""
_WRAPPERS = {"module", "_orig_mod"}
"""Where data parallel wrappers, and compiled models, keep the model."""


class TextStream:
    """Turns token ids into text as they come; a character that takes several tokens comes with the last of them."""

    def __init__(self, tokenizer: Any, *, special: bool = True) -> None:
        """Keep special tokens such as `<|im_end|>` in the text where `special`."""
        self._tokenizer = tokenizer
        self._skip = not special
        self._ids: list[int] = []
        self._told = 0
        """Ids of the window whose text was told. A few told ones stay: spaces depend on what is before."""

    def push(self, token: int) -> str:
        """Return the text that this token completes, which may be none."""
        self._ids.append(token)
        return self._tell(final=False)

    def flush(self) -> str:
        """Return what is left: the beginning of a character that never came."""
        return self._tell(final=True)

    def _tell(self, *, final: bool) -> str:
        before, after = self._decode(self._ids[: self._told]), self._decode(self._ids)
        if len(after) <= len(before) or (after.endswith(_BROKEN) and not final):
            return ""
        self._ids, self._told = self._ids[self._told :], len(self._ids) - self._told
        return after[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=self._skip)) if ids else ""


def pieces(tokenizer: Any, ids: Iterable[int]) -> list[str]:
    """Return the text of each token; together they are the text of all. Fragments of a character are empty."""
    stream = TextStream(tokenizer)
    found = [stream.push(token) for token in ids]
    if found:
        found[-1] += stream.flush()
    return found


def unwrapped(model: Any) -> Any:
    """Return the model inside data parallel wrappers and `torch.compile`."""
    while len(parts := dict(model.named_children())) == 1 and parts.keys() <= _WRAPPERS:
        (model,) = parts.values()
    return model


def is_sharded(model: Any) -> bool:
    """Return whether no process has all of the weights: a forward pass of one rank alone would wait for ever."""
    if any("FSDP" in base.__name__ or "FullySharded" in base.__name__ for base in type(model).__mro__):
        return True
    return any(type(weight).__name__ == "DTensor" or hasattr(weight, "ds_id") for weight in model.parameters())


def input_device(model: Any) -> Any:
    """Return the device that token ids go to: that of the embeddings, wherever the other layers lie."""
    try:
        return model.get_input_embeddings().weight.device
    except (AttributeError, NotImplementedError):
        return next(model.parameters()).device


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the ids that end an answer, by the model's generation settings and by the tokenizer."""
    found: set[int] = set()
    for holder in (getattr(model, "generation_config", None), getattr(model, "config", None), tokenizer):
        ids = getattr(holder, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or ())
    return frozenset(found)


def room(model: Any, prompt: int) -> int:
    """Return how many tokens fit behind a prompt of this length."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    context = getattr(config, "max_position_embeddings", None)
    return max(0, context - prompt) if isinstance(context, int) and context > 0 else 1 << 30


def keywords(model: Any, *, keep: int, cache: bool) -> dict[str, Any]:
    """Return the arguments, of those that the model knows, for the last `keep` logits alone and for the cache."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    known = inspect.signature(inner.forward).parameters
    wanted = {"use_cache": cache, "logits_to_keep": keep}
    return {name: value for name, value in wanted.items() if name in known}


def tokens(
    model: Any, prompt: Sequence[int], *, most: int, stops: frozenset[int], choose: Callable[[Any], int]
) -> Iterator[int]:
    """Yield up to `most` ids that follow the prompt, the one that ends the answer too.

    `choose` takes the logits of the next token (of shape [vocabulary]). A model without a cache reads everything again
    for each token.
    """
    import torch

    extra = keywords(model, keep=1, cache=True)
    ids = list(prompt)
    device, cache = input_device(model), None
    for _ in range(min(most, room(model, len(prompt)))):
        new = torch.tensor([ids if cache is None else ids[-1:]], device=device)
        with torch.no_grad():
            out = model(input_ids=new, **extra, **({} if cache is None else {"past_key_values": cache}))
            token = choose(out.logits[0, -1])
        cache = getattr(out, "past_key_values", None)
        ids.append(token)
        yield token
        if token in stops:
            return


def greedy(logits: Any) -> int:
    """Return the likeliest id. Raises FloatingPointError when the logits are not numbers."""
    value, token = logits.max(-1)
    if value.isnan():
        raise FloatingPointError("the model's output is NaN")
    return int(token)
