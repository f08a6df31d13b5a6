"""The charts of a run, each drawn into axes that it is given.

What is to be told apart differs in line, shape or lightness, never in hue alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from smartmon.canvas import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PAPER, PURPLE, YELLOW
from smartmon.figures.portraits import Curve, Portrait
from smartmon.store.rows import Point
from smartmon.text import number

_STEEP = 60.0
"""From this ratio of the highest to the middle value on, a loss is drawn on a logarithmic axis."""
_CROWD = 60
"""Of more anomalies than this only the marks are drawn, without a line through the chart each."""
_TICKS = 7
_WORDS = {
    "tokens_per_sec": "tokens/s",
    "samples_per_sec": "samples/s",
    "steps_per_sec": "steps/s",
    "eval_accuracy": "accuracy (evaluation)",
}


def loss(axes: Any, told: Portrait) -> None:
    """The training's loss with its mean, and the evaluation's."""
    curve, other = told.curves["loss"], told.curves["eval_loss"]
    _frame(axes, "Loss", told)
    _line(axes, curve, BLUE, "loss")
    _dots(axes, other, ORANGE, "evaluation loss")
    if told.best is not None and told.best_step is not None:
        label = f"best {number(told.best)} at step {told.best_step:,}"
        axes.plot([told.best_step], [told.best], "*", ms=8, mfc=PAPER, mec=INK, mew=0.9, label=label, zorder=6)
    _logarithmic(axes, [*curve.values, *other.values])
    _finish(axes, told, [curve, other], "no loss was logged")


def accuracy(axes: Any, told: Portrait) -> None:
    """Accuracy in percent, on the whole scale."""
    curve, other = told.curves["accuracy"], told.curves["eval_accuracy"]
    _frame(axes, "Accuracy (%)", told)
    axes.set(ylim=(0, 100), yticks=range(0, 101, 20))
    _line(axes, curve, GREEN, "accuracy")
    _dots(axes, other, ORANGE, "evaluation accuracy")
    _finish(axes, told, [curve, other], "no accuracy was logged")


def throughput(axes: Any, told: Portrait) -> None:
    """Speed, with the mean of the whole run."""
    curve = told.speed
    _frame(axes, f"Throughput ({_WORDS.get(curve.metric, curve.metric)})", told)
    _line(axes, curve, YELLOW, "")
    values = curve.values
    if values:
        mean = math.fsum(values) / len(values)
        axes.axhline(mean, color=INK, lw=0.9, ls=(0, (6, 3)), label=f"mean of the run: {_level(mean)}", zorder=4)
        axes.set_ylim(bottom=0)
    _finish(axes, told, [curve], "no speed was logged")


def learning_rate(axes: Any, told: Portrait) -> None:
    """The learning rate on a logarithmic axis; its zeros lie below it."""
    curve = told.curves["learning_rate"]
    _frame(axes, "Learning rate (log)", told)
    high = [point for point in curve.points if point.last > 0]
    axes.plot(*_joined(high, "last"), color=PURPLE, lw=1.3, zorder=3)
    if high:
        peak = max(high, key=lambda point: point.last)
        label = f"highest {number(peak.last)} at step {peak.step:,}"
        axes.plot([peak.step], [peak.last], "D", ms=4, mfc=PAPER, mec=INK, mew=0.9, label=label, zorder=5)
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis, _level)
    _finish(axes, told, [curve] if high else [], "no learning rate was logged")


def loss_accuracy(axes: Any, told: Portrait) -> None:
    """Loss against accuracy, from dark to light as the steps go by."""
    axes.set_title("Loss against accuracy, coloured by step")
    axes.grid(True)
    pairs = told.pairs()
    axes.set_xlabel("loss")
    axes.set_ylabel("accuracy (%)")
    if not pairs:
        _empty(axes, "no loss and accuracy of the same steps")
        return
    losses, shares, steps = zip(*pairs)
    axes.set_ylim(0, 100)
    if _is_steep(losses):
        axes.set_xscale("log")
    _plain_ticks(axes.xaxis, _level)
    dots = axes.scatter(losses, shares, c=steps, cmap="cividis", s=11, edgecolors=MUTED, linewidths=0.25, zorder=3)
    if steps[0] != steps[-1]:
        bar = axes.figure.colorbar(dots, ax=axes, pad=0.02, aspect=30)
        bar.outline.set_visible(False)
        # As shapes: an embedded picture is what a browser's content policy may refuse.
        bar.solids.set_rasterized(False)
        bar.solids.set_edgecolor("face")
        _plain_ticks(bar.ax.yaxis, _steps)


def recent(axes: Any, told: Portrait) -> None:
    """The last 500 steps: loss on the left axis, accuracy on the right one."""
    curve = told.recent["loss"]
    shares = told.recent["accuracy"] if told.recent["accuracy"].count else told.recent["eval_accuracy"]
    axes.set_title("Last 500 steps")
    axes.grid(True)
    _plain_ticks(axes.xaxis, _steps)
    axes.set_xlabel("step")
    axes.plot(*_joined(curve.points, "last"), color=BLUE, lw=1.0, zorder=3, label="loss (left)", **_dot(curve.points))
    axes.set_ylabel("loss", color=BLUE)
    _plain_ticks(axes.yaxis, _level)
    _logarithmic(axes, curve.values)
    if not curve.values and not shares.values:
        _empty(axes, "nothing was logged")
        return
    if shares.values:
        right = axes.twinx()
        right.spines["right"].set_visible(True)
        right.set_ylim(0, 100)
        right.set_ylabel("accuracy (%)", color=GREEN)
        right.plot(
            *_joined(shares.points, "last"),
            color=GREEN,
            lw=1.2,
            ls=(0, (4, 2)),
            zorder=3,
            label="accuracy (right)",
            **_dot(shares.points),
        )
        handles = [*axes.get_lines(), *right.get_lines()]
        right.legend(handles=handles, loc="upper right", bbox_to_anchor=(1.0, 1.13), ncols=2, borderaxespad=0)


PANELS: dict[str, Callable[[Any, Portrait], None]] = {
    "loss": loss,
    "accuracy": accuracy,
    "throughput": throughput,
    "learning_rate": learning_rate,
    "loss_accuracy": loss_accuracy,
    "recent": recent,
}
"""Name -> what draws it, in the order of a page."""


def _frame(axes: Any, title: str, told: Portrait) -> None:
    axes.set_title(title)
    axes.grid(True)
    _plain_ticks(axes.xaxis, _steps)
    _plain_ticks(axes.yaxis, _level)
    axes.set_xlabel("step")
    for step in told.attempts:
        axes.axvline(step, color=MUTED, lw=0.8, ls=(0, (1, 1.5)), zorder=1.5)


def _line(axes: Any, curve: Curve, colour: str, name: str) -> None:
    """A curve: the extremes as a band, the values thin and light, their mean thick and dark."""
    many = len(curve.points) > 1
    if curve.undone:
        axes.plot(*_joined(curve.undone, "last"), color=MUTED, lw=0.6, ls=":", label="undone by a restart", zorder=2)
    if curve.count > len(curve.points) + len(curve.undone):
        steps, lows = _joined(curve.points, "min")
        axes.fill_between(steps, lows, _joined(curve.points, "max")[1], color=colour, alpha=0.18, lw=0, zorder=2)
    style = {"lw": 0.7, "alpha": 0.6} if many else _dot(curve.points)
    axes.plot(*_joined(curve.points, "last"), color=colour, zorder=3, **({"label": name} if name else {}), **style)
    if curve.means and curve.values:
        axes.plot(*zip(*curve.means), color=colour, lw=1.8, label=f"mean of {curve.reach:,} steps", zorder=4)


def _dots(axes: Any, curve: Curve, colour: str, name: str) -> None:
    """A curve of few points, such as an evaluation's."""
    if not curve.values:
        return
    size = 3.2 if len(curve.points) <= 80 else 0
    axes.plot(
        *_joined(curve.points, "last"),
        color=colour,
        lw=1.0,
        ls=(0, (5, 1.5)),
        marker="o",
        ms=size,
        label=name,
        zorder=5,
    )


