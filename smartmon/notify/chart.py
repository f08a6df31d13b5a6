"""The small chart beside an alert: the metric up to the anomaly, which is marked, with the level and limit expected.

`describe` gathers numbers in the daemon; `draw` makes the picture in the sending child, which alone loads matplotlib.
The child draws what it is told in numbers and opens no file that a message could name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from smartmon import canvas
from smartmon.canvas import BLUE, INK, MUTED, ORANGE, PAPER, finite, plain
from smartmon.records import Change, IncidentChange, Json
from smartmon.text import number

NAME = "chart.png"
TOLD = (Change.OPENED, Change.ESCALATED)
"""What happened to an incident when a picture says more than the words."""
TRIES = 3
"""After so many the words go alone."""
_POINTS = 240
_DOTS = (0, (3, 1, 1, 1))
_BEFORE = 400
"""Steps before the trouble began that are shown; of a run with a row each so many steps, so many rows."""
_SIZE = (4.0, 2.5)
"""Inches: as wide as a phone shows it, so that letters of 8 points are read there."""
_DPI = 200
"""800 by 500 dots: sharp on a phone, and still some tens of kilobytes."""
_STEEP = 12.0
"""From this ratio of the highest to the middle value on, the axis is logarithmic."""


class Tables(Protocol):
    """What is read of the store here."""

    def series(
        self, run_id: int, metric: str, *, attempt: int | None = None, start: int | None = None, max_points: int = 4000
    ) -> Any:
        """A metric of a run."""

    def recent(self, run_id: int, metric: str, n: int) -> Sequence[Any]:
        """The last observations of a metric."""

    def events(self, *, run_id: int | None = None, kinds: Sequence[str] = (), limit: int = 50) -> Sequence[Any]:
        """Events of some kinds."""


def describe(store: Tables, run_id: int, run: str, change: IncidentChange) -> dict[str, Json] | None:
    """Return what a chart of an incident shows, as JSON; None where there is nothing to draw."""
    if change.change not in TOLD:
        return None
    told = _evidence(store, run_id, change)
    metric = change.metric or "loss"
    curve = _curve(store, run_id, metric, change)
    if len(curve) < 2 and metric != "loss":
        metric, told = "loss", {}
        curve = _curve(store, run_id, metric, change)
    if len(curve) < 2:
        return None
    beside = _curve(store, run_id, "loss", change) if metric != "loss" else []
    return {
        "run": run,
        "kind": change.kind,
        "metric": metric,
        "step": change.step,
        "critical": change.severity.value == "critical",
        "value": told.get("value", change.value),
        "expected": told.get("expected", change.expected),
        "limit": told.get("limit"),
        "points": curve,
        "loss": beside,
    }


def _evidence(store: Tables, run_id: int, change: IncidentChange) -> Mapping[str, Json]:
    """What the anomaly's own event says: it knows the limit, which the incident does not."""
    rows = store.events(run_id=run_id, kinds=(change.kind,), limit=20)
    return next((row.data for row in reversed(rows) if row.step == change.step), {})


def _curve(store: Tables, run_id: int, metric: str, change: IncidentChange) -> list[list[float | None]]:
    """Step, last, least and most of each point, up to now; null for what is not finite."""
    rows = store.recent(run_id, metric, _BEFORE)
    steps = [row.step for row in rows if row.attempt == change.attempt]
    if not steps:
        return []
    start = min(steps[0], (change.onset_step or change.start_step) - _BEFORE)
    points = store.series(run_id, metric, attempt=change.attempt, start=start, max_points=_POINTS).points
    return [[point.step, *map(_json, (point.last, point.min, point.max))] for point in points]


def _json(value: float) -> float | None:
    return None if math.isnan(finite(value)) else value


def draw(told: Mapping[str, Any]) -> bytes:
    """Return the chart as PNG, 800 by 500 dots. Raises ModuleNotFoundError without matplotlib."""
    with canvas.drawing():
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        unit = " (%)" if "accuracy" in told["metric"] else ""
        axes.set_title(plain(f"{told['metric']}{unit} - {told['run']}", 44, draw=True), fontsize=9)
        axes.grid(True)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}" if step == int(step) else ""))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(float(value))))
        axes.tick_params(labelsize=8)
        axes.set_xlabel("step", fontsize=8)
        values = _lines(axes, told)
        _level(axes, told.get("expected"), "expected", (0, (5, 2)))
        _level(axes, told.get("limit"), "limit", (0, (1, 1.2)))
        _mark(axes, told)
        if values and min(values) > 0 and max(values) > _STEEP * sorted(values)[len(values) // 2]:
            axes.set_yscale("log")
        handles, labels = axes.get_legend_handles_labels()
        # Below, where it hides nothing of what it explains.
        figure.legend(
            handles, labels, loc="outside lower center", ncols=2, fontsize=8, handlelength=1.6, labelspacing=0.3
        )
        return canvas.png(figure, _DPI)


def _lines(axes: Any, told: Mapping[str, Any]) -> list[float]:
    """The metric; behind it, on a scale of its own, the loss where that is another. Returns the metric's values."""
    steps, last, low, high = _columns(told["points"])
    if told.get("loss"):
        other = axes.twinx()
        other.plot(*_columns(told["loss"])[:2], color=MUTED, lw=0.8, ls=_DOTS)
        other.set_yticks([])
        axes.set_zorder(other.get_zorder() + 1)
        axes.plot([], [], color=MUTED, lw=0.8, ls=_DOTS, label="loss (own scale)")
    axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, lw=0)
    axes.plot(steps, last, color=BLUE, lw=1.1)
    return [value for value in last if not math.isnan(value)]


def _columns(points: Sequence[Sequence[Any]]) -> tuple[list[float], ...]:
    columns = [[finite(value) for value in column] for column in zip(*points)]
    return tuple(columns)


def _level(axes: Any, value: float | None, name: str, dashes: tuple[int, tuple[float, ...]]) -> None:
    if not math.isnan(finite(value)):
        axes.axhline(value, color=INK, lw=0.8, ls=dashes, label=f"{name} {number(value)}", zorder=3)


def _mark(axes: Any, told: Mapping[str, Any]) -> None:
    """A line at the anomaly's step, and a ring round its value, or a cross at the top where it has none to be drawn."""
    step, value, critical = told["step"], told.get("value"), told.get("critical")
    axes.axvline(step, color=ORANGE, lw=0.8, zorder=2)
    style = {"mfc": ORANGE if critical else PAPER, "mec": INK if critical else ORANGE, "ls": "", "zorder": 5}
    if math.isnan(finite(value)):
        label = f"{plain(told['kind'], 30)} at step {step:,}"
        axes.plot([step], [0.94], "X", ms=7, transform=axes.get_xaxis_transform(), label=label, **style)
    else:
        axes.plot([step], [value], "o", ms=6, mew=1.2, label=f"{number(value)} at step {step:,}", **style)
