"""What a trainer pushed: the last post of Hugging Face's `KubeflowCallback`, as the daemon's receiver stored it.

The trainer posts the step that it is at every few seconds, and beside it the values of its last log row, again and
again. So the step is what moves a run on, and a value counts once, at the step where it was first seen. What is not
finite counts once in every log row: a loss that stays NaN is worse than one that was.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from smartmon import stats
from smartmon.records import Batch, Json, Observation, RunState, SourceRank, StatusReport
from smartmon.sources import jsontext, trouble
from smartmon.sources.account import Account
from smartmon.sources.aliases import alias
from smartmon.sources.base import FoundRun, SourceSpec, shown, stat_key
from smartmon.sources.dating import plausible
from smartmon.sources.numbers import number, whole
from smartmon.sources.rows import MAX_METRICS, Row, RowReader
from smartmon.sources.safe_read import Changing, Missing, Unreadable, read_file

FOLDER = "push"
"""The folder in the state dir that holds a file for each run that was pushed."""
ID = "push"
MOST_RUNS = 1000
"""Files that are looked at; the daemon makes one for each folder that somebody names, and nobody names so many."""
_LONGEST_NAME = 200
_MEANS = ("train_loss", "train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos")
"""What the last log row of a run holds: means over the whole of it, which are no points of a curve."""


class Push:
    """Reads what was pushed last. With the option `state: false` it tells steps and values only.

    The trainer posts from within its loop, so it runs; it says 100 percent when the loop is over, and never before.
    Gets wrong: a run that was stopped early has completed, by its own word.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self.account = Account("Hugging Face push")
        self._rows = RowReader()
        self._pending = False

    def stamp(self) -> tuple[object, ...]:
        """One `stat` call."""
        return (*stat_key(self.spec.path), object() if self._pending else None)

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return the step, and the values that changed since the cursor."""
        last = dict(cursor or {})
        self._pending = False
        try:
            data = read_file(self.spec.path).data
            record = jsontext.load_object(data)
        except Missing:
            return Batch(last)
        except Changing:
            self._pending = True
            return Batch(last)
        except (Unreadable, jsontext.BadJson) as problem:
            return self._troubled(last, str(problem), now)
        note = trouble.recover(last.pop("trouble", None), now, kind="status_unreadable", what=shown(self.spec.id))
        notes = (note,) if note else ()
        digest = hashlib.sha256(data).hexdigest()[:32]
        if digest == last.get("digest"):
            return Batch(last, notes=notes)
        at = plausible(number(record.get("received_at")), now)
        metrics = self._metrics(record.get("trainerStatus"))
        row = self._rows.read(metrics)
        reached, fresh = _changed(row, metrics.get("epoch"), last)
        found = tuple(self._observations(fresh, now if at is None else at))
        report = StatusReport(
            at=now if at is None else at,
            state=self._state(record.get("trainerStatus")),
            step=fresh.step,
            total_steps=whole(row.values.get("total_steps")),
            epoch=row.values.get("epoch"),
        )
        return Batch(reached | {"digest": digest}, found, report, notes)

    def _troubled(self, last: dict[str, Json], problem: str, now: float) -> Batch:
        what = shown(self.spec.id)
        episode, note = trouble.worsen(last.get("trouble"), problem, now, kind="status_unreadable", what=what)
        self._pending = not episode["noted"]
        return Batch(last | {"trouble": episode}, notes=(note,) if note else ())

    def _state(self, status: object) -> RunState | None:
        percent = number(status.get("progressPercentage")) if isinstance(status, Mapping) else None
        if percent is None or self.spec.options.get("state", True) is False:
            return None
        return RunState.COMPLETED if percent >= 100 else RunState.RUNNING

    def _metrics(self, status: object) -> dict[str, float]:
        """Return the numbers that a status holds, under the trainer's own names."""
        if not isinstance(status, Mapping):
            return {}
        metrics = dict(self._numbers(status.get("metrics")))
        if "train_runtime" in metrics:
            metrics = {name: value for name, value in metrics.items() if name not in _MEANS}
        remaining = number(status.get("estimatedRemainingSeconds"))
        if remaining is not None:
            metrics.setdefault("eta_seconds", remaining)
        for name in metrics:
            known = alias(name)
            self.account.took(name, name if known is None else known.name)
        return metrics

    def _numbers(self, given: object) -> Iterator[tuple[str, float]]:
        for entry in given[:MAX_METRICS] if isinstance(given, list) else ():
            name, value = (entry.get("name"), entry.get("value")) if isinstance(entry, Mapping) else (None, None)
            found = number(value)
            if isinstance(name, str) and found is not None:
                yield name, found
            else:
                self.account.ignore("metrics that are no numbers", f"{name} = {value}")

    def _observations(self, row: Row, at: float) -> Iterator[Observation]:
        if row.step is None:
            self.account.ignore("posts without a step")
            return
        self.account.rows += 1
        yield from row.observations(self.spec, at, True)


def _changed(row: Row, epoch: float | None, last: Mapping[str, Any]) -> tuple[dict[str, Json], Row]:
    """Return the cursor after a row, and the row without the values that were told before.

    `epoch` is the one that the trainer logged, and so tells one log row from the next. The last post of a run tells
    no step: what is new in it is of the last one that was told, or of a few steps later.
    """
    before: dict[str, Json] = dict(last.get("values") or {})
    reached: int | None = last.get("step")
    step = row.step if row.step is not None else reached
    if row.step is not None and reached is not None and row.step < reached:
        # Started again: what it says now is not what it said then, even where the numbers are the same.
        before = {}
    now: dict[str, Json] = {name: stats.encode(value) for name, value in row.values.items()}
    another = epoch is not None and epoch != last.get("epoch")
    fresh = {
        name: value
        for name, value in row.values.items()
        if name not in before
        or before[name] != now[name]
        # An evaluation has rows of its own.
        or (another and not math.isfinite(value) and not name.startswith("eval_"))
    }
    kept = dict(list({**before, **now}.items())[-MAX_METRICS:])
    cursor = {"step": step, "epoch": stats.encode(epoch), "values": kept}
    return cursor, replace(row, step=step, values=fresh, percent=row.percent & fresh.keys())


def path_of(state_dir: Path, run: str) -> Path:
    """The file that holds what was pushed for a run."""
    name = quote(run, safe=" ")
    if len(name) > _LONGEST_NAME:
        name = hashlib.sha256(run.encode("utf-8", "backslashreplace")).hexdigest()
    return state_dir / FOLDER / f"{name}.json"


def spec_for(state_dir: Path, run: str, *, state: bool = True) -> SourceSpec | None:
    """The source of a run that was pushed; None where it never was. `state`: it may say whether the run is over.

    It ranks as what is printed does: before a trainer's state, which comes once a save and would hold back the NaN of
    the hours between, and after every log.
    """
    path = path_of(state_dir, run)
    options = {} if state else {"state": False}
    return SourceSpec(ID, "push", path, SourceRank.TEXT, options=options) if path.is_file() else None


def with_pushes(found: Sequence[FoundRun], state_dir: Path, bases: Iterable[Path]) -> list[FoundRun]:
    """Give the runs that were pushed their source, and add those that have nothing else on disk yet.

    Hugging Face's Trainer writes nothing that tells of a run before its first checkpoint.
    """
    if not (state_dir / FOLDER).is_dir():
        return list(found)
    result = []
    for run in found:
        # A run with a status file speaks for itself.
        spec = spec_for(state_dir, run.name, state=all(source.format != "status" for source in run.sources))
        result.append(run if spec is None else replace(run, sources=(*run.sources, spec)))
    known, paths = {run.name for run in found}, {run.path for run in found}
    bases = list(bases)
    for name in _pushed(state_dir, {path_of(state_dir, name) for name in known}):
        place = place_of(name, bases)
        spec = spec_for(state_dir, name)
        if place is not None and place[0] not in paths and spec is not None:
            result.append(FoundRun(name, *place, (spec,)))
    return sorted(result, key=lambda run: run.name)


def place_of(run: str, bases: Iterable[Path]) -> tuple[Path, Path] | None:
    """Return the folder that a run of this name has or would have, and its base dir; None where there is none."""
    for base in bases:
        if run == base.name:
            return base, base
        parts = run.split("/")
        if any(not part or part.startswith(".") or "\0" in part for part in parts):
            continue
        folder = base / run
        if folder.is_dir() and os.path.realpath(folder) == os.path.join(os.path.realpath(base), *parts):  # noqa: PTH118
            return folder, base
    return None


def _pushed(state_dir: Path, known: Collection[Path]) -> Iterator[str]:
    """Yield the names of the runs that were pushed, less those that are known already."""
    files = [path for path in sorted((state_dir / FOLDER).glob("*.json")) if path not in known]
    for path in files[:MOST_RUNS]:
        try:
            name = jsontext.load_object(read_file(path).data).get("run")
        except (Unreadable, jsontext.BadJson):
            continue
        if isinstance(name, str) and path_of(state_dir, name) == path:
            yield name


def recognises(head: bytes, path: Path) -> str:  # noqa: ARG001 - every format's question is the same
    """Say why a file is of this format; empty when it is not."""
    try:
        record = json.loads(head)
    except (ValueError, RecursionError):
        return ""
    pushed = isinstance(record, dict) and isinstance(record.get("trainerStatus"), dict)
    return "it holds a trainerStatus, as Hugging Face's Trainer pushes it" if pushed else ""
