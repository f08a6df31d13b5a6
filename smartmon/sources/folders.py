"""Listings of folders, reduced to what discovery needs and remembered until a folder changes."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from smartmon.text import count

MAX_ENTRIES = 10_000

_NAMES = (
    "training_log.jsonl",
    "eval_log.jsonl",
    "expert_usage_log.jsonl",
    "error_log.jsonl",
    "trainer_log.jsonl",
    "logging.jsonl",
    "training_status.json",
    "training_detail.json",
    "trainer_state.json",
    "metrics_history.json",
    "text_samples.json",
)
_KNOWN = re.compile("|".join(map(re.escape, _NAMES)))
_CHECKPOINT = re.compile(r"checkpoint-\d+")
_SHARDS = re.compile(r"iter_\d{7}|global_step_?\d+|step-\d+")
"""Checkpoint folders of other trainers: thousands of files, and no run in them."""
_EVENTS = re.compile(r"events\.out\.tfevents\.(\d{1,12})?.*")
BOARDS = ("tensorboard", "tb", "tb_logs", "tensorboard_logs")
"""Folders whose own event files belong to the run around them; runs in folders below are runs of their own."""
BOARD_RUN = re.compile(r"[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_.+")
"""How Hugging Face names the folder of one start, in `runs/`: `Nov21_07-38-01_host`."""
_PARTS = frozenset({"status", "logs", "current_model", "training_viz", "runs", *BOARDS})
"""Folders that belong to the run around them, or hold what does."""
_NEVER = frozenset(
    {"snapshots", "node_modules", "site-packages", "__pycache__", "status", "current_model", "training_viz"}
)
SET_ASIDE = ".smartmon-queue"
"""A file that says: no runs here. A log of a queue job that is over would look like one."""
PICTURES = ".smartmon-pictures"
"""A file that says: the histories beside it are ours, drawn from what was read already. They are not read again."""
_HISTORIES = frozenset({"metrics_history.json", "text_samples.json"})
_MAYBE = re.compile(r"[^.].*\.(?:log|out|txt|csv|jsonl)", re.IGNORECASE)
_NO_LOG = re.compile(
    r"smart_monitor_.*|training_detail\.jsonl|requirements.*|readme.*|license.*|merges\.txt|vocab\.txt", re.IGNORECASE
)
MAX_CANDIDATES = 64
"""Files of one folder that are looked into for a log of any name."""
_OF_AN_ENDING = 16
"""Of each ending, where there are more: the newest, for each start of a trainer may begin another."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds, as far as it matters."""

    identity: tuple[int, int]
    folders: tuple[str, ...]
    """Folders to search in turn; no links, nothing hidden, no checkpoints."""
    known: frozenset[str]
    """Files with a known name."""
    parts: frozenset[str]
    """Which of the folders are there that belong to the run."""
    state: bool
    """Whether it holds `checkpoint-*` or a `trainer_state.json`."""
    entries: bool
    """Whether there is anything in it at all."""
    candidates: tuple[str, ...] = ()
    """Files that may be logs, by their endings alone."""
    events: int | None = None
    """When the newest of its TensorBoard event files was begun, by its name; None where it has none."""


_Listing = tuple[tuple[int, ...], bool, Folder | None]
"""What the folder was like, whether two scans saw it so, and what it holds."""


