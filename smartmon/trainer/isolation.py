"""A check that rows laid end to end do not see each other in the model that is about to be trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from smartmon.text import clean

_FIRST, _SECOND = 12, 20
"""Tokens of the two rows that are tried."""

_SEEN = 0.02
"""Share of the effect of a row that is seen, up to which a change is rounding."""

_SHIFTED = 0.25
"""The same between inputs of different shape, whose sums are added in another order."""


def packing_isolates(model: Any) -> tuple[bool, str]:
    """Return whether the model keeps packed rows apart, and the reason in a few words.

    Attention separates packed rows by their `position_ids` alone, and where it does not, nothing fails: the loss is
    merely wrong. A cache (`use_cache`) is enough for that. So two rows are run: the second must answer the same
    whatever stands before it, and the same as alone. How much it would change if it did see the first row is the
    scale, so that neither the weights nor the precision matter. Nothing of the model or the random state changes.
    """
    import torch

    try:
        with _evaluating(model), torch.no_grad(), _precision(model):
            seen, changed, moved = _distances(model)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        return False, f"trying it failed ({clean(error).split('. ')[0][:120]})"
    if not seen > 0:
        return False, "it cannot be seen whether rows would be kept apart"
    if not changed <= _SEEN * seen:
        return False, "a row would see the one before it"
    if not moved <= _SHIFTED * seen:
        return False, "a row would not be what it is alone"
    return True, "two rows tried packed did not see each other"


def _distances(model: Any) -> tuple[float, float, float]:
    """How far the second row's answers move: if it sees the first row, if packed after another, if alone."""
    import torch

    device = next(model.parameters()).device
    vocabulary = int(model.config.get_text_config().vocab_size)
    numbers = torch.arange(2 * _FIRST + _SECOND, device=device) * 7919 % vocabulary
    one, other, row = numbers.split([_FIRST, _FIRST, _SECOND])
    packed = torch.cat([torch.arange(_FIRST, device=device), torch.arange(_SECOND, device=device)])
    joined = torch.arange(_FIRST + _SECOND, device=device)

    def answers(before: Any, positions: Any) -> Any:
        ids = torch.cat([before, row])[None]
        return model(input_ids=ids, position_ids=positions[None]).logits[0, -_SECOND:].float()

    first = answers(one, packed)
    alone = model(input_ids=row[None]).logits[0].float()
    seen = _distance(answers(one, joined), answers(other, joined))
    return seen, _distance(first, answers(other, packed)), _distance(first, alone)


def _distance(one: Any, other: Any) -> float:
    return float((one - other).pow(2).mean().sqrt())


def _precision(model: Any) -> Any:
    """As the Trainer computes: where weights are of 16 bits, what is not is converted on the way."""
    import torch

    device = next(model.parameters()).device.type
    half = model.dtype in (torch.float16, torch.bfloat16)
    return torch.autocast(device, model.dtype) if half else nullcontext()


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout; afterwards every part is in the mode it was in."""
    # In evaluation, some 4-bit layers repack their weights on a CPU, and the gradients are lost.
    parts = [module for module in model.modules() if type(module).__name__ != "Linear4bit"]
    modes = [module.training for module in parts]
    for module in parts:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(parts, modes):
            module.training = mode
