"""Finds the runs in the base dirs: which folder is one, what it is called, and which files tell about it."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from smartmon.records import Json, Note, Severity, SourceRank
from smartmon.sources.base import FoundRun, SourceSpec, shown
from smartmon.sources.claims import Claims
from smartmon.sources.folders import BOARD_RUN, BOARDS, Folder, Folders
from smartmon.sources.logs import Logs
from smartmon.sources.looks import Looks
from smartmon.sources.sniff import RANKS, sniff
from smartmon.text import count

DEPTH = 4
MAX_FOLDERS = 20_000

STATUS = ("training_status.json", "training_detail.json")
_STATE_NAME = "trainer_state.json"


class RunEntry(Protocol):
    """What discovery takes from a `[[runs]]` entry of the config."""

    @property
    def name(self) -> str | None:
        """The run's name; None: as if it had been found."""
        ...

    @property
    def path(self) -> Path:
        """The run's folder."""
        ...

    @property
    def logs(self) -> Sequence[Path]:
        """Logs that cannot be found: paths or patterns, relative to the run's folder."""
        ...

    @property
    def checkpoint_dir(self) -> Path | None:
        """Where the checkpoints are, if not in the run's folder."""
        ...

    @property
    def pattern(self) -> Sequence[str]:
        """Regular expressions with named groups that read the lines of its logs."""
        ...

    @property
    def keys(self) -> Mapping[str, str]:
        """What the keys of its logs mean: theirs -> ours."""
        ...


