"""`smartmon replay`: what would have fired on a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartmon.cli.options import (
    AccuracyDropThreshold,
    AsJson,
    BaseDirs,
    ConfigPath,
    Keys,
    LossSpikeThreshold,
    LossWindow,
    MinSteps,
    NoiseGuard,
    Patterns,
    Profile,
    reading,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smartmon.records import Anomaly, IncidentChange
    from smartmon.replay import Replayed

WIDTH = 80
FIRST = 5
"""How many of the info anomalies of a kind are shown without --all."""
CANNOT_READ, PARTIAL = 4, 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    logs: Annotated[
        list[Path],
        typer.Argument(
            metavar="LOG", help="Logs in any format that smartmon reads, or folders of runs.", show_default=False
        ),
    ],
    pattern: Patterns = None,
    key: Keys = None,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    loss_spike_threshold: LossSpikeThreshold = None,
    accuracy_drop_threshold: AccuracyDropThreshold = None,
    loss_window: LossWindow = None,
    min_steps_between_saves: MinSteps = None,
    profile: Profile = None,
    noise_guard: NoiseGuard = None,
    all_: Annotated[bool, typer.Option("--all", help="Show every info anomaly, not only the first few.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what would have fired on a log, with any thresholds. Writes nothing.

    The daemon's own detectors judge the file from its first row to its last, so a replay says what the daemon would
    have said. Exits 3 when some of the logs cannot be read, 4 when none can.

    Example: smartmon replay logs/training_log.jsonl --loss-spike-threshold 0.2
    """
    import sys

    from smartmon.cli.context import load_config, reading_of
    from smartmon.cli.output import print_json
    from smartmon.errors import SourceError
    from smartmon.replay import replay as judged

    given = {
        "detectors.loss_spike.threshold": loss_spike_threshold,
        "detectors.accuracy_drop.threshold": accuracy_drop_threshold,
        "detectors.loss_window": loss_window,
        "detectors.noise_guard": noise_guard,
        "snapshots.min_steps_between_saves": min_steps_between_saves,
        "profile": profile,
    }
    overrides = {key: value for key, value in given.items() if value is not None}
    loaded = load_config(base_dir, config, overrides)
    settings, told = loaded.judge_settings(), reading(pattern, key)
    files, failed = [], 0
    for log in logs:
        try:
            options = reading_of(loaded, log, told)
            file = judged(log, settings, options=options)
            if options and not file.observations:
                raise SourceError(_unread(log, options))
            files.append(file)
        except SourceError as error:
            failed += 1
            print(f"smartmon: {error}", file=sys.stderr)
    if as_json:
        print_json({"files": [file.to_json() for file in files]})
    else:
        print("\n\n".join(_text(file, all_) for file in files), end="\n" if files else "")
    raise typer.Exit((PARTIAL if files else CANNOT_READ) if failed else 0)


def _unread(log: Path, options: Mapping[str, object]) -> str:
    """Say that a pattern or keys fit nothing: an empty replay would look like a healthy run."""
    from smartmon.text import clean

    what = "no line of it fits the pattern" if "pattern" in options else "nothing in it has the keys, or none is a step"
    return f"cannot replay {clean(log)}: {what}; smartmon doctor --explain, with the same options, shows what is in it"


def _text(file: Replayed, show_all: bool) -> str:
    from smartmon import text

    attempts = "" if file.attempts == 1 else f", {file.attempts} attempts"
    rows = f"{text.count(file.observations)} row{'' if file.observations == 1 else 's'}"
    lines = [text.clean(file.path), f"  {file.format}, {rows}{attempts}"]
    lines += [_folded(f"note: {note.message}") for note in file.notes]
    for change in file.incidents.values():
        lines += ["", *_incident(change, file)]
    lines += _infos(file, show_all)
    if not file.anomalies:
        lines += ["", "  Nothing would have fired."]
    elif not file.incidents:
        lines += ["", "  Nobody would have been woken."]
    return "\n".join(lines)


def _incident(change: IncidentChange, file: Replayed) -> list[str]:
    from smartmon import text

    end = "" if change.end_step == change.start_step else f" to {text.count(change.end_step)}"
    many = "1 anomaly" if change.anomalies == 1 else f"{text.count(change.anomalies)} anomalies"
    state = change.resolution or "still open at the end of the log"
    head = f"  {change.severity.value.upper():8}  {change.kind}  step {text.count(change.start_step)}{end}, {many}"
    reason = file.opened.get(change.key, change.reason)
    context = file.contexts.get(change.key, {})
    around = "; ".join(context.get("around", ()))
    told = [f"around it: {around}"] if around else []
    told += [f"likely cause: {context['cause']}"] if context.get("cause") else []
    return [head, *(_folded(words, 12) for words in (reason, change.message, *told, state))]


def _infos(file: Replayed, show_all: bool) -> list[str]:
    """Return the anomalies that belong to no incident: counted by kind, with the first few."""
    from smartmon import text

    kinds: dict[str, list[Anomaly]] = {}
    for anomaly in file.anomalies:
        if anomaly.severity.value == "info":
            kinds.setdefault(anomaly.kind, []).append(anomaly)
    lines: list[str] = []
    for kind, found in kinds.items():
        lines += ["", f"  info      {kind}  {text.count(len(found))}"]
        shown = found if show_all else found[:FIRST]
        lines += [_folded(f"step {text.count(anomaly.step)}  {anomaly.reason}", 12) for anomaly in shown]
        if len(found) > len(shown):
            lines.append(f"            and {text.count(len(found) - len(shown))} more (--all shows them)")
    return lines


def _folded(words: str, indent: int = 2) -> str:
    import textwrap

    from smartmon import text

    return textwrap.fill(
        text.clean(words), WIDTH - 1, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2)
    )