def _dot(points: Sequence[Point]) -> dict[str, Any]:
    return {"marker": "o", "ms": 4} if len(points) == 1 else {}


def _joined(points: Iterable[Point], column: str) -> tuple[list[float], list[float]]:
    """Steps and values, with a gap where one attempt's undone steps end and another's begin."""
    steps: list[float] = []
    values: list[float] = []
    for point in points:
        if steps and point.step <= steps[-1]:
            steps.append(math.nan)
            values.append(math.nan)
        steps.append(point.step)
        values.append(getattr(point, column))
    return steps, values


def _finish(axes: Any, told: Portrait, curves: Sequence[Curve], nothing: str) -> None:
    """Limits, the marks of what happened, and the legend."""
    if not any(curve.count for curve in curves):
        _empty(axes, nothing)
        return
    ends = [point.step for curve in curves for point in (*curve.points, *curve.undone)]
    ends += [step for curve in curves for step in curve.bad]
    low, high = min(ends), max(ends)
    margin = max(0.5, 0.02 * (high - low))
    axes.set_xlim(low - margin, high + margin)
    _anomalies(axes, told)
    lane = axes.get_xaxis_transform()
    kept = [step for step in told.snapshots if low <= step <= high]
    if kept:
        axes.plot(
            kept, [0.0] * len(kept), "s", ms=4, mfc=PAPER, mec=INK, mew=0.8, transform=lane, clip_on=False, zorder=7
        )
    bad = sorted({step for curve in curves for step in curve.bad})
    if bad:
        axes.plot(
            bad, [0.965] * len(bad), "x", ms=4.5, mec=INK, mew=1.1, transform=lane, label="NaN or infinite", zorder=7
        )
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="best", handlelength=1.8, labelspacing=0.25, borderaxespad=0.3)