class Discovery:
    """Finds runs again and again; remembers what it listed, and tells each trouble once."""

    def __init__(self, *, skip: Iterable[Path] = (), depth: int = DEPTH, patience: float | None = None) -> None:
        """`skip`: folders of ours that may lie in a base dir under any name.

        `patience`: seconds of the processor for which one scan looks into files of unknown names; None: into all.
        """
        self._folders = Folders({os.path.realpath(path) for path in skip})
        self._logs = Logs(patience)
        self._named_logs = Looks(sniff)
        """What was seen in the logs that the config names: it may tell how to read them."""
        self._claims = Claims()
        self._claimed: set[Path] = set()
        """Folders that a run's status ever claimed: they do not become runs when it claims another."""
        self._depth = depth
        self._told: set[tuple[str, str]] = set()

    def scan(
        self, base_dirs: Iterable[Path], runs: Iterable[RunEntry] = (), *, names: Mapping[Path, str] | None = None
    ) -> tuple[list[FoundRun], list[Note]]:
        """Return every run once, sorted by name, and what is new to be said about the search.

        Base dirs may be patterns and may lie in one another: a run belongs to the innermost. `names` are the names
        that runs already have, so that a new base dir renames none.
        """
        self._folders.begin()
        self._named_logs.begin()
        bases, runs = expand(base_dirs), list(runs)
        stops = {identity for base in bases if (identity := _identity(base)) is not None}
        found: dict[Path, FoundRun] = {}
        walks = [(base, list(self._walk(base, stops))) for base in bases]
        keys = {Path(os.path.realpath(entry.path)): entry.keys for entry in runs if entry.keys}
        self._logs.begin(self._folders.listed(), keys)
        for base, walked in walks:
            for path, relative, folder in walked:
                if sources := tuple(self._sources(path, base, folder)):
                    found[path] = FoundRun(shown(relative or base.name or "/"), path, base, sources)
        self._join_claimed(found)
        named = [place for entry in runs if (place := self._add_named(entry, bases, found)) is not None]
        ordered = dict.fromkeys([*named, *found])
        result = _with_names([found[path] for path in ordered], set(named), names or {})
        return sorted(result, key=lambda run: run.name), [*self._new_notes()]

    def _join_claimed(self, found: dict[Path, FoundRun]) -> None:
        """Make the folders where other runs' checkpoints appear part of those runs."""
        for path, run in list(found.items()):
            claimed = self._claims.of(path, run.sources)
            if claimed is not None:
                self._claimed.add(claimed)
                # What lies in the usual places is of an earlier training.
                others = (spec for spec in run.sources if spec.format != "trainer_state")
                state = SourceSpec(shown(claimed / _STATE_NAME), "trainer_state", claimed, SourceRank.STATE)
                found[path] = replace(run, sources=(*others, state), checkpoint_dir=claimed)
        for path in self._claimed & found.keys():
            # With a status of its own, a folder speaks for itself.
            if not any(spec.format == "status" for spec in found[path].sources):
                del found[path]

    @property
    def behind(self) -> int:
        """How many files the last scan had no more patience to look into."""
        return self._logs.behind

    def _walk(self, base: Path, stops: Collection[tuple[int, int]]) -> Iterator[tuple[Path, str, Folder]]:
        """Yield the folders to look at, without following links and without entering another base dir."""
        waiting = [(str(base), "", 0)]
        seen = 0
        while waiting:
            path, relative, depth = waiting.pop()
            folder = self._folders.list(path)
            if folder is None or (depth and folder.identity in stops):
                continue
            seen += 1
            if seen > MAX_FOLDERS:
                self._folders.tell(str(base), f"has more than {count(MAX_FOLDERS)} folders; name runs in [[runs]]")
                return
            name = os.path.basename(path)  # noqa: PTH119 - some thousand folders a scan
            # These are part of the run around them.
            if not depth or not (name == "logs" or (name in BOARDS and folder.events is not None)):
                yield Path(path), relative, folder
            if depth < self._depth:
                above = path.rstrip("/")
                below = [each for each in folder.folders if name != "runs" or not BOARD_RUN.fullmatch(each)]
                waiting += [(f"{above}/{each}", f"{relative}/{each}".lstrip("/"), depth + 1) for each in below]

    def _sources(self, path: Path, root: Path | None, folder: Folder) -> Iterator[SourceSpec]:
        """Yield what tells about the run in a folder, streams first; nothing if it is none."""
        yield from self._logs.of(path, "", folder, root)
        for part in ("logs", *BOARDS, "training_viz"):
            inner = self._folders.list(str(path / part)) if part in folder.parts else None
            if inner is not None and (part not in BOARDS or inner.events is not None):
                yield from self._logs.of(path / part, f"{part}/", inner, root)
        if "runs" in folder.parts:
            yield from self._board(path, root)
        model = self._folders.list(str(path / "current_model")) if "current_model" in folder.parts else None
        if folder.state or (model is not None and model.state):
            yield SourceSpec(_STATE_NAME, "trainer_state", path, SourceRank.STATE, root)
        if model is not None and "status" in model.parts:
            yield from self._statuses(path, "current_model/status/", root)
        if "status" in folder.parts:
            yield from self._statuses(path, "status/", root)

    def _board(self, path: Path, root: Path | None) -> Iterator[SourceSpec]:
        """Yield the event files of all starts that Hugging Face wrote below a run's `runs/`: one story."""
        listing = self._folders.list(str(path / "runs"))
        if listing is not None and any(BOARD_RUN.fullmatch(name) for name in listing.folders):
            yield SourceSpec("runs/", "tensorboard", path / "runs", SourceRank.STREAM, root, {"starts": True})

    def _statuses(self, path: Path, relative: str, root: Path | None) -> Iterator[SourceSpec]:
        """Yield the status files; one that is not there yet too, so that it is seen within a second of appearing."""
        folder = self._folders.list(str(path / relative))
        if folder is None or (folder.entries and not folder.known & {*STATUS}):
            return
        if STATUS[1] in folder.known:
            # The detail file may be older than the status: it does not speak for the run.
            detail = path / relative / STATUS[1]
            yield SourceSpec(relative + STATUS[1], "status", detail, SourceRank.STATUS, root, {"state": False})
        if STATUS[0] in folder.known or not folder.entries:
            yield SourceSpec(relative + STATUS[0], "status", path / relative / STATUS[0], SourceRank.STATUS, root)

    def _add_named(self, entry: RunEntry, bases: Sequence[Path], found: dict[Path, FoundRun]) -> Path | None:
        """Add a run of the config, or what the config says about a found one; return its folder."""
        path = Path(os.path.realpath(entry.path))
        known = found.get(path)
        base = known.base_dir if known else _home(path, bases)
        sources = {spec.id: spec for spec in known.sources} if known else {}
        if known is None and (folder := self._folders.list(str(path))) is not None:
            sources = {spec.id: spec for spec in self._sources(path, path, folder)}
        options = reading(entry)
        sources = {name: _read_as(spec, options) for name, spec in sources.items()}
        for spec in self._configured(entry, path):
            if spec.options or spec.id not in sources:
                sources[spec.id] = spec
        if base is None:
            return None
        inside = path.relative_to(base) if path.is_relative_to(base) else Path(path.name)
        name = entry.name or (known.name if known else shown(inside) if inside.parts else shown(base.name))
        claimed = known.checkpoint_dir if known else None
        found[path] = FoundRun(name, path, base, tuple(sorted(sources.values(), key=lambda s: -s.rank)), claimed)
        return path

    def _configured(self, entry: RunEntry, folder: Path) -> Iterator[SourceSpec]:
        """Yield the logs that the config names; they may lie anywhere, and need not be there yet."""
        for log in entry.logs:
            pattern = str(folder / log)
            magic = glob.has_magic(pattern) and not os.path.lexists(pattern)
            for match in _matches(pattern) if magic else [pattern]:
                path = Path(match)
                options = reading(entry)
                kind = "text" if entry.pattern else self._format(path, options)
                inside = path.relative_to(folder) if path.is_relative_to(folder) else path
                yield SourceSpec(shown(inside), kind, path, RANKS.get(kind, SourceRank.STREAM), options=options)
        if entry.checkpoint_dir is not None and folder / entry.checkpoint_dir != folder:
            place = folder / entry.checkpoint_dir
            yield SourceSpec(shown(place / _STATE_NAME), "trainer_state", place, SourceRank.STATE)

    def _format(self, log: Path, options: Mapping[str, Json]) -> str:
        if log.is_dir():
            return sniff(log) or _by_name(log)
        return self._named_logs.format(log, options) or _by_name(log)

    def _new_notes(self) -> Iterator[Note]:
        yield from self._logs.notes
        self._logs.notes = []
        for path, problem in self._folders.troubles:
            if (path, problem) not in self._told:
                self._told.add((path, problem))
                data = {"path": shown(path)}
                yield Note("warning", f"{shown(path)} {problem}", Severity.WARNING, data)


