"""What format a file is in, by what it holds and not by its name; and the source that replays it."""

from __future__ import annotations

import re
from pathlib import Path

from smartmon.errors import SourceError
from smartmon.records import SourceRank
from smartmon.sources import jsonl, jsontext, status_file, trainer_state
from smartmon.sources.base import Source, SourceSpec, shown
from smartmon.sources.registry import open_source
from smartmon.sources.safe_read import Unreadable, opened, read_at, read_file
from smartmon.text import clean

_HEAD = 256 << 10
_LINES = 20
_STATE_FOLDER = re.compile(r"checkpoint-\d+")


def sniff(path: Path) -> str | None:
    """Return the format of a file, or of a folder with Hugging Face checkpoints; None when nothing here reads it."""
    if path.is_dir():
        return "trainer_state" if _has_state(path) else None
    try:
        with opened(path) as (descriptor, found):
            head = read_at(descriptor, 0, _HEAD)
    except Unreadable:
        return None
    lines = [line for line in head.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    if len(lines) > 1 and jsonl.recognises(lines[: min(_LINES, len(lines) - (found.st_size > _HEAD))]):
        return "jsonl"
    return _whole(path)


def replay_source(path: Path) -> Source:
    """Return the source that reads a log for a replay; raise `SourceError` when it cannot be read."""
    name = clean(shown(path))
    found = sniff(path)
    if found is None:
        raise SourceError(f"cannot replay {name}: {_why(path)}")
    rank = {"status": SourceRank.STATUS, "trainer_state": SourceRank.STATE}.get(found, SourceRank.STREAM)
    return open_source(SourceSpec(shown(path.name), found, path, rank))


def _whole(path: Path) -> str | None:
    """Return the format of a file that is one JSON object."""
    try:
        record = jsontext.load_object(read_file(path).data)
    except (Unreadable, jsontext.BadJson):
        return None
    if trainer_state.recognises(record):
        return "trainer_state"
    if path.suffix == ".jsonl":
        return "jsonl"
    return "status" if status_file.recognises(record) else None


def _has_state(folder: Path) -> bool:
    if (folder / "trainer_state.json").is_file():
        return True
    try:
        return any(_STATE_FOLDER.fullmatch(child.name) for child in folder.iterdir())
    except OSError:
        return False


def _why(path: Path) -> str:
    if path.is_dir():
        return "it is a folder without checkpoint-* in it; name the log file itself"
    try:
        read_file(path)
    except Unreadable as problem:
        return f"it {problem}"
    return (
        "it holds nothing that smartmon knows how to read; "
        "it reads status files, JSON Lines logs and Hugging Face's trainer_state.json"
    )
