"""From a record with a trainer's own keys to a row with canonical ones, within bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from smartmon.records import Json, Observation
from smartmon.sources.account import LONGEST, MOST, Account
from smartmon.sources.aliases import EVAL_NAMES, Alias, Kind, alias
from smartmon.sources.base import SourceSpec
from smartmon.sources.numbers import duration, megabytes, moment, number, progress, whole
from smartmon.text import clean

MAX_METRICS = 256
"""Metrics of one row; the canonical ones always have a place."""
MAX_NAMES = 1024
"""Different names of one source: a trainer that invents a key at each step must not fill the database."""
MAX_KEY = 200
MAX_INT = 2**63
STOPWATCH = alias("time")
"""`time` is a stopwatch as often as a clock: what is no moment stays a metric."""

_SKIP = Alias("", Kind.SKIP)
_NUMBER, _OTHER, _TIME, _STEP = Kind.NUMBER, Kind.OTHER, Kind.TIME, Kind.STEP
_NONE: frozenset[str] = frozenset()
_UNCOUNTED = (Kind.STEP, Kind.TIME, Kind.PROGRESS)
_MAX_PLANS = 64
_ACCURACIES = ("accuracy", "eval_accuracy")
_PROGRESS = frozenset({"total_steps", "epoch", "percentage", "elapsed_time", "eta_seconds", "total_tokens"})
_FACTORY = frozenset({"loss", "eval_loss", "predict_loss", "reward", "accuracy"})


@dataclass(slots=True)
class Row:
    """What a record says, in canonical keys."""

    step: int | None = None
    at: float | None = None
    values: dict[str, float] = field(default_factory=dict)
    nulls: list[str] = field(default_factory=list)
    percent: frozenset[str] = frozenset()
    """Those of the accuracies that are in percent by their name."""

    def observations(self, spec: SourceSpec, at: float, timed: bool) -> Iterator[Observation]:
        """Yield the row as an observation; as two where one accuracy is in percent and the other's unit is open."""
        if self.step is None:
            return
        values, nulls = self.values, frozenset(self.nulls) if self.nulls else _NONE
        percent = bool(self.percent)
        if percent and any(name in values and name not in self.percent for name in _ACCURACIES):
            sure = {name: values[name] for name in self.percent}
            yield Observation(self.step, at, sure, spec.id, spec.rank, timed, percent=True)
            values, percent = {k: v for k, v in values.items() if k not in sure}, False
        yield Observation(self.step, at, values, spec.id, spec.rank, timed, percent=percent, nulls=nulls)


_Plan = list[tuple[str, str, Kind, Alias]]
"""For each key of a record: the key, the name and kind of what it stands for, and that itself."""


class RowReader:
    """Reads the records of one source. Remembers the names it has seen, so that their number stays bounded."""

    def __init__(self, *, evaluations: bool = False, keys: Mapping[str, str] | None = None) -> None:
        """`keys`: what the user says that keys of this file mean, before all that the table of aliases says."""
        self._evaluations = evaluations
        self._aliases = {key: _meant(name) for key, name in (keys or {}).items()}
        self._names = 0
        self._texts: dict[str, str] = {}
        self._kept: set[str] = set()
        self._plans: dict[tuple[str, ...], _Plan | None] = {}
        self.full = False
        """Whether names had to be left out because there were too many."""

    def read(self, record: Mapping[str, Any]) -> Row:
        """Return the record's row. Keys that mean nothing, and values that are no numbers, are left out."""
        shape = tuple(record)
        plan = self._plans[shape] if shape in self._plans else self._plan(shape)
        if plan is None:
            return self._read_slowly(record)
        row = Row()
        values = row.values
        for (key, name, kind, known), value in zip(plan, record.values()):
            if type(value) is float and (kind is _NUMBER or kind is _OTHER):
                values[name] = value
            elif value is None:
                if kind not in _UNCOUNTED:
                    row.nulls.append(name)
            elif kind is _OTHER:
                if (found := number(value, quoted=False)) is None:
                    self._leave(key, value)
                else:
                    values[name] = found
            elif (found := _convert(row, known, value, better=True)) is not None and kind not in _UNCOUNTED:
                values[name] = found
                if kind is Kind.PERCENT:
                    row.percent |= {name}
        return row

    def _plan(self, shape: tuple[str, ...]) -> _Plan | None:
        """Return what the keys of a record mean, for records in which no two keys mean the same: nearly all of a log.

        Rows of a long log have few shapes, and to read them by plan takes a third of the time.
        """
        if len(shape) > MAX_METRICS or any(len(key) > MAX_KEY for key in shape):
            return None
        meanings = [(key, self._aliases.get(key) or self._learn(key)) for key in shape]
        unlike = len({known.name for _key, known in meanings}) == len(meanings)
        plan: _Plan | None = None
        if unlike and all(known.kind is not Kind.SKIP for _key, known in meanings):
            plan = [(key, known.name, known.kind, known) for key, known in meanings]
        if len(self._plans) < _MAX_PLANS:
            self._plans[shape] = plan
        return plan

    def _read_slowly(self, record: Mapping[str, Any]) -> Row:
        """Read a record in which several keys may stand for one metric: the best wins, the others keep their names."""
        row = Row()
        orders: dict[str, tuple[int, str]] = {}
        for key, value in record.items():
            known = self._aliases.get(key) or self._learn(key)
            if known.kind is Kind.SKIP:
                continue
            if value is None:
                if len(row.nulls) < MAX_METRICS and known.kind not in _UNCOUNTED:
                    row.nulls.append(known.name)
            elif known.kind is not _OTHER:
                self._take(row, orders, key, known, value)
            elif (found := number(value, quoted=False)) is None:
                self._leave(key, value)
            elif len(row.values) < MAX_METRICS:
                row.values.setdefault(known.name, found)
        row.nulls = [name for name in row.nulls if name not in row.values]
        return row

    def kept(self, rows: Iterable[Row]) -> None:
        """Learn which rows became observations: a row of settings names much that is no metric."""
        for row in rows:
            self._kept.update(row.values)
            self._kept.update(row.nulls)

    def accounted(self, account: Account) -> Account:
        """Fill in which keys became which metrics, and which were no numbers."""
        for key, known in self._aliases.items():
            if known.kind in _UNCOUNTED or known.name in self._kept:
                account.took(key, known.name)
        for key, example in self._texts.items():
            account.ignored.setdefault(f"{key}: no number", (1, example))
        if self.full:
            account.ignored.setdefault(f"names beyond the first {MAX_NAMES:,}", (1, ""))
        return account

    def opened(self, keys: Iterable[str]) -> None:
        """Learn that these keys hold objects whose values were read one by one: nothing of them was left out."""
        for key in keys:
            self._texts.pop(key, None)

    def _leave(self, key: str, value: object) -> None:
        if key not in self._texts and len(self._texts) < MOST:
            self._texts[key] = storable(repr(value)[:LONGEST], LONGEST)

    def _take(self, row: Row, orders: dict[str, tuple[int, str]], key: str, known: Alias, value: object) -> None:
        name = known.name
        found = _convert(row, known, value, better=name not in orders or known.order < orders[name][0])
        if found is None:
            return
        if name in orders:
            order, holder = orders[name]
            if known.order > order:
                if key != name and known.kind is not Kind.STEP:
                    row.values[key] = found
                return
            if holder != name and name in row.values:
                row.values[holder] = row.values[name]
        orders[name] = (known.order, key)
        if known.kind not in _UNCOUNTED:
            row.values[name] = found
            if known.kind is Kind.PERCENT:
                row.percent |= {name}

    def _learn(self, key: str) -> Alias:
        """Decide once what a key means. The memory is bounded: past the bound, unknown names are left out."""
        known = alias(key)
        if known is not None:
            if self._evaluations and known.name in EVAL_NAMES:
                known = Alias(EVAL_NAMES[known.name], known.kind, known.order + 100)
        elif not key or len(key) > MAX_KEY or self._names >= MAX_NAMES:
            self.full = self.full or self._names >= MAX_NAMES
            return _SKIP
        else:
            self._names += 1
            known = Alias(key if key.isprintable() else clean(key), Kind.OTHER)
        self._aliases[key] = known
        return known