def discover(
    base_dirs: Iterable[Path],
    runs: Iterable[RunEntry] = (),
    *,
    skip: Iterable[Path] = (),
    names: Mapping[Path, str] | None = None,
) -> tuple[list[FoundRun], list[Note]]:
    """Look once. A daemon keeps a `Discovery`, which is quicker the second time and repeats no note."""
    return Discovery(skip=skip).scan(base_dirs, runs, names=names)


def run_sources(folder: Path) -> tuple[SourceSpec, ...]:
    """Return what tells about the run in a folder, streams first; nothing if it is none."""
    looker = Discovery()
    listing = looker._folders.list(str(folder))
    return () if listing is None else tuple(looker._sources(folder, None, listing))


def expand(base_dirs: Iterable[Path]) -> list[Path]:
    """Return the base dirs as real paths, each once, patterns replaced by the folders that match them."""
    found: dict[Path, None] = {}
    for base in base_dirs:
        text = str(base)
        matches = [text] if os.path.lexists(text) or not glob.has_magic(text) else _matches(text)
        found |= {Path(os.path.realpath(match)): None for match in matches if Path(match).is_dir()}
    return list(found)


def reading(entry: RunEntry) -> dict[str, Json]:
    """Return what the config says of how a run's logs are to be read, as a source takes it."""
    said: dict[str, Json] = {"pattern": list(entry.pattern), "keys": dict(entry.keys)}
    return {name: value for name, value in said.items() if value}


def _read_as(spec: SourceSpec, options: Mapping[str, Json]) -> SourceSpec:
    """Return a log that was found, with what the config says of how the logs of its run are to be read."""
    wanted = {"text": "pattern", "jsonl": "keys", "csv": "keys"}.get(spec.format, "")
    return replace(spec, options={**spec.options, wanted: options[wanted]}) if wanted in options else spec


def _by_name(path: Path) -> str:
    """Guess the format of a log that is not there yet, or still empty."""
    if path.name == _STATE_NAME:
        return "trainer_state"
    kinds = {".csv": "csv", ".log": "text", ".out": "text", ".txt": "text"}
    return "tensorboard" if ".tfevents." in path.name else kinds.get(path.suffix.lower(), "jsonl")


def _matches(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern))  # noqa: PTH207 - the one of Path would match hidden folders too


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _home(path: Path, bases: Sequence[Path]) -> Path | None:
    """Return the innermost base dir around a path, or the first where there is none."""
    around = [base for base in bases if path.is_relative_to(base)]
    return max(around, key=lambda base: len(base.parts), default=bases[0] if bases else None)


def _with_names(runs: Sequence[FoundRun], named: Collection[Path], known: Mapping[Path, str]) -> list[FoundRun]:
    """Give every run a name of its own: known and configured names first, then in the order of the base dirs."""
    keep = {run.path: known[run.path] for run in runs if run.path in known and run.path not in named}
    keep |= {run.path: run.name for run in runs if run.path in named}
    taken: set[str] = set()
    result = []
    for run in sorted(runs, key=lambda each: each.path not in keep):
        name = keep.get(run.path, run.name)
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        name = next(each for each in itertools.chain([name], _longer(run), numbered) if each not in taken)
        taken.add(name)
        result.append(replace(run, name=name))
    return result


def _longer(run: FoundRun) -> Iterator[str]:
    """Yield names with more and more of the base dir's path before them."""
    inside = run.path.relative_to(run.base_dir) if run.path.is_relative_to(run.base_dir) else Path(run.path.name)
    parts = run.base_dir.parts[1:]
    for used in range(1, len(parts) + 1):
        yield shown(Path(*parts[-used:], inside))