class Folders:
    """Lists folders. A listing is kept while the folder's mtime stays, once it has been seen at two scans.

    One look is not enough: an entry made within the same tick of the file system's clock leaves the mtime as it was.
    """

    def __init__(self, skip: Collection[str] = ()) -> None:
        self._skip = skip
        self._kept: dict[str, _Listing] = {}
        self._before: dict[str, _Listing] = {}
        self.troubles: list[tuple[str, str]] = []
        """Folder and problem, of this scan."""

    def begin(self) -> None:
        """Start a scan: listings that the last one did not use are forgotten."""
        self._before, self._kept = self._kept, {}
        self.troubles = []

    def tell(self, path: str, problem: str) -> None:
        """Record a trouble."""
        self.troubles.append((path, problem))

    def listed(self) -> Iterator[tuple[str, Folder]]:
        """Yield the folders that this scan has listed so far."""
        yield from ((path, folder) for path, (_, _, folder) in self._kept.items() if folder is not None)

    def list(self, path: str) -> Folder | None:
        """Return what is in a folder; None if it is not there, may not be read, or holds too much."""
        if path in self._kept:
            return self._kept[path][2]
        try:
            found = Path(path).stat()
        except (OSError, ValueError):
            return None
        key = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
        known = self._before.get(path)
        settled = known is not None and known[0] == key
        if known is None or not (settled and known[1]):
            identity = (found.st_dev, found.st_ino)
            aside = Path(path, SET_ASIDE).exists()
            known = (key, settled, _nothing(identity) if aside else self._read(path, identity))
        self._kept[path] = known
        return known[2]

    def _read(self, path: str, identity: tuple[int, int]) -> Folder | None:
        folders, known, parts, state, venv, number, ours = [], set(), set(), False, False, 0, False
        candidates: list[str] = []
        events: int | None = None
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    number += 1
                    if number > MAX_ENTRIES:
                        self.tell(path, f"holds more than {count(MAX_ENTRIES)} entries and is not searched")
                        return _probed(path, identity, state)
                    name = entry.name
                    if _KNOWN.fullmatch(name):
                        known.add(name)
                    elif (board := _EVENTS.fullmatch(name)) is not None:
                        events = max(events or 0, int(board[1] or 0))
                    elif _MAYBE.fullmatch(name) and not _NO_LOG.fullmatch(name):
                        candidates.append(name)
                    elif name in _PARTS and entry.is_dir():
                        parts.add(name)
                    elif _CHECKPOINT.fullmatch(name):
                        state = state or entry.is_dir()
                        continue
                    elif _SHARDS.fullmatch(name):
                        continue
                    venv = venv or name == "pyvenv.cfg"
                    ours = ours or name == PICTURES
                    if name[0] == "." or name in _NEVER or not entry.is_dir(follow_symlinks=False):
                        continue
                    if entry.path not in self._skip:
                        folders.append(name)
        except PermissionError:
            self.tell(path, "may not be read and is not searched")
            return None
        except OSError:
            return None
        state = state or "trainer_state.json" in known
        return Folder(
            identity,
            folders=() if venv else tuple(sorted(folders)),
            known=frozenset(known - _HISTORIES if ours else known),
            parts=frozenset(parts),
            state=state,
            entries=number > 0,
            candidates=_promising(path, candidates),
            events=events,
        )


def _nothing(identity: tuple[int, int]) -> Folder:
    return Folder(identity, folders=(), known=frozenset(), parts=frozenset(), state=False, entries=True)


def _promising(path: str, candidates: list[str]) -> tuple[str, ...]:
    """Return the names of the files to look into."""
    if len(candidates) <= MAX_CANDIDATES:
        return tuple(sorted(candidates))
    endings: dict[str, list[tuple[float, str]]] = {}
    for name in candidates:
        with contextlib.suppress(OSError):
            written = os.stat(f"{path}/{name}").st_mtime  # noqa: PTH116 - some thousand files
            endings.setdefault(name.rpartition(".")[2].lower(), []).append((written, name))
    return tuple(sorted(name for files in endings.values() for _, name in sorted(files)[-_OF_AN_ENDING:]))


def _probed(path: str, identity: tuple[int, int], state: bool) -> Folder | None:
    """Look for the known names alone, in a folder too full to be listed: a run that piles up files is still a run."""
    place = Path(path)
    known = frozenset(name for name in _NAMES if (place / name).is_file())
    known -= _HISTORIES if (place / PICTURES).is_file() else frozenset()
    parts = frozenset(name for name in _PARTS if (place / name).is_dir())
    if not (known or parts or state):
        return None
    return Folder(identity, (), known, parts, state or "trainer_state.json" in known, True)
