"""Pictures of a run as PNG and SVG: a page in the shape of a sheet of paper, and single charts."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from smartmon import canvas
from smartmon.canvas import GRID, INK, MUTED, ORANGE, PAPER, plain
from smartmon.errors import UsageError
from smartmon.figures.panels import PANELS
from smartmon.figures.portraits import Portrait, portrait
from smartmon.store import RunRow, Store
from smartmon.text import clock, count, duration, number

PLOTS = ("overview", *PANELS)
"""The names of the pictures that `plots` draws."""
SAMPLE = 40
"""Characters of a prompt or an answer that the table shows."""

_PAGE = (8.27, 11.69)
"""Inches: a sheet of A4."""
_CHART = (7.0, 3.6)
_ONE_AT_A_TIME = threading.Lock()
"""matplotlib's settings belong to the whole process."""


@contextmanager
def ready(salt: str = "smartmon") -> Iterator[None]:
    """Draw while this is held. Raises ModuleNotFoundError where there is no matplotlib."""
    with _ONE_AT_A_TIME, canvas.drawing(salt):
        yield


def png(told: Portrait) -> bytes:
    """The page as PNG, 1240 by 1754 dots."""
    with ready():
        return canvas.png(_page(told, draw=True))


def svg(told: Portrait) -> str:
    """The page as an SVG document."""
    with ready():
        return canvas.svg(_page(told, draw=False))


def plots(store: Store, run: RunRow, names: Iterable[str] = PLOTS) -> dict[str, bytes]:
    """Pictures of a run as PNG by name, 150 dots to the inch.

    Raises UsageError for an unknown name, ModuleNotFoundError where there is no matplotlib.
    """
    wanted = known(names)
    return plots_of(portrait(store, run), wanted)


def known(names: Iterable[str]) -> list[str]:
    """Return each name once; raise UsageError for one that is no picture's."""
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in PLOTS]
    if unknown:
        raise UsageError(f"there is no picture {plain(unknown[0], 40)}; there are: {', '.join(PLOTS)}")
    return wanted


def plots_of(told: Portrait, names: Iterable[str]) -> dict[str, bytes]:
    """Draw the pictures of these names."""
    drawn = {}
    for name in names:
        # One by one, so that somebody who waits for a single chart does not wait for all of another's.
        with ready():
            drawn[name] = canvas.png(_page(told, draw=True) if name == "overview" else chart(name, told))
    return drawn


def chart(name: str, told: Portrait, size: tuple[float, float] = _CHART) -> Any:
    """One of the charts as a figure of its own. To be called while `ready` is held."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    PANELS[name](figure.add_subplot(), told)
    return figure


def _page(told: Portrait, *, draw: bool) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_PAGE)
    figure.text(0.075, 0.968, plain(told.name, 60, draw=draw), fontsize=15, fontweight="bold", va="center")
    figure.text(0.075, 0.947, headline(told), fontsize=8.5, color=MUTED, va="center")
    grid = figure.add_gridspec(3, 2, left=0.075, right=0.94, top=0.905, bottom=0.245, hspace=0.36, wspace=0.2)
    for place, draw_panel in enumerate(PANELS.values()):
        draw_panel(figure.add_subplot(grid[place // 2, place % 2]), told)
    _key(figure, told)
    _table(figure, told, draw=draw)
    return figure


def headline(told: Portrait) -> str:
    """State, progress, best value, time and incidents in one line."""
    done = f"step {count(told.step)}"
    if told.step is not None and told.total_steps:
        done += f" of {count(told.total_steps)} ({100 * min(1.0, told.step / told.total_steps):.0f} %)"
    parts = [told.state, done]
    if told.best is not None:
        parts.append(f"best {plain(told.best_metric, 30)} {number(told.best)} at step {count(told.best_step)}")
    if told.began is not None and told.last is not None and told.last - told.began >= 1.0:
        parts.append(f"{duration(told.last - told.began)} until {clock(told.last)[:16]}")
    still = f", {told.open_incidents} open" if told.open_incidents else ""
    parts.append("1 incident" + still if told.incidents == 1 else f"{told.incidents:,} incidents{still}")
    return "   ·   ".join(parts)


def _key(figure: Any, told: Portrait) -> None:
    """Explain the marks that all charts share, where there are any."""
    from matplotlib.lines import Line2D

    grave = {mark.severity for mark in told.marks}
    known: dict[str, tuple[str, dict[str, Any]]] = {
        "critical": ("critical anomaly", {"marker": "v", "mfc": ORANGE, "mec": INK}),
        "warning": ("warning", {"marker": "v", "mfc": PAPER, "mec": ORANGE}),
        "info": ("noticed", {"marker": "|", "mec": MUTED}),
    }
    marks = [
        Line2D([], [], ls="", ms=5, mew=0.9, label=words, **style)
        for name, (words, style) in known.items()
        if name in grave
    ]
    if told.snapshots:
        marks.append(Line2D([], [], ls="", marker="s", ms=4, mfc=PAPER, mec=INK, mew=0.8, label="snapshot"))
    if told.attempts:
        marks.append(Line2D([], [], color=MUTED, lw=0.8, ls=(0, (1, 1.5)), label="restart"))
    if marks:
        figure.legend(
            handles=marks, loc="center left", bbox_to_anchor=(0.07, 0.9305), ncols=len(marks), columnspacing=1.4
        )


def _table(figure: Any, told: Portrait, *, draw: bool) -> None:
    """The last samples, newest last, each cut to what a line holds."""
    figure.text(0.075, 0.196, "Last samples", fontsize=9, fontweight="bold", va="center")
    if not told.examples:
        figure.text(0.075, 0.176, "the trainer told of none", fontsize=7, color=MUTED, va="center")
        return
    columns = ((0.075, "step"), (0.13, "prompt"), (0.386, "expected"), (0.642, "answer"), (0.898, "result"))
    for x, head in columns:
        figure.text(x, 0.174, head, fontsize=6.5, color=MUTED, va="center")
    from matplotlib.lines import Line2D

    for row, one in enumerate(told.examples):
        y = 0.152 - row * 0.0235
        figure.add_artist(Line2D([0.075, 0.94], [y + 0.0125] * 2, color=GRID, lw=0.6))
        cells = (count(one.step), one.prompt, one.expected, one.answer, one.result)
        for (x, _head), cell in zip(columns, cells):
            figure.text(x, y, plain(cell, SAMPLE, draw=draw), fontsize=5.7, family=_mono(), va="center")


def _mono() -> list[str]:
    return ["DejaVu Sans Mono", *canvas.families()]
