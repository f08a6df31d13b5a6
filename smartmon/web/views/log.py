"""The log of a run: what the trainer printed, or the rows that it wrote, line by line and by what they are about."""

from __future__ import annotations

import re
from pathlib import Path

from smartmon.sources.safe_read import Unreadable, opened
from smartmon.store import RunRow, Store
from smartmon.text import clean
from smartmon.web.masks import hidden
from smartmon.web.models_detail import LineKind, Log, LogLine
from smartmon.web.site import AbsentError
from smartmon.web.views.files import last_lines, root_of

_USUAL = ("logs/output.log", "output.log", "debug.log", "train.log", "logs/train.log")
"""What trainers print to, the most telling first."""
_LOGS = re.compile(r".*\.(log|txt|out|err|jsonl|ndjson|csv)", re.IGNORECASE | re.DOTALL)
_LATER = ("training_log.jsonl", "eval_log.jsonl", "expert_usage_log.jsonl")
_LONGEST = 4000

_KINDS: tuple[tuple[LineKind, re.Pattern[str]], ...] = (
    ("error", re.compile(r"\b(traceback|error|exception|oom|out of memory|killed|fatal|nan loss)\b|Error\b", re.I)),
    ("warning", re.compile(r"\bwarn(ing)?\b", re.I)),
    ("end", re.compile(r"train_runtime|training (is )?(completed?|finished|done|stopped|ended)|\bexited\b", re.I)),
    ("start", re.compile(r"\* running training|num examples|start(ing|ed)? training|total optimization steps", re.I)),
    ("checkpoint", re.compile(r"checkpoint|sav(ing|ed) model", re.I)),
    ("evaluation", re.compile(r"eval(uation)?\b|eval_|validation|val_loss|val loss", re.I)),
    ("step", re.compile(r"\b(step|iter(ation)?|epoch|loss)\b|\d/\d{1,18} \[|\"step\"|'loss'", re.I)),
)


def log(store: Store, row: RunRow, *, source: str | None = None, before: int | None = None, limit: int = 200) -> Log:
    """Return the last lines of a log, or those before some place of it. AbsentError for a log that the run has not."""
    paths = _paths(store, row)
    if source is not None and source not in paths:
        there = ", ".join(clean(name) for name in list(paths)[:8]) or "none"
        raise AbsentError(f"{clean(row.name)} has no log {clean(source)[:200]}; there are: {there}")
    name = source if source is not None else next(iter(paths), "")
    if not name:
        return Log(run=row.name, source="", sources=[], bytes=0, lines=[], before=None)
    path = paths[name]
    try:
        block = last_lines(path, None if Path(name).is_absolute() else root_of(row), limit, before=before)
    except Unreadable as problem:
        raise AbsentError(f"the log {clean(name)} {problem}") from None
    lines = []
    for offset, data in block.lines:
        # Before it is cut: half a secret would not be known for one.
        text = hidden(data[: 4 * _LONGEST].decode("utf-8", "backslashreplace"))[:_LONGEST]
        lines.append(LogLine(offset=offset, kind=kind(text), text=text))
    return Log(
        run=row.name,
        source=name,
        sources=list(paths),
        bytes=block.size,
        lines=lines,
        before=block.start if block.start > 0 else None,
    )


def kind(text: str) -> LineKind:
    """Return what a line is about."""
    return next((name for name, pattern in _KINDS if pattern.search(text[:1000])), "text")


def _paths(store: Store, row: RunRow) -> dict[str, Path]:
    """Return the run's logs: what is usual, and what it was read from, as far as it is there."""
    read = [name for name in store.sources(row.id) if _LOGS.fullmatch(name)]
    read.sort(key=lambda name: (Path(name).name in _LATER, Path(name).suffix in (".jsonl", ".ndjson", ".csv"), name))
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
