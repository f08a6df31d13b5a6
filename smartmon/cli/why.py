"""`smartmon why`: what each detector saw at a step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartmon.cli.options import AsJson, BaseDirs, ConfigPath, Keys, Patterns, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from smartmon.config import Config
    from smartmon.detectors.signal import Verdict
    from smartmon.records import Observation


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("why")(why)


def why(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name, any unambiguous start of it, or a log.")],
    step: Annotated[int, typer.Option("--step", metavar="N", help="The step to explain.", show_default=False)],
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    pattern: Patterns = None,
    key: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Show what each detector saw at a step, and what it made of it.

    The run is judged again from its first row with the present settings, so that a threshold can be tried before it is
    relied on.

    Example: smartmon why my-run --step 17500
    """
    from smartmon.cli.context import load_config, reading_of
    from smartmon.cli.output import print_json
    from smartmon.errors import UsageError
    from smartmon.judge import explain
    from smartmon.replay import rows, run_name
    from smartmon.text import clean, count

    settings = load_config(base_dir, config)
    path = Path(run)
    if path.is_file():
        name, observations = run_name(path), list(rows(path, reading_of(settings, path, reading(pattern, key))))
        verdicts = explain(observations, settings.judge_settings(), step)
    else:
        name, observations = _stored(settings, run)
        verdicts = explain(observations, settings.judge_settings(name), step)
    if not verdicts:
        raise UsageError(f"{clean(run)} has no judged value at step {count(step)}{_nearest(observations, step)}")
    if as_json:
        print_json({"run": name, "step": step, "verdicts": [_json(verdict) for verdict in verdicts]})
    else:
        print(_text(name, step, verdicts))


def _nearest(observations: Sequence[Observation], step: int) -> str:
    """Name the steps around, for a step that nothing was logged at."""
    from smartmon.text import count

    before = max((obs.step for obs in observations if obs.step < step), default=None)
    after = min((obs.step for obs in observations if obs.step > step), default=None)
    found = [count(near) for near in (before, after) if near is not None]
    return f"; the nearest with one: {' and '.join(found)}" if found else ""


def _stored(settings: Config, run: str) -> tuple[str, list[Observation]]:
    """Return the name and all rows of a stored run: a later attempt may have come to the step again."""
    from smartmon import queries
    from smartmon.cli.context import open_store

    with open_store(settings) as store:
        row = queries.resolve_run(store, run)
        return row.name, list(_rows(store.rows(row.id)))


def _rows(stored: Iterator[tuple[int, int, float, dict[str, float]]]) -> Iterator[Observation]:
    """Turn stored rows into observations of one source: stored accuracies are in percent already."""
    from smartmon.records import Observation

    for _attempt, step, at, values in stored:
        yield Observation(step=step, at=at, values=values, source="store", percent=True)


def _json(verdict: Verdict) -> dict[str, object]:
    return {
        "detector": verdict.detector,
        "metric": verdict.metric,
        "value": verdict.value,
        "expected": verdict.expected,
        "limit": verdict.limit,
        "fired": verdict.fired,
        "severity": verdict.severity.value if verdict.severity else None,
        "text": verdict.text,
    }


def _text(name: str, step: int, verdicts: list[Verdict]) -> str:
    """What fired, the gravest first and in full; then what every other detector saw, metric by metric."""
    from smartmon import text

    fired = sorted((v for v in verdicts if v.fired), key=lambda v: -(v.severity.rank if v.severity else 0))
    quiet = [v for v in verdicts if not v.fired]
    many = f"{len(fired)} of {len(verdicts)} verdicts fired" if fired else "nothing fired"
    lines = [f"{text.clean(name)}, step {text.count(step)}: {many}"]
    for verdict in fired:
        lines += ["", *_fired(verdict)]
    if quiet:
        head = ("QUIET", "EXPECTED", "LIMIT", "SAW")
        rows = [(v.detector, text.number(v.expected), text.number(v.limit)) for v in quiet]
        widths = [max(map(len, column)) for column in zip(head[:3], *rows)]
        lines += ["", _columns(head[:3], widths) + f"  {head[3]}"]
        # What a person asks about first is the loss.
        metrics = dict.fromkeys(sorted((v.metric for v in quiet), key=lambda metric: metric != "loss"))
        for metric in metrics:
            of_it = [(row, v) for row, v in zip(rows, quiet) if v.metric == metric]
            lines.append(f"{text.clean(metric)} {text.number(of_it[0][1].value)}")
            lines += [line for row, v in of_it for line in _wrapped(_columns(row, widths) + "  ", v.text)]
    return "\n".join(lines)


def _fired(verdict: Verdict) -> Iterator[str]:
    from smartmon import text

    grave = verdict.severity.value.upper() if verdict.severity else "FIRED"
    known = (("expected", verdict.expected), ("limit", verdict.limit))
    rest = ", ".join(f"{word} {text.number(value)}" for word, value in known if value is not None)
    told = f"{text.clean(verdict.metric)} {text.number(verdict.value)}" + (f", {rest}" if rest else "")
    yield from _wrapped(f"{grave} {text.clean(verdict.detector)}: ", told)
    yield from _wrapped("  ", verdict.text)


def _columns(row: Sequence[str], widths: Sequence[int]) -> str:
    """Lay out a name, set in, and two numbers."""
    name, *numbers = row
    return "  ".join([f"  {name:<{widths[0]}}", *(f"{each:>{w}}" for each, w in zip(numbers, widths[1:]))])


def _wrapped(start: str, said: str) -> list[str]:
    """Break what was said at the terminal's width; its lines begin under one another."""
    from smartmon import text
    from smartmon.cli.status_text import fold

    whole = fold(f"{'.' * (len(start) - 1)} {text.clean(said)}", hang=" " * len(start))
    return [start + whole[0][len(start) :], *whole[1:]]
