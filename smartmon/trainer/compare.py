"""Two answers set side by side, token by token: the golden one, and what the model said. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MATCH, MISMATCH, MISSING, EXTRA = "match", "mismatch", "missing", "extra"


def compare(
    golden: Sequence[int],
    predicted: Sequence[int],
    golden_text: Sequence[str],
    predicted_text: Sequence[str],
    *,
    ended: bool,
) -> dict[str, Any]:
    """Return `tokens` with a verdict for each place, `matches`, `total`, and `accuracy` in percent (None of nothing).

    Places are compared one to one, as the loss sees them: a word too many shifts all that follows. `ended` says that
    the answer is whole; golden tokens past the end of one that is cut, or still coming, were never asked for and are
    left out. `total` counts tokens of the golden answer, and what the model said beyond it.
    """
    places = max(len(golden), len(predicted)) if ended else len(predicted)
    tokens = []
    for place in range(places):
        wanted = golden[place] if place < len(golden) else None
        said = predicted[place] if place < len(predicted) else None
        tokens.append(
            {
                "golden_id": wanted,
                "golden": None if wanted is None else golden_text[place],
                "predicted_id": said,
                "predicted": None if said is None else predicted_text[place],
                "verdict": _verdict(wanted, said),
            }
        )
    matches = sum(token["verdict"] == MATCH for token in tokens)
    accuracy = round(100 * matches / places, 2) if places else None
    return {"tokens": tokens, "matches": matches, "total": places, "accuracy": accuracy}


def _verdict(wanted: int | None, said: int | None) -> str:
    if wanted is None:
        return EXTRA
    if said is None:
        return MISSING
    return MATCH if wanted == said else MISMATCH


def exact(golden: str, predicted: str, *, ended: bool) -> bool | None:
    """Return whether the texts are the same, or None where the answer was cut before it could be told."""
    if ended:
        return predicted == golden
    return None if golden.startswith(predicted) else False
