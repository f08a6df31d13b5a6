"""What `watch` shows: one look at the store, and its drawing with rich. Data is always text, never markup."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from smartmon import queries
from smartmon.cli import sparkline
from smartmon.cli.status_text import (
    KEPT_HANG,
    by_interest,
    daemon_lines,
    event_lines,
    fold,
    incident_head,
    kept_lines,
    metrics_text,
    plural,
    progress_text,
    status_text,
    verdict,
)
from smartmon.errors import StoreError
from smartmon.records import RunState, Severity
from smartmon.store import EventRow, Series, Store
from smartmon.text import clean, count, number

_FITTING = ((3, 6), (2, 4), (1, 4), (1, 2))
"""Runs shown in full, and events: the first pair with which a frame fits the terminal."""
_RUNS_IN_FULL, _EVENTS = _FITTING[0]
_BUCKETS = 400
_CHART_LINES = 3
_STYLES = {Severity.INFO: "", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}
_STATE_STYLES = {RunState.RUNNING: "green", RunState.FAILED: "bold red", RunState.STALLED: "bold red"}


@dataclass(frozen=True)
class Look:
    """What the store said at one moment."""

    at: float
    base_dir: Path
    overview: queries.Overview | None = None
    problem: str = ""
    losses: tuple[Series | None, ...] = ()
    """The loss of each of the runs shown in full."""
    events: tuple[EventRow, ...] = ()

    @property
    def runs(self) -> list[queries.RunInfo]:
        """The runs, the most interesting first."""
        return by_interest(self.overview.runs) if self.overview is not None else []

    @property
    def news(self) -> object:
        """What makes a new status block worth printing before its time."""
        if self.overview is None:
            return self.problem
        runs = [(run.row.name, run.row.state, run.row.attempt, len(run.open_incidents)) for run in self.overview.runs]
        return self.overview.daemon.alive, self.events[-1].id if self.events else 0, sorted(runs)

    def plain(self) -> str:
        """The look as plain text."""
        if self.overview is None:
            return self.problem
        return status_text(self.overview, self.events, base_dir=self.base_dir, now=self.at)


def take_look(open_store: Callable[[], Store], base_dir: Path, run: str | None, *, now: float) -> Look:
    """Ask the store. That there is none yet, or no run, is no reason to end: both may come."""
    try:
        with open_store() as store:
            wanted = run if run is None or store.runs() else None
            overview = queries.status(store, now=now, run=wanted)
            shown = by_interest(overview.runs)[:_RUNS_IN_FULL]
            losses = tuple(_loss(store, one.row.id) for one in shown)
            events = tuple(queries.events(store, run=wanted, limit=_EVENTS))
    except StoreError as error:
        return Look(now, base_dir, problem=f"Waiting: {error}")
    return Look(now, base_dir, overview, "", losses, events)


def _loss(store: Store, run_id: int) -> Series | None:
    names = store.metrics(run_id)
    metric = next((name for name in ("loss", "eval_loss") if name in names), None)
    return None if metric is None else store.series(run_id, metric, max_points=_BUCKETS)


class Frame:
    """A look, drawn anew at whatever size the terminal has just then."""

    def __init__(self, look: Look, *, live: bool = True) -> None:
        self.look = look
        self.live = live

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plain = not options.encoding.startswith("utf")
        columns, room = max(20, options.max_width), options.size.height
        for runs, events in _FITTING:
            lines = frame_lines(self.look, columns, runs=runs, events=events, plain=plain)
            if not self.live or len(lines) <= room:
                break
        if self.live and len(lines) > room:
            lines = [*lines[: room - 1], Text("... more than fits here: smartmon status", style="dim")]
        for index, line in enumerate(lines):
            line.truncate(options.max_width)
            yield from line.render(console)
            if index < len(lines) - 1 or not self.live:
                yield Segment.line()


def frame_lines(
    look: Look, columns: int, *, runs: int = _RUNS_IN_FULL, events: int = _EVENTS, plain: bool = False
) -> list[Text]:
    """The lines of a frame."""
    rule = Text(("-" if plain else "─") * columns, style="dim")
    head = f"smartmon watch  {clean(look.base_dir)}"
    clock = time.strftime("%H:%M:%S", time.localtime(look.at))
    lines = [Text(head[: columns - 10].ljust(columns - 8) + clock, style="bold"), rule]
    if look.overview is None:
        return [*lines, *_folded(look.problem, columns, style="yellow"), Text(), Text("Ctrl-C ends", style="dim")]
    daemon = look.overview.daemon
    fine = daemon.alive and daemon.state == "running" and not daemon.failed_deliveries
    trouble = bool(look.overview.open_incidents)
    lines += _folded(verdict(look.overview), columns, style="bold red" if trouble else "green")
    told = daemon_lines(daemon, look.base_dir, now=look.at, columns=columns)
    lines += [Text(line, style="dim" if fine else "bold red") for line in told]
    if not look.runs:
        lines += _folded(f"No run in {clean(look.base_dir)} so far: it shows as soon as training writes.", columns)
    for run, loss in zip(look.runs[:runs], look.losses):
        lines += [Text(), *_run(run, loss, columns, now=look.at, plain=plain)]
    lines += [_short(run) for run in look.runs[runs:]]
    if look.events:
        lines += [Text(), Text("Last events", style="bold")]
        for event in look.events[-events:]:
            style = "dim" if event.historic else _STYLES[event.severity]
            lines += [Text(line, style=style) for line in event_lines(event, indent="  ", columns=columns)]
    return lines


def _run(run: queries.RunInfo, loss: Series | None, columns: int, *, now: float, plain: bool) -> list[Text]:
    row = run.row
    head = Text(clean(row.name), style="bold")
    head.append(f"  {row.state.value.upper()}", style=_STATE_STYLES.get(row.state, "cyan"))
    if row.attempt > 1:
        head.append(f"  attempt {row.attempt}", style="dim")
    lines = [head]
    if run.progress is not None:
        lines.append(_bar(run.progress, columns, plain=plain))
    lines += _folded(progress_text(run, now=now), columns) + _folded(metrics_text(run), columns)
    if loss is not None and loss.points:
        lines += _chart(loss, columns, plain=plain)
    for incident in run.open_incidents[-3:]:
        style = _STYLES[incident.severity]
        lines += _folded(f"! {incident_head(incident)}", columns, style=style)
        lines += _folded(clean(incident.message), columns, indent="  ")
    kept = [line for text in kept_lines(run) for line in fold(text, "", columns, hang=KEPT_HANG)]
    return lines + [Text(line, style="cyan") for line in kept]


def _bar(share: float, columns: int, *, plain: bool) -> Text:
    room = columns - 6
    done = round(share * room)
    full, rest = ("#", ".") if plain else ("━", "─")
    bar = Text(full * done, style="green")
    bar.append(rest * (room - done), style="dim")
    return bar.append(f" {int(share * 100):3d} %")


def _chart(loss: Series, columns: int, *, plain: bool) -> list[Text]:
    finite = [point for point in loss.points if math.isfinite(point.min)]
    lines = []
    if finite:
        most, least = max(point.max for point in finite), min(point.min for point in finite)
        log = ", log" if sparkline.is_logarithmic([(least, most)]) else ""
        labels = [number(most, 3), f"{clean(loss.metric)}{log}", number(least, 3)]
        edge = max(len(label) for label in labels)
        drawn = sparkline.draw(finite, columns - edge - 1, _CHART_LINES, plain=plain)
        lines = [
            Text(label.rjust(edge) + " ", style="dim").append(line, style="not dim blue")
            for label, line in zip(labels, drawn)
        ]
    if loss.nonfinite_count:
        lines.append(Text(f"{plural(loss.nonfinite_count, 'value')} NaN or infinite", style="bold red"))
    return lines


def _short(run: queries.RunInfo) -> Text:
    line = Text(clean(run.row.name), style="bold")
    trouble = f"  {plural(len(run.open_incidents), 'open incident')}" if run.open_incidents else ""
    return line.append(
        f"  {run.row.state.value.upper()}  step {count(run.row.step)}  loss {number(run.latest.get('loss'))}{trouble}"
    )


def _folded(text: str, columns: int, *, indent: str = "", style: str = "") -> list[Text]:
    return [Text(line, style=style) for line in fold(text, indent, columns)]