def _meant(name: str) -> Alias:
    known = alias(name)
    return Alias(name, Kind.OTHER) if known is None else Alias(known.name, known.kind, -1)


def _convert(row: Row, known: Alias, value: object, *, better: bool) -> float | None:
    """Return the value as a float. Steps and moments go straight into the row, if they are the better ones."""
    kind = known.kind
    if kind is _NUMBER or kind is Kind.PERCENT:
        return number(value)
    if kind is _STEP or kind is Kind.PROGRESS:
        return _take_step(row, kind, value, better)
    if kind is _TIME:
        return _take_moment(row, known, value, better)
    if kind is Kind.GIBIBYTES:
        found = number(value)
        return None if found is None else found * 1024
    return megabytes(value) if kind is Kind.MEMORY else duration(value)


def _take_step(row: Row, kind: Kind, value: object, better: bool) -> float | None:
    step, total = progress(value) if kind is Kind.PROGRESS else (whole(value), None)
    if step is None or not better:
        return None
    row.step = step
    if total is not None:
        row.values.setdefault("total_steps", float(total))
    return float(step)


def _take_moment(row: Row, known: Alias, value: object, better: bool) -> float | None:
    at = moment(value)
    if at is None and known == STOPWATCH and (seconds := number(value, quoted=False)) is not None:
        row.values["time"] = seconds
    if at is None or not better:
        return None
    row.at = at
    return at


def is_summary(record: Mapping[str, Any]) -> bool:
    """Tell the row that ends a Hugging Face run (means over the whole run) from a point of the curve."""
    return "train_runtime" in record and "loss" not in record


def is_point(record: Mapping[str, Any], row: Row) -> bool:
    """Tell a row that measured something from one that only counts steps."""
    if "current_steps" in record:
        # LLaMA-Factory ends with a row of progress alone, and writes such rows when it predicts.
        return not _FACTORY.isdisjoint(row.values) or not _FACTORY.isdisjoint(row.nulls)
    return not row.values.keys() <= _PROGRESS or bool(row.nulls)


def storable(text: str, limit: int) -> str:
    """Return a text from a file as one that any database and any terminal's writer takes, cut to `limit`."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def bounded(value: object, *, depth: int = 5, width: int = 64, length: int = 4000) -> Json:
    """Return a JSON value cut to a bounded size, with nothing in it that JSON or a database would refuse."""
    if isinstance(value, str):
        return storable(value, length)
    if isinstance(value, list) and depth:
        return [bounded(item, depth=depth - 1, width=width, length=length) for item in value[:width]]
    if isinstance(value, dict) and depth:
        pairs = list(value.items())[:width]
        return {storable(k, MAX_KEY): bounded(v, depth=depth - 1, width=width, length=length) for k, v in pairs}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) and abs(value) < MAX_INT else None
