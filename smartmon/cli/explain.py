"""What `smartmon doctor --explain PATH` prints: how a log is read, which metrics it has, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smartmon.sources.explain import Explained

NOTHING_READ = 4
MOST_SHOWN = 40
EXAMPLE = 60


def show(path: Path, options: Mapping[str, object], *, as_json: bool) -> int:
    """Print what came of reading a path; return the exit code."""
    import time

    from smartmon.cli.output import print_json
    from smartmon.sources.explain import explain

    told = explain(path, time.time(), options)
    if as_json:
        print_json({"path": str(path), "files": [each.to_json() for each in told]})
    else:
        print("\n\n".join("\n".join(_text(each)) for each in told))
    return 0 if any(each.format for each in told) else NOTHING_READ


def _text(told: Explained) -> Iterator[str]:
    from smartmon.text import clean

    yield clean(told.path)
    if not told.format:
        yield from _line("", f"cannot be read: {told.why}", indent=2)
        return
    dialect = f" ({told.dialect})" if told.dialect else ""
    yield from _line("read as", f"{told.format}{dialect}: {told.why}")
    yield from _line("rows", _rows(told))
    if told.status is not None and told.status.word:
        yield from _line(
            "says", f'"{told.status.word}"' + (f" at step {told.status.step:,}" if told.status.step else "")
        )
    yield from _metrics(told)
    for what, (count, example) in told.ignored.items():
        shown = f", such as: {example[:EXAMPLE]}" if example else ""
        yield from _line("left out", f"{count:,} {what}{shown}")
    for note in told.notes:
        yield from _line("note", note.message)


def _rows(told: Explained) -> str:
    from smartmon.text import clock, count

    if not told.rows or told.first_at is None:
        return "none yet: what a run has measured so far is not in it"
    steps = f"step {count(told.first_step)} to {count(told.last_step)}"
    times = f"{clock(told.first_at)} to {clock(told.last_at)}"
    return f"{told.rows:,}, {steps}, {times}" + ("" if told.timed else " (estimated: the rows carry no time)")


def _metrics(told: Explained) -> Iterator[str]:
    from smartmon.text import clean, number

    if not told.metrics:
        return
    theirs: dict[str, list[str]] = {}
    for key, name in told.keys.items():
        theirs.setdefault(name, []).append(key)
    width = min(32, max(len(name) for name in told.metrics))
    yield "  metrics"
    for name, count in list(told.metrics.items())[:MOST_SHOWN]:
        known_as = f"   from {clean(', '.join(theirs[name]))}" if name in theirs else ""
        values = f"{count:,} value{'' if count == 1 else 's'}"
        yield f"    {clean(name):<{width}}  {values:>14}  last {number(told.latest[name]):<10}{known_as}".rstrip()
    if len(told.metrics) > MOST_SHOWN:
        yield f"    and {len(told.metrics) - MOST_SHOWN} more (--json shows them)"


def _line(head: str, words: str, indent: int = 12) -> Iterator[str]:
    import textwrap

    from smartmon.text import clean

    yield textwrap.fill(
        clean(words),
        79,
        initial_indent=f"  {head:<9} "[:indent],
        subsequent_indent=" " * max(4, indent),
        break_long_words=False,
        break_on_hyphens=False,
    )
