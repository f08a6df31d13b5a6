"""Why a file was read as it was, what was found in it, and what was left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from smartmon.errors import SourceError
from smartmon.records import Batch, Json, Note, StatusReport
from smartmon.sources import trouble
from smartmon.sources.account import Account
from smartmon.sources.base import Source, SourceSpec, shown
from smartmon.sources.discovery import discover, run_sources
from smartmon.sources.folders import Folders
from smartmon.sources.logs import ONE_A_FOLDER
from smartmon.sources.registry import open_source
from smartmon.sources.sniff import RANKS, examine, replay_source, why_not

MOST_METRICS = 256
MOST_RUNS = 20


@dataclass(slots=True)
class Explained:
    """One file, or folder of files that are read together."""

    path: Path
    format: str = ""
    """Empty where nothing here reads it."""
    why: str = ""
    """Why it was read so, or why it cannot be read."""
    dialect: str = ""
    rank: str = ""
    """Which of several sources of a run owns a metric: `stream` before `text` before `state` before `status`."""
    rows: int = 0
    first_step: int | None = None
    last_step: int | None = None
    first_at: float | None = None
    last_at: float | None = None
    timed: bool = True
    """Whether the rows have times of their own."""
    metrics: dict[str, int] = field(default_factory=dict)
    """Name that a metric is kept under -> how many values it has."""
    latest: dict[str, float] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    """Key as the trainer writes it -> name, where the two differ."""
    ignored: dict[str, tuple[int, str]] = field(default_factory=dict)
    """What was left out -> how often, and the first example."""
    status: StatusReport | None = None
    notes: list[Note] = field(default_factory=list)

    def to_json(self) -> dict[str, Json]:
        """Return it as JSON."""
        times = None if self.first_at is None else [self.first_at, self.last_at]
        return {
            "path": shown(self.path),
            "format": self.format or None,
            "why": self.why,
            "dialect": self.dialect or None,
            "rank": self.rank or None,
            "rows": self.rows,
            "steps": None if self.first_step is None else [self.first_step, self.last_step],
            "times": times,
            "own_times": self.timed,
            "metrics": [
                {"name": name, "values": count, "latest": self.latest.get(name)} for name, count in self.metrics.items()
            ],
            "keys": self.keys,
            "ignored": [{"what": w, "count": n, "example": e} for w, (n, e) in self.ignored.items()],
            "status": None if self.status is None else {"word": self.status.word, "step": self.status.step},
            "notes": [note.message for note in self.notes],
        }


def explain(path: Path, now: float, options: Mapping[str, Json] | None = None) -> list[Explained]:
    """Read a log to its end, or each log of a run's folder, and say what came of it. Changes nothing.

    A folder that is no run stands for the first 20 runs that are found in it.
    """
    runs = [run_sources(path)] if path.is_dir() else []
    if runs == [()]:
        found, _notes = discover([path])
        runs = [run.sources for run in found[:MOST_RUNS]]
    told = [each for specs in runs for each in _run(specs, now, options)]
    return told or [_file(path, now, options)]


def _run(specs: Collection[SourceSpec], now: float, options: Mapping[str, Json] | None) -> Iterator[Explained]:
    """Explain the logs of one run, those first that own what several have; then those that another stands for."""
    there = sorted((spec for spec in specs if spec.path.exists()), key=lambda spec: -spec.rank)
    for spec in there:
        yield _read(open_source(_with(spec, options)), _why(spec), now)
    for spec in there:
        if spec.format in ONE_A_FOLDER:
            for other in _passed_over(spec.path, {each.path for each in there}, spec.format):
                yield Explained(other, why=f"{shown(spec.path.name)} beside it is newer: each start begins a log")


def _passed_over(read: Path, known: Collection[Path], format: str) -> Iterator[Path]:
    """Yield the older logs of the kind in a log's folder."""
    listing = Folders().list(str(read.parent))
    for name in listing.candidates if listing is not None else ():
        other = read.parent / name
        if other not in known and (found := examine(other)) is not None and found.format == format:
            yield other


def _file(path: Path, now: float, options: Mapping[str, Json] | None) -> Explained:
    try:
        source = replay_source(path, options)
    except SourceError:
        return Explained(path, why=why_not(path))
    found = examine(path, options)
    return _read(source, found.why if found else "", now)


def _with(spec: SourceSpec, options: Mapping[str, Json] | None) -> SourceSpec:
    return SourceSpec(spec.id, spec.format, spec.path, spec.rank, spec.root, {**spec.options, **(options or {})})


def _why(spec: SourceSpec) -> str:
    found = examine(spec.path)
    if found is not None and found.format == spec.format:
        return found.why
    if spec.path.is_dir():
        return "it holds folders of TensorBoard event files, one for each start"
    return "its name is that of a log that smartmon knows"


def _read(source: Source, why: str, now: float) -> Explained:
    spec = source.spec
    rank = RANKS.get(spec.format)
    told = Explained(spec.path, spec.format, why, rank=rank.name.lower() if rank is not None else "stream")
    for batch in _batches(source, now):
        told.notes += batch.notes
        told.status = batch.status or told.status
        for obs in batch.observations:
            told.rows += 1
            if told.first_step is None:
                told.first_step, told.first_at = obs.step, obs.at
            told.last_step, told.last_at, told.timed = obs.step, obs.at, obs.timed
            for name, value in obs.values.items():
                if name in told.metrics or len(told.metrics) < MOST_METRICS:
                    told.metrics[name] = told.metrics.get(name, 0) + 1
                    told.latest[name] = value
    account = getattr(source, "account", None)
    if isinstance(account, Account):
        told.dialect = account.dialect
        told.keys = {key: name for key, name in account.metrics.items() if key != name}
        told.ignored = dict(account.ignored)
    return told


def _batches(source: Source, now: float) -> Iterator[Batch]:
    cursor: Mapping[str, Json] | None = None
    while True:
        batch = source.read(cursor, now)
        yield batch
        cursor = batch.cursor
        if not batch.more and cursor.get("trouble"):
            # A watch gives it time to become whole before it tells; here nobody looks again.
            yield source.read(cursor, now + 2 * trouble.GRACE)
        if not batch.more:
            return
