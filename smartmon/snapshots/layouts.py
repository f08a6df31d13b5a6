"""The table of checkpoints as trainers name them, and the looks that tell a finished one from one being written."""

from __future__ import annotations

import contextlib
import enum
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from smartmon.records import Checkpoint
from smartmon.snapshots.complete import Reader, files_problem, folder_problem, read_range
from smartmon.snapshots.listing import (
    Entry,
    Listing,
    Skipped,
    entry_of,
    folder_at,
    folder_below,
    kind_of,
    list_tree,
    open_below,
)


def _loose_problem(_step: int, entries: Iterable[Entry], read: Reader) -> str:
    return files_problem({entry.name: entry.size for entry in entries}, read)


@dataclass(frozen=True, slots=True)
class Layout:
    """One trainer's way of naming checkpoints."""

    name: str
    pattern: re.Pattern[str]
    """Matches the whole name; its first group is the step."""
    folder: bool
    companion: str
    """For single files: the pattern of what belongs to the file, `{stem}` being its name without the ending."""
    problem: Callable[[int, Iterable[Entry], Reader], str]
    """What the checkpoint lacks; without a marker of its own, two still looks have to do."""
    marker: bool = False
    """Whether the trainer itself writes last what tells a finished checkpoint."""


LAYOUTS = (
    Layout("huggingface", re.compile(r"checkpoint-(\d{1,18})", re.ASCII), True, "", folder_problem, marker=True),
    Layout(
        "step_file",
        re.compile(r"checkpoint_step_(\d{1,18})\.bin", re.ASCII),
        False,
        r"{stem}(\.bin)?\.(embeddings|decoder)(\.\w+)?",
        _loose_problem,
    ),
)
"""A new trainer is one more line."""

BY_NAME = {layout.name: layout for layout in LAYOUTS}

MODEL_FILES = (
    # weights
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model*.bin.index.json"),
    *("adapter_model.bin", "consolidated*.pth", "model*.pt", "model*.pth", "*.gguf", "params.json"),
    # configuration
    *("config.json", "generation_config.json", "adapter_config.json", "model_config.json", "training_args.bin"),
    *("preprocessor_config.json", "processor_config.json", "chat_template.jinja", "chat_template.json"),
    # tokenizer
    *("tokenizer*.json", "tokenizer*.model", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
    *("vocab.txt", "merges.txt", "spiece.model", "sentencepiece*.model", "tekken.json"),
)
"""Files directly in the model folder that belong to the model. Data and logs never do."""

_MOST = 10_000
"""A folder with more entries is not a run's: discovery skips it too."""


def places(run: Path, checkpoint_dir: Path | None = None) -> tuple[Path, ...]:
    """Where a run's checkpoints may be: where config says, else in its folder and the two that trainers make in it."""
    return (checkpoint_dir,) if checkpoint_dir is not None else (run, run / "current_model", run / "checkpoints")


def find_checkpoints(run: Path, checkpoint_dir: Path | None = None) -> list[Checkpoint]:
    """Every checkpoint of a run that is there now, whole or not: lowest step first, of one step the oldest first."""
    found = []
    for place in places(run, checkpoint_dir):
        for layout, name, step in _named(place):
            with contextlib.suppress(OSError):
                listing = look(place / name, layout)
                if listing.entries or layout.folder:
                    found.append(_checkpoint(place, name, step, layout, listing))
    return sorted(found, key=lambda checkpoint: (checkpoint.step, checkpoint.mtime, checkpoint.path))


def _named(place: Path) -> Iterator[tuple[Layout, str, int]]:
    try:
        with os.scandir(place) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST))]
    except OSError:
        return
    for name in names:
        for layout in LAYOUTS:
            match = layout.pattern.fullmatch(name)
            if match is not None:
                yield layout, name, int(match[1])


def _checkpoint(place: Path, name: str, step: int, layout: Layout, listing: Listing) -> Checkpoint:
    path = place / name
    return Checkpoint(
        path=path,
        step=step,
        layout=layout.name,
        files=tuple(place / entry.name for entry in listing.entries),
        bytes=listing.bytes,
        mtime=path.lstat().st_mtime,
    )


