"""The header of a CSV log: what counts its rows, what dates them, and which column is which metric."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smartmon.sources.account import Account
from smartmon.sources.aliases import Kind, alias
from smartmon.sources.naming import Named, Naming
from smartmon.sources.numbers import moment, number, whole
from smartmon.sources.rows import MAX_METRICS, STOPWATCH, Row

GENERIC = "CSV"
DEEPSPEED = "DeepSpeed's csv_monitor (steps count samples)"
LONGEST = 1 << 18
"""Bytes of a header; a longer line is none."""
DELIMITERS = (",", ";", "\t")
_NO_KEYS: Mapping[str, str] = {}
_STEPS = (
    "training_iteration",
    "time/total_timesteps",
    "total_timesteps",
    "timesteps_total",
    "misc/total_timesteps",
    "time/iterations",
    "steps",
    "num_steps",
    "iterations",
    "train_step",
    "nupdates",
    "misc/nupdates",
)
"""What counts steps only at the head of a column, after the names that count them anywhere: RLlib, Baselines."""
_EPOCHS = ("epoch", "epochs", "current_epoch", "train/epoch")
_WANDB = frozenset({"_step", "_runtime", "_timestamp"})
_TENSOR = re.compile(r"tensor\(\s*([^,()\s]+)[^()]*\)")
_TRAIN, _VAL = re.compile(r"train/\w+_loss"), re.compile(r"val/\w+_loss")
_MAP = ("metrics/map50(b)", "metrics/map_0.5(b)", "metrics/map_0.5")
_EVALUATIONS = re.compile(r"(eval|val|valid|validation|test)([_\-].*|)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows under one header are read."""

    text: str
    """The header as it stands in the file."""
    delimiter: str
    names: tuple[str, ...]
    dialect: str
    step: int | None
    epoch: int | None
    clock: int | None
    stopwatch: int | None
    """Where `time` stands: seconds since the start as often as a moment."""
    columns: tuple[tuple[int, Named], ...]
    sums: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Metric -> those whose sum it is."""
    order: tuple[int, ...] = ()
    """The columns in the order of their names."""
    plain: tuple[tuple[int, str], ...] = ()
    """Of the columns those whose numbers are taken as they are."""
    odd: tuple[tuple[int, Named], ...] = ()
    """The others."""

    @property
    def single(self) -> bool:
        """Whether it is one of many files that hold one metric each."""
        return self.dialect == DEEPSPEED

    def row(self, cells: list[str], *, careful: bool) -> Row:
        """Return the row of as many cells as the header has. `careful`: a cell may look like a number and be none."""
        row = Row()
        values = row.values
        for index, named in self.odd if not careful else self.columns:
            if (value := self._convert(cells[index], named)) is not None:
                values[named.name] = value
                if named.kind is Kind.PERCENT:
                    row.percent |= {named.name}
        for index, name in self.plain if not careful else ():
            if cell := cells[index]:
                try:
                    values[name] = float(cell)
                except ValueError:
                    if (value := self._convert(cell, Named(name))) is not None:
                        values[name] = value
        for name, parts in self.sums:
            if all(part in values for part in parts):
                values[name] = sum(values[part] for part in parts)
        row.step = self.whole(cells, self.step)
        if self.clock is not None:
            row.at = moment(cells[self.clock].strip())
        if self.stopwatch is not None and (at := moment(cells[self.stopwatch].strip())) is not None:
            values.pop("time", None)
            row.at = row.at if row.at is not None else at
        return row

    @staticmethod
    def whole(cells: list[str], index: int | None) -> int | None:
        """Return the step or the epoch in a column."""
        if index is None:
            return None
        cell = cells[index]
        if cell.isdigit() and cell.isascii() and len(cell) < 16:
            return int(cell)
        return whole(cell.strip())

    def mark(self, cells: list[str]) -> bytes:
        """Return what a row is known by: its cells in the order of their names; a new column changes nothing."""
        return "\x1f".join(filter(None, map(cells.__getitem__, self.order))).encode("utf-8", "replace")

    def _convert(self, cell: str, named: Named) -> float | None:
        """Return the number of a cell that is written in some other way."""
        text = cell.strip()
        if not text:
            return None
        value = named.convert(text)
        if value is None and self.delimiter == ";" and text.count(",") == 1:
            value = named.convert(text.replace(",", "."))  # where the comma is the decimal point
        if value is None and (match := _TENSOR.fullmatch(text)):
            value = named.convert(match[1])
        return value

    def is_header(self, cells: list[str]) -> bool:
        """Whether a row repeats this header, as a trainer does that was started again."""
        return [cell.strip() for cell in cells] == list(self.names)


def split(text: str, delimiter: str) -> list[str]:
    """Return the cells of a line."""
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return text.split(delimiter)


def unclosed(text: str, delimiter: str) -> bool:
    """Whether a quoted cell goes on in the next line."""
    if text.count('"') % 2 == 0:
        return False
    return any(cell.lstrip().startswith('"') for cell in text.split(delimiter))


def layout_of(
    text: str, path: Path, account: Account | None = None, keys: Mapping[str, str] = _NO_KEYS
) -> Layout | None:
    """Return what a line says as a header; None if it is none: it must count steps or epochs, and name something else.

    `keys` are names of columns that the config says the meaning of.

    A YOLO log has no total loss. Its users watch the sum of the parts, so that `loss` is the sum of `train/*_loss`
    and `eval_loss` that of `val/*_loss`; the parts stay what they are. mAP at 0.5 is judged as `eval_accuracy`.
    """
    if len(text) > LONGEST:
        return None
    text = text.lstrip("#").strip("\r\n ")
    delimiter = max(DELIMITERS, key=text.count)
    written = [name.strip() for name in split(text, delimiter)]
    names = [keys.get(name, name) for name in written]
    if len(names) < 2:
        return None
    lower = [name.lower() for name in names]
    step, epoch = _step(lower), _first(lower, _EPOCHS)
    # The quicker question first: rows of thousands of cells are asked too.
    if (step is None and epoch is None) or any(number(name) is not None for name in names):
        return None
    dialect, evaluations = _dialect(names, lower, path)
    naming = Naming(Account() if account is None else account, evaluations=evaluations)
    clocks = {index: known for index, name in enumerate(names) if (known := alias(name)) and known.kind is Kind.TIME}
    stopwatch = next((index for index, known in clocks.items() if known == STOPWATCH), None)
    clock = min((index for index in clocks if index != stopwatch), key=lambda index: clocks[index].order, default=None)
    chosen: dict[str, int] = {}
    for index, name in enumerate(names):
        if index != step and lower[index] not in _STEPS and naming.of(name) is not None:
            chosen.setdefault(name, index)
    # Only now is it certain which of several names for one thing is the best.
    named = [(index, found) for name, index in chosen.items() if (found := naming.of(name)) is not None]
    named = sorted(named, key=lambda pair: pair[1].kind is Kind.OTHER)[:MAX_METRICS]
    if not named or all(found.name == "epoch" for _, found in named):
        return None
    return Layout(
        text,
        delimiter,
        tuple(written),
        dialect,
        step,
        epoch,
        clock,
        stopwatch,
        tuple(named),
        _sums([found.name for _, found in named]),
        tuple(sorted(range(len(names)), key=names.__getitem__)),
        tuple((index, found.name) for index, found in named if found.plain),
        tuple((index, found) for index, found in named if not found.plain),
    )


def _step(lower: list[str]) -> int | None:
    """Return where the step stands. W&B counts its rows in `_step`, and its users count so too."""
    if set(lower) >= _WANDB:
        return lower.index("_step")
    orders = {}
    for index, name in enumerate(lower):
        known = alias(name)
        if known is not None and known.kind in (Kind.STEP, Kind.PROGRESS):
            orders[index] = known.order
        elif name in _STEPS:
            orders[index] = 1000 + _STEPS.index(name)
    return min(orders, key=orders.__getitem__, default=None)


def _first(lower: list[str], names: tuple[str, ...]) -> int | None:
    return next((lower.index(name) for name in names if name in lower), None)


def _dialect(names: list[str], lower: list[str], path: Path) -> tuple[str, bool]:
    """Return who writes such a table, and whether it holds evaluations only."""
    stem = path.stem
    if lower[0] == "step" and len(names) == 2 and stem.endswith("_" + names[1]):
        # The rest of the tag is only in the file's name: Train_Samples_lr.csv
        return DEEPSPEED, bool(_EVALUATIONS.fullmatch(stem))
    evaluations = bool(_EVALUATIONS.fullmatch(stem)) and not any("train" in name for name in lower)
    signs = (
        ("YOLO", any(name.startswith("metrics/") for name in lower) and "epoch" in lower),
        ("W&B", set(lower) >= _WANDB),
        ("RLlib", "training_iteration" in lower),
        ("Stable-Baselines3", "time/total_timesteps" in lower),
        ("Lightning", names == sorted(names) and "step" in lower and path.name == "metrics.csv"),
        ("Keras", lower[0] == "epoch" and "step" not in lower and "loss" in lower),
    )
    return next((name for name, found in signs if found), GENERIC), evaluations


def _sums(names: list[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not any(name.startswith("metrics/") for name in names):
        return ()
    found: list[tuple[str, tuple[str, ...]]] = []
    for target, pattern in (("loss", _TRAIN), ("eval_loss", _VAL)):
        parts = tuple(name for name in names if pattern.fullmatch(name))
        if target not in names and len(parts) > 1:
            found.append((target, parts))
    scores = [name for known in _MAP for name in names if name.lower() == known]
    if scores and "eval_accuracy" not in names:
        found.append(("eval_accuracy", (scores[0],)))
    return tuple(found)
