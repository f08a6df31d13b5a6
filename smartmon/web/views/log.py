"""The log of a run: what the trainer printed, or the rows that it wrote, line by line and by what they are about."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from smartmon.sources.safe_read import Unreadable, opened
from smartmon.store import RunRow, Store
from smartmon.text import clean
from smartmon.web.masks import hidden
from smartmon.web.models_detail import LineKind, Log, LogLine
from smartmon.web.site import AbsentError
from smartmon.web.views.files import Block, Line, first_lines, last_lines, root_of

_USUAL = ("logs/output.log", "output.log", "debug.log", "train.log", "logs/train.log")
"""What trainers print to, the most telling first."""
_LOGS = re.compile(r".*\.(log|txt|out|err|jsonl|ndjson|csv)", re.IGNORECASE | re.DOTALL)
_LATER = ("training_log.jsonl", "eval_log.jsonl", "expert_usage_log.jsonl")
"""Rows of numbers, in the order in which somebody wants to see them."""
_LONGEST = 4000
_ROOM = 1 << 20
_SEARCHED = 8 * _ROOM
"""Bytes that are looked through for one answer; the page asks on from there."""
_AT_ONCE = 20_000
"""Lines that are looked through at once."""
_EACH = 8
"""Bytes that a line counts for besides its own: a log of empty lines must not take ten times as long."""
_COLOURS = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))")
"""What terminals take for colours, titles and links."""

_KINDS: tuple[tuple[LineKind, re.Pattern[str]], ...] = (
    (
        "error",
        re.compile(
            r"\b(traceback|error|exception|oom|out of memory|killed|fatal|nan loss)\b|(?-i:\b[A-Z]\w{0,80}Error\b)",
            re.I,
        ),
    ),
    ("warning", re.compile(r"\bwarn(ing)?\b|(?-i:\b[A-Z]\w{0,80}Warning\b)", re.I)),
    ("end", re.compile(r"train_runtime|training (is )?(completed?|finished|done|stopped|ended)|\bexited\b", re.I)),
    ("start", re.compile(r"\* running training|start(ing|ed)? training|total optimization steps", re.I)),
    ("checkpoint", re.compile(r"(?<!gradient )\bcheckpoints?\b(?! shards|ing|\.py)|sav(ing|ed) model", re.I)),
    ("evaluation", re.compile(r"eval(uation)?\b|eval_|validation|val_loss|val loss", re.I)),
    ("step", re.compile(r"\b(step|iter(ation)?|epoch|loss)\b|\d/\d{1,18} \[|\"step\"|'loss'", re.I)),
)


class Ask(NamedTuple):
    """What is asked of a log."""

    source: str | None = None
    before: int | None = None
    after: int | None = None
    find: str = ""
    limit: int = 200


def log(store: Store, row: RunRow, ask: Ask) -> Log:
    """Return the last lines of a log, or those before or after some place. AbsentError for one that is not there."""
    source = ask.source
    paths = _paths(store, row)
    if source is not None and source not in paths:
        there = ", ".join(clean(name) for name in list(paths)[:8]) or "none"
        raise AbsentError(f"{clean(row.name)} has no log {clean(source)[:200]}; there are: {there}")
    name = source if source is not None else next(iter(paths), "")
    if not name:
        return Log(run=row.name, source="", sources=[], bytes=0, lines=[], before=None, after=None)
    path = paths[name]
    try:
        block = _block(path, None if Path(name).is_absolute() else root_of(row), ask)
    except Unreadable as problem:
        raise AbsentError(f"the log {clean(name)} {problem}") from None
    lines = []
    for offset, data in block.lines:
        text = _text(data)
        lines.append(LogLine(offset=offset, kind=kind(text), text=text))
    return Log(
        run=row.name,
        source=name,
        sources=list(paths),
        bytes=block.size,
        lines=lines,
        before=block.start if block.start > 0 else None,
        after=block.end if block.end < block.size else None,
    )


def _block(path: Path, root: Path | None, ask: Ask) -> Block:
    if ask.after is not None:
        return first_lines(path, root, ask.limit, after=ask.after)
    if not ask.find.strip():
        return last_lines(path, root, ask.limit, before=ask.before)
    return _found(path, root, ask)


def _found(path: Path, root: Path | None, ask: Ask) -> Block:
    """Look backwards for lines that hold all words, so far as one answer may take."""
    words = ask.find.lower().split()
    found: list[Line] = []
    place, left = ask.before, _SEARCHED
    while True:
        block = last_lines(path, root, _AT_ONCE, before=place, room=_ROOM)
        for line in reversed(block.lines):
            # What is masked is not to be found out by searching; most lines are passed over without the mask.
            if _holds(_plain(line.data), words) and _holds(_text(line.data), words):
                found.append(line)
                if len(found) == ask.limit:
                    return Block(block.size, found[::-1], line.offset, block.size)
        place, left = block.start, left - (block.end - block.start) - _EACH * len(block.lines)
        if place == 0 or left <= 0:
            return Block(block.size, found[::-1], place, block.size)


def _holds(text: str, words: list[str]) -> bool:
    lower = text.lower()
    return all(word in lower for word in words)


def _text(data: bytes) -> str:
    # Before it is cut: half a secret would not be known for one.
    return hidden(_plain(data))[:_LONGEST]


def _plain(data: bytes) -> str:
    return _COLOURS.sub("", data[: 4 * _LONGEST].decode("utf-8", "backslashreplace"))


def kind(text: str) -> LineKind:
    """Return what a line is about."""
    return next((name for name, pattern in _KINDS if pattern.search(text[:1000])), "text")


def _paths(store: Store, row: RunRow) -> dict[str, Path]:
    """Return the run's logs: what is usual, and what it was read from, as far as it is there."""
    read = [name for name in store.sources(row.id) if _LOGS.fullmatch(name)]
    read.sort(key=_order)
    names = dict.fromkeys([*_USUAL, *read])
    found = {}
    for name in names:
        # A log that the config names may lie anywhere; whatever was found lies in the base dir.
        root = None if Path(name).is_absolute() else root_of(row)
        try:
            with opened(row.path / name, root):
                found[name] = row.path / name
        except Unreadable:
            continue
    return found


def _order(name: str) -> tuple[int, bool, str]:
    """Put what was printed before rows of numbers, and the trainer's own rows in the order of `_LATER`."""
    plain = Path(name).name
    return (
        _LATER.index(plain) + 1 if plain in _LATER else 0,
        Path(name).suffix in (".jsonl", ".ndjson", ".csv"),
        name,
    )
