"""A check that rows laid end to end do not see each other in the model that is about to be trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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

    device = next(model.parameters()).device
    vocabulary = int(model.config.get_text_config().vocab_size)
    numbers = torch.arange(2 * _FIRST + _SECOND, device=device) * 7919 % vocabulary
    one, other, row = numbers.split([_FIRST, _FIRST, _SECOND])
    packed = torch.cat([torch.arange(_FIRST, device=device), torch.arange(_SECOND, device=device)])
    joined = torch.arange(_FIRST + _SECOND, device=device)

    def answers(before: Any, positions: Any) -> Any:
        ids = torch.cat([before, row])[None]
        return model(input_ids=ids, position_ids=positions[None]).logits[0, -_SECOND:].float()

    with _evaluating(model), torch.no_grad():
        first, second = answers(one, packed), answers(other, packed)
        seen = _distance(answers(one, joined), answers(other, joined))
        alone = model(input_ids=row[None]).logits[0].float()
    if not seen > 0:
        return False, "it cannot be seen whether rows would be kept apart"
    if not _distance(first, second) <= _SEEN * seen:
        return False, "a row would see the one before it"
    if not _distance(first, alone) <= _SHIFTED * seen:
        return False, "a row would not be what it is alone"
    return True, "two rows tried packed did not see each other"


def _distance(one: Any, other: Any) -> float:
    return float((one - other).pow(2).mean().sqrt())


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout; afterwards every part is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
