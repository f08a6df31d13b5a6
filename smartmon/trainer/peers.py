"""The other processes of a training on several GPUs: sums and common decisions, each asked of all at the same step."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from smartmon.trainer.disk import say

_PATIENCE = 120.0
"""Seconds that the other processes get to come to where a training begins; one may still read a checkpoint."""
_meetings = itertools.count(1)


class Peers:
    """The processes that train together. Every method must be called by all of them, in the same order."""

    def __init__(self) -> None:
        self._dist = sys.modules.get("torch.distributed")
        dist = self._dist
        there = dist is not None and dist.is_available() and dist.is_initialized()
        self.number: int = dist.get_world_size() if dist is not None and there else 1
        self._posted: tuple[Any, Any] | None = None

    def meet(self, patience: float = _PATIENCE) -> bool:
        """Wait until every process is here; return False, in each that is, where some do not come: then it is alone.

        Whoever gives the callback to the first process alone would wait for the others at the first step, for ever.
        """
        if self.alone or self._dist is None:
            return True
        store = self._dist.distributed_c10d._get_default_store()
        key = f"smartmon/{next(_meetings)}"
        decided, here = f"{key}/decided", store.add(key, 1)
        if here < self.number:
            try:
                store.wait([decided], timedelta(seconds=patience))
            except Exception:  # noqa: BLE001 - each kind of store has its own for a time that is over
                say(f"the callback has come to {store.add(key, 0)} of {self.number} processes in {patience:g} s")
        # Whoever is first decides for all: they must not see it differently.
        all_here = bytes(store.compare_set(decided, "", "all" if here >= self.number else "some")) == b"all"
        if not all_here:
            self.number = 1
        return all_here

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
