"""Which column or tag of a source becomes which metric: one key for each canonical name, for the whole of a file.

A row of JSON carries its keys together, so that the better name wins within it. A CSV header and a TensorBoard file do
not: there the better name wins for good, or `train_loss_epoch` would be mixed into the curve of `train_loss_step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smartmon.records import Json
from smartmon.sources.account import Account
from smartmon.sources.aliases import EVAL_NAMES, Alias, Kind, alias
from smartmon.sources.numbers import duration, megabytes, number
from smartmon.sources.rows import MAX_KEY, MAX_NAMES, STOPWATCH
from smartmon.text import clean

_COUNTERS = (Kind.STEP, Kind.PROGRESS, Kind.TIME, Kind.SKIP)


@dataclass(frozen=True, slots=True)
class Named:
    """The metric that a key stands for."""

    name: str
    kind: Kind = Kind.OTHER

    @property
    def plain(self) -> bool:
        """Whether a number is taken as it is."""
        return self.kind in (Kind.OTHER, Kind.NUMBER, Kind.DURATION, Kind.MEMORY)

    def convert(self, value: float | str) -> float | None:
        """Return a value in the metric's unit; None where it is no number."""
        if self.kind is Kind.GIBIBYTES:
            found = number(value)
            return None if found is None else found * 1024
        if self.kind is Kind.MEMORY:
            return megabytes(value)
        return duration(value) if self.kind is Kind.DURATION else number(value)


class Naming:
    """The keys of one source. What it must remember through a restart is `claims`."""

    def __init__(
        self, account: Account, *, evaluations: bool = False, claims: Mapping[str, Json] | None = None
    ) -> None:
        self._account = account
        self._evaluations = evaluations
        self._known: dict[str, Named | None] = {}
        self.moves = 0
        """How often a name went over to a better key."""
        self.full = False
        """Whether keys had to be left out because there were too many."""
        self.claims: dict[str, str] = {}
        """Canonical name -> the key that it is read from."""
        for key in (claims or {}).values():
            self.of(str(key))

    def of(self, key: str) -> Named | None:
        """Return the metric of a key; None for a counter, a clock, or a name that cannot be kept."""
        if key in self._known:
            return self._known[key]
        if not key or len(key) > MAX_KEY or len(self._known) >= MAX_NAMES:
            self.full = self.full or len(self._known) >= MAX_NAMES
            self._account.ignore("names that are too long or too many", key)
            return None
        named = self._decide(key)
        self._known[key] = named
        if named is not None:
            self._account.took(key, named.name)
        return named

    def _decide(self, key: str) -> Named | None:
        own = Named(key if key.isprintable() else clean(key))
        known = self._alias(key)
        if known is None or known == STOPWATCH:
            return own
        if known.kind in _COUNTERS:
            return None
        holder = self.claims.get(known.name)
        if holder is not None and self._order(holder) <= known.order:
            return own
        self.claims[known.name] = key
        if holder is not None:
            self.moves += 1
            self._known[holder] = Named(holder)
            self._account.metrics.pop(holder, None)
            self._account.took(holder, holder)
        return Named(known.name, known.kind)

    def _alias(self, key: str) -> Alias | None:
        known = alias(key)
        if known is not None and self._evaluations and known.name in EVAL_NAMES:
            return Alias(EVAL_NAMES[known.name], known.kind, known.order + 100)
        return known

    def _order(self, key: str) -> int:
        known = self._alias(key)
        return known.order if known is not None else 0
