"""The other processes of a training on several GPUs: sums and common decisions, each asked of all at the same step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


class Peers:
    """The processes that train together. Every method must be called by all of them, in the same order."""

    def __init__(self) -> None:
        self._dist = sys.modules.get("torch.distributed")
        dist = self._dist
        there = dist is not None and dist.is_available() and dist.is_initialized()
        self.number: int = dist.get_world_size() if dist is not None and there else 1
        self._posted: tuple[Any, Any] | None = None

    @property
    def alone(self) -> bool:
        """Whether there is only this process."""
        return self.number == 1

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes."""
        return list(values) if self.alone else self._reduce(values, "SUM")

    def most(self, values: Sequence[float]) -> list[float]:
        """Return the largest of all processes, place by place."""
        return list(values) if self.alone else self._reduce(values, "MAX")

    def post(self, values: Sequence[float]) -> None:
        """Ask for `most` without waiting for it: `answer` has it later."""
        assert self._dist is not None
        tensor = self._tensor(values)
        self._posted = tensor, self._dist.all_reduce(tensor, op=self._dist.ReduceOp.MAX, async_op=True)

    def answer(self) -> list[float]:
        """Return what was posted last, merged; nothing if nothing was."""
        posted, self._posted = self._posted, None
        if posted is None:
            return []
        tensor, work = posted
        work.wait()
        return [float(value) for value in tensor.tolist()]

    def _reduce(self, values: Sequence[float], how: str) -> list[float]:
        assert self._dist is not None
        tensor = self._tensor(values)
        self._dist.all_reduce(tensor, op=getattr(self._dist.ReduceOp, how))
        return [float(value) for value in tensor.tolist()]

    def _tensor(self, values: Sequence[float]) -> Any:
        import torch

        assert self._dist is not None
        on_cpu = "gloo" in str(self._dist.get_backend()) or not torch.cuda.is_available()
        return torch.tensor(list(values), dtype=torch.float64, device="cpu" if on_cpu else "cuda")