def look(path: Path, layout: Layout) -> Listing:
    """List a checkpoint's files, by their paths below the folder it lies in. Raises OSError when it is not there."""
    with folder_below(path.parent) as place:
        if layout.folder:
            with folder_at(path.name, place) as root:
                return list_tree(root, f"{path.name}/")
        stem = re.escape(path.name.rpartition(".")[0])
        companion = re.compile(layout.companion.format(stem=stem))
        with os.scandir(place) as found:
            names = [entry.name for entry in found if entry.name == path.name or companion.fullmatch(entry.name)]
        return _files(place, names)


def look_at_model(folder: Path) -> Listing:
    """List the model's files directly in its folder."""
    try:
        with folder_below(folder) as root:
            with os.scandir(root) as found:
                names = [entry.name for entry, _ in zip(found, range(_MOST))]
            return _files(root, [name for name in names if is_model_file(name)])
    except OSError:
        return Listing(())


def is_model_file(name: str) -> bool:
    """Whether a file of this name, directly in the model folder, belongs to the model."""
    return any(fnmatchcase(name, pattern) for pattern in MODEL_FILES) and not any(
        layout.pattern.fullmatch(name) for layout in LAYOUTS
    )


def _files(root: int, names: Sequence[str]) -> Listing:
    entries, skipped = [], []
    for name in sorted(names):
        with contextlib.suppress(FileNotFoundError):
            seen = os.stat(name, dir_fd=root, follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode):
                entries.append(entry_of(name, seen))
            elif not stat.S_ISDIR(seen.st_mode):
                skipped.append(Skipped(name, kind_of(seen.st_mode)))
    return Listing(tuple(entries), tuple(skipped))


class Readiness(enum.Enum):
    """Whether a checkpoint may be copied."""

    READY = "ready"
    SETTLING = "settling"
    """Whole as far as its files tell, but not yet seen twice the same."""
    INCOMPLETE = "incomplete"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint as it looks now."""

    checkpoint: Checkpoint
    listing: Listing
    readiness: Readiness
    problem: str = ""


@dataclass(slots=True)
class _Look:
    stamp: object
    since: float
    problem: str


class Looks:
    """Remembers how checkpoints looked, so that two looks some time apart can be compared. Nothing here waits."""

    def __init__(self, settle: float) -> None:
        self.settle = settle
        self._seen: dict[Path, _Look] = {}

    def at(self, checkpoint: Checkpoint, now: float) -> Found:
        """Look at a checkpoint now."""
        layout = BY_NAME[checkpoint.layout]
        try:
            listing = look(checkpoint.path, layout)
            if not listing.entries:
                raise FileNotFoundError
            seen = self._look(
                checkpoint.path, listing, now, lambda: _problem(checkpoint.path.parent, checkpoint, listing)
            )
        except FileNotFoundError:
            return Found(checkpoint, Listing(()), Readiness.GONE, "it is gone")
        except OSError as error:
            return Found(checkpoint, Listing(()), Readiness.INCOMPLETE, f"it cannot be read: {error.strerror}")
        if seen.problem:
            return Found(checkpoint, listing, Readiness.INCOMPLETE, seen.problem)
        ready = now - seen.since >= self.settle
        return Found(checkpoint, listing, Readiness.READY if ready else Readiness.SETTLING)

    def still(self, folder: Path, listing: Listing, now: float) -> bool:
        """Whether the model folder's own files look as they did `settle` seconds ago."""
        return now - self._look(folder, listing, now, str).since >= self.settle

    def forget_gone(self) -> None:
        """Forget how things looked that are no longer there."""
        self._seen = {path: seen for path, seen in self._seen.items() if os.path.lexists(path)}

    def _look(self, path: Path, listing: Listing, now: float, problem: Callable[[], str]) -> _Look:
        seen = self._seen.get(path)
        # A clock that was set back must not make a fresh look an old one.
        if seen is None or seen.stamp != listing.stamp or now < seen.since:
            seen = self._seen[path] = _Look(listing.stamp, now, problem())
        return seen


def _problem(place: Path, checkpoint: Checkpoint, listing: Listing) -> str:
    layout = BY_NAME[checkpoint.layout]
    prefix = f"{checkpoint.path.name}/" if layout.folder else ""
    entries = [entry._replace(name=entry.name.removeprefix(prefix)) for entry in listing.entries]
    with folder_below(place) as root:

        def read(name: str, offset: int, length: int) -> bytes:
            descriptor = open_below(root, prefix + name)
            try:
                return read_range(descriptor, offset, length)
            finally:
                os.close(descriptor)

        return layout.problem(checkpoint.step, entries, read)
