"""What people log, made into JSON: numbers of any library, held without waiting for a GPU. Standard library only."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

_PLAIN = frozenset({int, float, str, bool, type(None)})
_TEXT = 4000
_WIDTH = 2048
_DEPTH = 8


class OnDevice:
    """The value of a GPU tensor, which may not have been computed yet.

    `.item()` in the training thread would wait for the GPU and cost a step its head start; held as it is, the tensor
    might be written over before it is read. So a copy is queued on the GPU, behind what computes the value, and the
    writer's thread waits for that copy alone.
    """

    __slots__ = ("_done", "_tensor")

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor.detach().clone()
        torch = sys.modules["torch"]
        self._done = torch.cuda.Event()
        self._done.record(torch.cuda.current_stream(tensor.device))

    def read(self) -> Any:
        """Wait for the value (without the interpreter's lock) and return it."""
        self._done.synchronize()
        return plain(self._tensor.tolist())


def hold(value: Any) -> Any:
    """Return what stands for a value until the writer's thread reads it: a number, text, or a copy that lives on.

    Takes a fraction of a microsecond for plain numbers. Never raises.
    """
    if type(value) in _PLAIN:
        return value
    try:
        if not getattr(value, "is_cuda", False):
            return plain(value)
        # A copy of somebody's logits could be the end of the GPU's memory.
        return OnDevice(value) if value.nbytes <= 8 * _WIDTH else f"tensor of {tuple(value.shape)}"
    except Exception:  # noqa: BLE001 - somebody's own class: whatever it does, the training goes on
        return _shown(value)


def settle(value: Any) -> Any:
    """Return the plain value of what `hold` returned."""
    if not isinstance(value, OnDevice):
        return value
    try:
        return value.read()
    except Exception:  # noqa: BLE001 - a GPU that fell off the bus says so in the training thread
        return None


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """Return a value as JSON knows it. Wide, deep and long ones are cut; what is neither number nor text is shown."""
    if type(value) in _PLAIN:
        return value[:_TEXT] if type(value) is str else value
    if isinstance(value, float):
        return float(value)  # numpy's float64 is one
    if isinstance(value, str):
        return str(value)[:_TEXT]
    return _contents(value, depth - 1) if depth else "..."


def _contents(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth) for key, item in itertools.islice(value.items(), _WIDTH)}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth) for item in itertools.islice(value, _WIDTH)]
    # Tensors and arrays; a single number comes out of them as one.
    listed, size = getattr(value, "tolist", None), getattr(value, "nbytes", 0)
    return plain(listed(), depth) if callable(listed) and size <= 8 * _WIDTH else _shown(value)


def _shown(value: Any) -> str:
    try:
        return repr(value)[:200]
    except Exception:  # noqa: BLE001
        return f"<{type(value).__name__}>"


def line(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON. NaN and the infinities stay what they are, as in every training log."""
    try:
        return json.dumps(record)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(plain(record), default=_shown)


def finite(value: object) -> TypeGuard[float]:
    """Whether a value is a number that is neither NaN nor infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def perplexity(loss: object) -> float | None:
    """Return e to the power of a loss: infinite where that is beyond a float, None where the loss is no number."""
    if not isinstance(loss, int | float):
        return None
    return math.exp(loss) if not loss > 700 else math.inf
