"""Which files of a folder are logs: those known by their names, and those that turn out to be logs when looked into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from smartmon.records import Json, Note, Severity, SourceRank
from smartmon.sources.base import SourceSpec, shown
from smartmon.sources.folders import Folder
from smartmon.sources.looks import Looks
from smartmon.sources.sniff import RANKS, stumbled

LOGS = {"training_log.jsonl": "jsonl", "trainer_log.jsonl": "jsonl", "logging.jsonl": "jsonl"}
"""Known log -> its format."""
COMPANIONS = ("eval_log.jsonl", "expert_usage_log.jsonl", "error_log.jsonl")
"""Logs that count only beside a `training_log.jsonl`."""
HISTORIES = ("metrics_history.json", "text_samples.json")
ONE_A_FOLDER = frozenset({"text", "jsonl"})
"""Formats of which the newest file of a folder is the run's: each start of a trainer begins another."""
LATER = 120.0
"""Seconds by which another file must be the newer one to take over: two that grow together must not alternate."""


class Logs:
    """Tells the logs of folders; remembers what it looked into, and forgets what is gone."""

    def __init__(self, patience: float | None = None) -> None:
        self._looks = Looks(stumbled, patience)
        self._keys: Mapping[Path, Mapping[str, Json]] = {}
        self._chosen: dict[tuple[str, str], Path] = {}
        """Folder and format -> the file that is read."""
        self.notes: list[Note] = []
        self._rivals: dict[Path, tuple[float, float]] = {}
        """A log that is not read -> when the one that is read, and it, had been written when it was first seen."""
        self._told: set[Path] = set()

    @property
    def behind(self) -> int:
        """How many files of this scan were left for the next one."""
        return self._looks.behind

    def begin(self, listed: Iterable[tuple[str, Folder]], keys: Mapping[Path, Mapping[str, Json]]) -> None:
        """Start a scan that comes through these folders. `keys`: run's folder -> what the config says of its keys."""
        there = self._looks.known
        self._chosen = {key: path for key, path in self._chosen.items() if path in there}
        self._rivals = {path: times for path, times in self._rivals.items() if path in there}
        self._told = {path for path in self._told if path in there}
        self._keys = keys
        self._looks.begin()
        files = (Path(path, name) for path, folder in listed for name in folder.candidates)
        self._looks.ahead((file, self._options(file)) for file in files)

    def of(self, path: Path, relative: str, folder: Folder, root: Path | None) -> Iterator[SourceSpec]:
        """Yield the logs in a folder of a run; `relative` is the folder's path below the run's, with a slash."""
        for name, kind in LOGS.items():
            if name in folder.known:
                yield _spec(path / name, relative, kind, root)
        if "training_log.jsonl" in folder.known:
            for name in COMPANIONS:
                if name in folder.known:
                    yield _spec(path / name, relative, "jsonl", root)
        if folder.events is not None:
            yield SourceSpec(relative or ".", "tensorboard", path, SourceRank.STREAM, root)
        yield from self._found(path, relative, folder, root)
        for name in HISTORIES:
            if name in folder.known:
                yield _spec(path / name, relative, "history", root)

    def _found(self, path: Path, relative: str, folder: Folder, root: Path | None) -> Iterator[SourceSpec]:
        """Yield the logs that no name tells: those that grow by one file a start, the newest only."""
        found: dict[str, list[Path]] = {}
        for name in folder.candidates:
            if (kind := self._looks.format(path / name, self._options(path / name))) is not None:
                found.setdefault(kind, []).append(path / name)
        named = not folder.known.isdisjoint(LOGS)
        for kind in sorted(found, key=lambda kind: -RANKS.get(kind, SourceRank.STREAM)):
            files = found[kind]
            if kind in ONE_A_FOLDER:
                # Beside a log of a known name, JSON Lines of any other are somebody's data or a second copy.
                files = [] if named and kind == "jsonl" else [self._newest(path, kind, files)]
            yield from (_spec(file, relative, kind, root) for file in files)

    def _options(self, file: Path) -> Mapping[str, Json] | None:
        """Return what the config says of the logs of the run that a file may belong to: in its folder, or one below."""
        keys = self._keys.get(file.parent) or self._keys.get(file.parent.parent)
        return {"keys": keys} if keys else None

    def _newest(self, folder: Path, kind: str, files: list[Path]) -> Path:
        """Return the file that was written last; the one in use stays while it is about as new."""
        newest = max(files, key=lambda file: (self._looks.known[file].mtime, file.name))
        key = (str(folder), kind)
        used = self._chosen.get(key)
        looks = self._looks.known
        if used in files and used is not None and looks[newest].mtime - looks[used].mtime <= LATER:
            for other in files:
                if other != used:
                    self._rival(folder, used, other)
            return used
        self._chosen[key] = newest
        return newest

    def _rival(self, folder: Path, used: Path, other: Path) -> None:
        """Say once that two logs of a folder grow side by side; one that just ended is no rival."""
        now = (self._looks.known[used].mtime, self._looks.known[other].mtime)
        before = self._rivals.setdefault(other, now)
        if other in self._told or now[0] <= before[0] or now[1] <= before[1]:
            return
        self._told.add(other)
        text = (
            f"{shown(folder)} holds two logs that both grow; {shown(used.name)} is read, {shown(other.name)} is not: "
            "give each run a folder of its own, or name it and its log under [[runs]]"
        )
        self.notes.append(Note("warning", text, Severity.WARNING, {"path": shown(other)}))


def _spec(path: Path, relative: str, kind: str, root: Path | None) -> SourceSpec:
    return SourceSpec(shown(relative + path.name), kind, path, RANKS.get(kind, SourceRank.STREAM), root)