def _anomalies(axes: Any, told: Portrait) -> None:
    """Marks at the top edge: full for critical, hollow for warning, a tick for info; a line below those that matter."""
    lane = axes.get_xaxis_transform()
    grave = {mark.step for mark in told.marks if mark.severity != "info"}
    if len(grave) <= _CROWD:
        for step in grave:
            axes.axvline(step, color=ORANGE, lw=0.6, alpha=0.55, zorder=1.6)
    for severity, style in (
        ("info", {"marker": "|", "ms": 5, "mec": MUTED, "mew": 0.9}),
        ("warning", {"marker": "v", "ms": 5, "mfc": PAPER, "mec": ORANGE, "mew": 0.9}),
        ("critical", {"marker": "v", "ms": 5.5, "mfc": ORANGE, "mec": INK, "mew": 0.4}),
    ):
        steps = sorted({mark.step for mark in told.marks if mark.severity == severity})
        if steps:
            axes.plot(steps, [1.0] * len(steps), ls="", transform=lane, clip_on=False, zorder=7, **style)


def _empty(axes: Any, words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=8)
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.spines[:].set_color(GRID)


def _logarithmic(axes: Any, values: Sequence[float]) -> None:
    if _is_steep(values):
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis, _level)


def _is_steep(values: Sequence[float]) -> bool:
    ordered = sorted(values)
    return bool(ordered) and ordered[0] > 0 and ordered[-1] > _STEEP * ordered[len(ordered) // 2]


def _plain_ticks(axis: Any, words: Callable[[float], str]) -> None:
    """Letter an axis without formulas or powers, which a reader of a picture would have to decode."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    log = axis.get_scale() == "log"
    axis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0), numticks=8) if log else MaxNLocator(_TICKS, steps=[1, 2, 2.5, 5, 10])
    )
    axis.set_major_formatter(FuncFormatter(lambda value, _place: words(float(value))))
    axis.set_minor_formatter(NullFormatter())


def _level(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else number(value)


def _steps(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.4g}M"
    if abs(value) >= 1e5 and value % 1000 == 0:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value == round(value) else ""
