"""What format a file is in, by what it holds and not by its name; and the source that replays it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

from smartmon.errors import SourceError
from smartmon.records import Json, SourceRank
from smartmon.sources.base import Source, SourceSpec, shown
from smartmon.sources.registry import open_source
from smartmon.sources.safe_read import Unreadable, opened, read_at
from smartmon.text import clean

HEAD = 256 << 10
"""How much of a file's beginning is looked at."""
RANKS = {
    "status": SourceRank.STATUS,
    "push": SourceRank.TEXT,
    "trainer_state": SourceRank.STATE,
    "history": SourceRank.STATE,
    "text": SourceRank.TEXT,
}
"""Format -> rank; all others are streams."""

_RECOGNISERS = {
    "tensorboard": "smartmon.sources.tensorboard:recognises",
    "status": "smartmon.sources.status_file:recognises",
    "trainer_state": "smartmon.sources.trainer_state:recognises",
    "history": "smartmon.sources.history:recognises",
    "jsonl": "smartmon.sources.jsonl:recognises",
    "csv": "smartmon.sources.csvlog:recognises",
    "text": "smartmon.sources.textlog:recognises",
}
"""Format -> what knows it when it sees it, in the order of asking; imported when asked."""
_STATE_FOLDER = re.compile(r"checkpoint-\d+")
_EVENTS = "events.out.tfevents."


class Sniffed(NamedTuple):
    """What a file or folder was taken for."""

    format: str
    why: str
    """In words, for a person."""


def examine(path: Path, options: Mapping[str, Json] | None = None) -> Sniffed | None:
    """Say what format a file or folder is in, and why; None when nothing here reads it.

    `options` say how its lines are to be read: `pattern`, `keys`.
    """
    if options and options.get("pattern"):
        return Sniffed("text", "a pattern was given for its lines")
    if path.is_dir():
        return _folder(path)
    try:
        with opened(path) as (descriptor, _found):
            head = read_at(descriptor, 0, HEAD)
    except Unreadable:
        return None
    for kind, name in _RECOGNISERS.items():
        try:
            recognises: Callable[[bytes, Path], str] = resolve_name(name)
        except (ImportError, AttributeError):
            continue
        try:
            why = recognises(head, path)
        except Exception:  # noqa: BLE001 - one odd file must not blind discovery to all others
            why = ""
        if why:
            return Sniffed(kind, why)
    return _told(head, (options or {}).get("keys") or {})


def _told(head: bytes, keys: Collection[str]) -> Sniffed | None:
    """Say what a file is that only becomes a log by what its keys are said to mean."""
    if not keys:
        return None
    line = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0].decode("utf-8", "replace")
    if line.startswith("{"):
        return Sniffed("jsonl", "its lines are JSON objects, and it was said what their keys mean")
    if any(cell.strip(' "\r') in keys for cell in re.split(r"[,;\t]", line)):
        return Sniffed("csv", "its header names a column of which it was said what it means")
    return None


def stumbled(path: Path, options: Mapping[str, Json] | None = None) -> str | None:
    """Return the format of a log that nobody named. Data sets count steps too: JSON Lines must measure training."""
    kind = sniff(path, options)
    if kind != "jsonl":
        return kind
    try:
        with opened(path) as (descriptor, _found):
            head = read_at(descriptor, 0, HEAD)
    except Unreadable:
        return None
    from smartmon.sources.jsonl import trains

    told = (json.dumps(key.rpartition(".")[2]).encode() in head for key in (options or {}).get("keys") or {})
    return kind if trains(head) or any(told) else None


def sniff(path: Path, options: Mapping[str, Json] | None = None) -> str | None:
    """Return the format of a file or folder; None when nothing here reads it."""
    found = examine(path, options)
    return None if found is None else found.format


def replay_source(path: Path, options: Mapping[str, Json] | None = None) -> Source:
    """Return the source that reads a log for a replay; raise `SourceError` when it cannot be read."""
    kind = sniff(path, options)
    if kind is None:
        raise SourceError(f"cannot replay {clean(shown(path))}: {why_not(path)}")
    rank = RANKS.get(kind, SourceRank.STREAM)
    return open_source(SourceSpec(shown(path.name), kind, path, rank, options=options or {}))


def _folder(folder: Path) -> Sniffed | None:
    try:
        names = [child.name for child in folder.iterdir()]
    except OSError:
        return None
    if "trainer_state.json" in names or any(_STATE_FOLDER.fullmatch(name) for name in names):
        return Sniffed("trainer_state", "it holds checkpoints of Hugging Face's Trainer")
    if any(name.startswith(_EVENTS) for name in names):
        return Sniffed("tensorboard", "it holds TensorBoard event files")
    return None


def why_not(path: Path) -> str:
    """Say why nothing here reads a path, as what follows after "cannot read it:"."""
    if path.is_dir():
        return "it is a folder without anything in it that smartmon reads; name the log file itself"
    try:
        with opened(path) as (descriptor, found):
            if not found.st_size:
                return "it is empty"
            head = read_at(descriptor, 0, HEAD)
    except Unreadable as problem:
        return f"it {problem}"
    if head.lstrip()[:1] == b"{":
        return (
            "it holds JSON, but nothing in it that is known to count steps. Say what its keys mean: "
            "smartmon replay --key n_updates=step --key stats.ce=loss"
        )
    return (
        "it holds nothing that smartmon knows how to read; it reads status files, JSON Lines, CSV, TensorBoard event "
        "files, Hugging Face's trainer_state.json and what the known trainers print. For the lines of any other: "
        "smartmon replay --pattern 'step (?P<step>\\d+) loss (?P<loss>\\S+)'"
    )
