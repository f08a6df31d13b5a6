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
WIDEST = 36


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
        if len({name for each in told for name in each.metrics}) < sum(len(each.metrics) for each in told):
            print("\nWhere several logs of one run have a metric, the first of them gives it.")
    return 0 if any(each.format for each in told) else NOTHING_READ


def _text(told: Explained) -> Iterator[str]:
    from smartmon.text import clean

    yield clean(told.path)
    if not told.format:
        yield from _line("not read", told.why)
        return
    named = told.dialect and told.dialect.casefold() != told.format
    dialect = f" ({told.dialect.replace(' (', ', ').rstrip(')')})" if named else ""
    yield from _line("read as", f"{told.format}{dialect}: {told.why}")
    yield from _line("rows", _rows(told))
    if told.status is not None and told.status.word:
        yield from _line(
            "says", f'"{told.status.word}"' + (f" at step {told.status.step:,}" if told.status.step else "")
        )
    yield from _metrics(told)
    for what, (count, example) in told.ignored.items():
        shown = f", such as: {example.strip()[:EXAMPLE]}" if example else ""
        key, colon, why = what.rpartition(": ")
        yield from _line("left out", f"{key}: {why}{shown}" if colon else f"{count:,} {what}{shown}")
    for note in told.notes:
        yield from _line("note", note.message)


def _rows(told: Explained) -> str:
    from smartmon.text import clock, count

    if not told.rows or told.first_at is None:
        return "none yet: what a run has measured so far is not in it"
    steps = f"step {count(told.first_step)} to {count(told.last_step)}"
    first, last = clock(told.first_at), clock(told.last_at)
    times = first if first == last else f"{first} to {last}"
    return f"{told.rows:,}, {steps}, {times}" + ("" if told.timed else " (estimated: the rows carry no time)")


def _metrics(told: Explained) -> Iterator[str]:
    from smartmon.text import clean

    if not told.metrics:
        return
    theirs: dict[str, list[str]] = {}
    for key, name in told.keys.items():
        theirs.setdefault(name, []).append(key)
    width = max(7, min(WIDEST, max(len(clean(name)) for name in told.metrics)))
    yield f"  {'metrics':<{width}}  {'values':>9}  {'last':>10}" + ("  written as" if theirs else "")
    for name, count in list(told.metrics.items())[:MOST_SHOWN]:
        row = f"  {clean(name):<{width}}  {count:>9,}  {_number(told.latest[name]):>10}"
        written = f"  {clean(', '.join(theirs[name]))}" if name in theirs else ""
        # The name of a metric is whole, whatever it takes; what it was written as is cut to the line.
        yield row + (written if len(row + written) < 80 else f"{written[: max(0, 76 - len(row))]}...")
    if len(told.metrics) > MOST_SHOWN:
        yield f"    and {len(told.metrics) - MOST_SHOWN} more (--json shows them)"


def _number(value: float) -> str:
    """Whole numbers of up to nine digits as they are, others short."""
    from smartmon.text import number

    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e9 else number(value)


def _line(head: str, words: str) -> Iterator[str]:
    import textwrap

    from smartmon.text import clean

    yield textwrap.fill(
        clean(words),
        79,
        initial_indent=f"  {head:<9} ",
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )
