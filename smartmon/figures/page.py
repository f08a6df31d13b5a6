"""Pictures of a run as PNG and SVG: a page in the shape of a sheet of paper, and single charts."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from smartmon import canvas
from smartmon.canvas import GRID, MUTED, UNDRAWABLE, plain
from smartmon.errors import UsageError
from smartmon.figures import key
from smartmon.figures.panels import MARKED, PANELS
from smartmon.figures.portraits import Portrait, portrait
from smartmon.store import RunRow, Store
from smartmon.text import clock, count, duration, number

PLOTS = ("overview", *PANELS)
"""The names of the pictures that `plots` draws."""
SAMPLE = 40
"""Characters of a prompt or an answer that the table shows."""

_PAGE = (8.27, 11.69)
"""Inches: a sheet of A4."""
_LEFT, _RIGHT = 0.085, 0.935
"""What is written lies between these shares of the width: printers leave a margin white."""
_CHART = (7.0, 3.6)
_SAID = {"eval_loss": "evaluation loss", "eval_accuracy": "evaluation accuracy"}
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
            drawn[name] = canvas.png(_page(told, draw=True) if name == "overview" else _alone(name, told))
    return drawn


def chart(name: str, told: Portrait, size: tuple[float, float]) -> Any:
    """One of the charts as a figure of its own. To be called while `ready` is held."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    PANELS[name](figure.add_subplot(), told)
    return figure


def _alone(name: str, told: Portrait) -> Any:
    """A chart that says itself whose it is, and what its marks mean."""
    figure = chart(name, told, _CHART)
    figure.suptitle(plain(told.name, 90, draw=True), x=0.99, ha="right", fontsize=7.5, color=MUTED)
    marks = key.handles(told) if name in MARKED else []
    if marks:
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), columnspacing=1.2)
    return figure


def _page(told: Portrait, *, draw: bool) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_PAGE)
    _write(figure, 0.966, plain(told.name, 60, draw=draw), fontsize=15, fontweight="bold")
    _write(figure, 0.9475, headline(told), fontsize=8.5, color=MUTED)
    bottom = 0.26 if told.examples else 0.1
    grid = figure.add_gridspec(
        3,
        2,
        left=_LEFT,
        right=_RIGHT - 0.03,
        top=0.9,
        bottom=bottom,
        hspace=0.36 if told.examples else 0.3,
        wspace=0.24,
    )
    for place, draw_panel in enumerate(PANELS.values()):
        draw_panel(figure.add_subplot(grid[place // 2, place % 2]), told)
    marks = key.handles(told)
    if marks:
        where = (_LEFT - 0.005, 0.929)
        figure.legend(handles=marks, loc="center left", bbox_to_anchor=where, ncols=len(marks), columnspacing=1.2)
    _table(figure, told, bottom - 0.052, draw=draw)
    return figure


def _write(figure: Any, y: float, words: str, *, fontsize: float, **style: Any) -> None:
    """A line across the page, in smaller letters where it would be too long."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    written = figure.text(_LEFT, y, words, fontsize=fontsize, va="center", **style)
    measure: Any = FigureCanvasAgg(figure)
    wide = written.get_window_extent(measure.get_renderer()).width / figure.bbox.width
    if wide > _RIGHT - _LEFT:
        written.set_fontsize(0.98 * fontsize * (_RIGHT - _LEFT) / wide)


def headline(told: Portrait) -> str:
    """State, progress, best value, time and incidents in one line."""
    done = f"step {count(told.step)}"
    if told.step is not None and told.total_steps:
        done += f" of {count(told.total_steps)} ({100 * min(1.0, told.step / told.total_steps):.0f} %)"
    parts = [told.state, done]
    if told.best is not None:
        metric = _SAID.get(told.best_metric, plain(told.best_metric, 30))
        parts.append(f"best {metric} {number(told.best)} at step {count(told.best_step)}")
    if told.began is not None and told.last is not None and told.last - told.began >= 1.0:
        parts.append(f"{duration(told.last - told.began)} until {clock(told.last)[:16]}")
    still = f", {told.open_incidents} open" if told.open_incidents else ""
    parts.append("1 incident" + still if told.incidents == 1 else f"{told.incidents:,} incidents{still}")
    return "   ·   ".join(parts)


def _table(figure: Any, told: Portrait, top: float, *, draw: bool) -> None:
    """The last samples, newest last: each with what was expected above what came, so that they can be compared."""
    figure.text(_LEFT, top, "Last samples", fontsize=9, fontweight="bold", va="center")
    if not told.examples:
        figure.text(_LEFT, top - 0.018, "no samples were logged", fontsize=8, color=MUTED, va="center")
        return
    from matplotlib.lines import Line2D

    columns = (_LEFT, 0.145, 0.485, 0.555, 0.875)
    boxes = False
    for row, one in enumerate(told.examples):
        y = top - 0.022 - row * 0.0335
        figure.add_artist(Line2D([_LEFT, _RIGHT], [y + 0.0095] * 2, color=GRID, lw=0.6))
        upper = (count(one.step), plain(one.prompt, SAMPLE, draw=draw), "expected", one.expected, one.result)
        lower = ("", "", "answer", one.answer, "")
        for cells, line in ((upper, y), (lower, y - 0.0135)):
            for place, (x, cell) in enumerate(zip(columns, cells)):
                words = plain(cell, SAMPLE, draw=draw)
                boxes = boxes or UNDRAWABLE in words
                style = {"color": MUTED, "fontsize": 6.5} if place == 2 else {"family": _mono(), "fontsize": 7}
                figure.text(x, line, words, va="center", **style)
    if boxes and draw:
        words = f"{UNDRAWABLE}: a letter that no font on this machine has; the .html holds it"
        figure.text(_RIGHT, top, words, fontsize=6.5, color=MUTED, va="center", ha="right")


def _mono() -> list[str]:
    return ["DejaVu Sans Mono", *canvas.families()]
