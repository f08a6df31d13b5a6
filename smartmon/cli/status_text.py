"""The words in which `status` and `watch` tell people how their runs are, at the width of the terminal."""

from __future__ import annotations

import re
import shlex
import shutil
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from smartmon.queries import DaemonInfo, Overview, RunInfo
from smartmon.records import RunState, Snapshot
from smartmon.store import EventRow, IncidentRow
from smartmon.text import clean, clock, count, duration, number, size

RUNS_SHOWN = 12
_UNIT = re.compile(r"(?<=\d) (?=(?:%|steps/s|s/step|[kMGT]?B)(?!\w))|(?<=\d[dhm]) (?=\d\d[hms]\b)")
"""The space before a unit, where no line is broken."""
KEPT_HANG = " " * len("kept  ")


def width() -> int:
    """Columns to fill: the terminal's, 80 where there is none, never a line too long to read."""
    return max(40, min(100, shutil.get_terminal_size((80, 24)).columns))


def run_command(base_dir: Path) -> str:
    """The command that starts a daemon for a base dir."""
    return f"smartmon run --base-dir {shlex.quote(clean(base_dir))}"


def status_text(overview: Overview, events: Sequence[EventRow], *, base_dir: Path, now: float) -> str:
    """Is it fine, what happened, what was kept, when will it be done: for every run, the one with trouble first."""
    lines = [verdict(overview), *daemon_lines(overview.daemon, base_dir, now=now)]
    runs = by_interest(overview.runs)
    for run in runs[:RUNS_SHOWN]:
        lines += ["", *run_lines(run, now=now)]
    if len(runs) > RUNS_SHOWN:
        lines += ["", f"{len(runs) - RUNS_SHOWN} more: smartmon runs list"]
    if events:
        lines += ["", "Last events", *(line for event in events for line in event_lines(event, indent="  "))]
    return "\n".join(lines)


def verdict(overview: Overview) -> str:
    """One sentence: is it fine?"""
    number_open = overview.open_incidents
    if not overview.runs:
        return "No run has been seen yet."
    if number_open:
        critical = sum(one.severity == "critical" for run in overview.runs for one in run.open_incidents)
        return f"{plural(number_open, 'open incident')}" + (f", {critical} critical." if critical else ".")
    failed = sum(run.row.state in (RunState.FAILED, RunState.STALLED) for run in overview.runs)
    if failed:
        return f"{failed} of {plural(len(overview.runs), 'run')} failed or stalled; no open incident."
    return "Fine: no open incident." if overview.daemon.alive else "No open incident, but nobody is watching."


def daemon_lines(daemon: DaemonInfo, base_dir: Path, *, now: float, columns: int | None = None) -> list[str]:
    """Whether anybody is watching, and the next command (on a line of its own, to be copied) if nobody is."""
    if daemon.alive:
        up = duration(now - daemon.started_at) if daemon.started_at is not None else "-"
        stuck = ", ".join(clean(name) for name, well in daemon.workers.items() if not well)
        line = f"smartmon {clean(daemon.version)} is watching (pid {daemon.pid}, up {up})."
        lines = fold(line + (f" STUCK: {stuck}." if stuck else ""), "", columns)
    else:
        what = "stopped" if daemon.state == "stopped" else "died"
        ago = f" (it {what} {duration(now - daemon.beat_at)} ago)" if daemon.beat_at is not None else ""
        lines = [f"No daemon is watching{ago}. Start one with:", f"  {run_command(base_dir)}"]
    if daemon.failed_deliveries:
        lines.append(f"{plural(daemon.failed_deliveries, 'alert')} could not be delivered: smartmon alerts list")
    return lines


def run_lines(run: RunInfo, *, now: float) -> list[str]:
    """A run in a few lines."""
    lines = [headline(run), *fold(progress_text(run, now=now), "  "), *fold(metrics_text(run), "  ")]
    if run.row.state is RunState.FAILED and run.row.data.get("error_message"):
        error = f"{run.row.data.get('error_type') or 'error'}: {run.row.data['error_message']}"
        lines += fold(f"error  {clean(error)}", "  ")
    for incident in run.open_incidents[-5:]:
        lines += [f"  {incident_head(incident)}", *fold(clean(incident.message), "    ")]
    if run.gone:
        lines.append("  its folder is gone")
    elif not run.open_incidents:
        lines.append("  no open incident")
    lines += [row for line in kept_lines(run) for row in fold(line, "  ", hang=KEPT_HANG)]
    return lines


def headline(run: RunInfo) -> str:
    """Name, state, attempt."""
    attempt = f"  attempt {run.row.attempt}" if run.row.attempt > 1 else ""
    model = f"  {clean(run.row.data['model_name'])[:40]}" if run.row.data.get("model_name") else ""
    return f"{clean(run.row.name)}  {run.row.state.value.upper()}{attempt}{model}"


