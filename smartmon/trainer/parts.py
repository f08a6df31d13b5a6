"""The parts of a callback: whatever goes wrong in one, the training goes on. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from smartmon.trainer.disk import say

T = TypeVar("T")


class Parts:
    """Runs the parts of a callback; one that raises says so once, and is left out from then on."""

    def __init__(self) -> None:
        self._off: set[str] = set()
        self.steadfast = False
        """Whether one that fails is tried again: other processes wait for what it has to tell them."""

    def __call__(self, name: str, work: Callable[[], T], default: T) -> T:
        """Return what the work returns, or the default where it fails or has failed before."""
        if name in self._off and not self.steadfast:
            return default
        try:
            return work()
        except Exception as problem:  # noqa: BLE001 - the promise is that a training never fails for being watched
            self.fail(name, problem)
            return default

    def fail(self, name: str, problem: Exception) -> None:
        """Leave a part out from now on."""
        told, then = name in self._off, "goes on as it can" if self.steadfast else "will be left out"
        self._off.add(name)
        if not told:
            say(f"{name} failed ({type(problem).__name__}: {problem}) and {then}; the training goes on")