def progress_text(run: RunInfo, *, now: float) -> str:
    """How far, and when it will be done."""
    row = run.row
    if row.step is None:
        return "no step yet"
    text = f"step {count(row.step)}"
    if row.total_steps:
        text += f" of {count(row.total_steps)} ({int((run.progress or 0) * 100)} %)"
    if run.eta_seconds is not None:
        text += f", done in about {duration(run.eta_seconds)} ({finish_time(now + run.eta_seconds, now)})"
    elif row.state.ended and row.finished_at is not None:
        text += f", ended {clock(row.finished_at)}"
    if not row.state.ended and run.last_step_at is not None:
        text += f", last step {duration(now - run.last_step_at)} ago"
    return text


def metrics_text(run: RunInfo) -> str:
    """Loss, best loss, accuracy, pace."""
    parts = [f"loss {number(run.latest.get('loss'))}"]
    if run.best_loss is not None:
        best = "" if run.best_metric in ("", "loss") else f"{run.best_metric.replace('_', ' ')} "
        parts.append(f"best {best}{number(run.best_loss)} at step {count(run.best_loss_step)}")
    if "eval_loss" in run.latest:
        parts.append(f"eval loss {number(run.latest['eval_loss'])}")
    if run.accuracy is not None:
        parts.append(f"accuracy {run.accuracy:.1f} %")
    if run.steps_per_sec and not run.row.state.ended:
        pace = run.steps_per_sec
        parts.append(
            f"{pace:,.0f} steps/s" if pace >= 100 else f"{pace:.3g} steps/s" if pace >= 1 else f"{1 / pace:.3g} s/step"
        )
    return "   ".join(parts)


def incident_head(incident: IncidentRow) -> str:
    """Severity, kind, since when, where, how many."""
    where = f"step {count(incident.start_step)}"
    if incident.end_step != incident.start_step:
        where += f" to {count(incident.end_step)}"
    times = f", {count(incident.anomalies)} times" if incident.anomalies > 1 else ""
    kind = clean(incident.kind).replace("_", " ")
    return f"{incident.severity.value.upper()} {kind} since {clock(incident.opened_at)}, {where}{times}"


def kept_lines(run: RunInfo) -> list[str]:
    """The newest snapshots, and what is being copied."""
    lines = [f"kept  {snapshot_text(snapshot)}" for snapshot in run.snapshots[-2:]]
    if run.copying:
        lines.append(f"{plural(run.copying, 'snapshot')} being made")
    return lines


def snapshot_text(snapshot: Snapshot) -> str:
    """A snapshot's name and what is in it."""
    step = snapshot.checkpoint_step
    holds = "no checkpoint" if step is None else f"checkpoint {count(step)}, {size(snapshot.bytes)}"
    state = "" if snapshot.state.value in ("ok", "no_checkpoint") else f", {snapshot.state.value.upper()}"
    return f"{clean(snapshot.name)} ({holds}{state})"


def event_lines(event: EventRow, *, indent: str = "", columns: int | None = None) -> list[str]:
    """An event in one line, or with its message below where the line would be too long."""
    where = f" step {count(event.step)}" if event.step is not None else ""
    run = f" {clean(event.run)}" if event.run is not None else ""
    historic = " (historic)" if event.historic else ""
    head = f"{indent}{clock(event.at)} {event.severity.value:<8} {clean(event.kind)}{run}{where}{historic}"
    message = clean(event.message)
    columns = columns or width()
    if len(head) + len(message) + 2 <= columns:
        return [f"{head}: {message}"]
    return [*fold(head.strip(), indent, columns), *fold(message, indent + "    ", columns)]


def finish_time(at: float, now: float) -> str:
    """The moment a run will be done: `16:40`, with the day if it is not today."""
    there, here = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if there[:3] == here[:3] else "%a %d %b %H:%M", there)


def by_interest(runs: Sequence[RunInfo]) -> list[RunInfo]:
    """Open incidents first, then what still runs, then the newest."""

    def interest(run: RunInfo) -> tuple[bool, bool, float]:
        return not run.open_incidents, run.row.state.ended, -(run.last_step_at or run.row.first_seen)

    return sorted(runs, key=interest)


def fold(text: str, indent: str = "", columns: int | None = None, *, hang: str = "") -> list[str]:
    """Break a text at the terminal's width; what goes on is set in by `hang` as well. A unit stays with its number."""
    lines = textwrap.wrap(
        _UNIT.sub("\xa0", text),
        columns or width(),
        initial_indent=indent,
        subsequent_indent=indent + hang,
        break_on_hyphens=False,
    )
    return [line.replace("\xa0", " ") for line in lines]


def plural(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
