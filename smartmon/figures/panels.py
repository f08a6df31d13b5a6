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

_STEEP = 12.0
"""From this ratio of the highest to the middle value on, a loss is drawn on a logarithmic axis: a spike would else
press all the rest into a line."""
_CROWD = 60
"""Of more anomalies than this only the marks are drawn, without a line through the chart each."""
_NEAR = 0.012
"""Anomalies nearer than this share of the width are drawn as one: ten in ten steps would be a bar across the chart."""
_FEW = 30
"""Up to so many points each is drawn as one."""
_DEPTH = 1e-4
"""A learning rate below this share of its highest is as good as none: a schedule's end would else fill the axis."""
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
    if _logarithmic(axes, [*curve.values, *other.values]):
        axes.set_title("Loss (log)")
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
        axes.set_ylim(0, 1.08 * max(*values, mean) or 1)
    _finish(axes, told, [curve], "no speed was logged")


def learning_rate(axes: Any, told: Portrait) -> None:
    """The learning rate on a logarithmic axis; its zeros, and what is next to none, lie below it."""
    curve = told.curves["learning_rate"]
    _frame(axes, "Learning rate (log)", told)
    high = [point for point in curve.points if point.last > 0]
    axes.plot(*_joined(high, "last"), color=PURPLE, lw=1.3, zorder=3, **_dot(high))
    if high:
        peak = max(high, key=lambda point: point.last)
        label = f"highest {number(peak.last)} at step {peak.step:,}"
        axes.plot([peak.step], [peak.last], "D", ms=4, mfc=PAPER, mec=INK, mew=0.9, label=label, zorder=5)
        axes.set_yscale("log")
        least = min(point.last for point in high)
        axes.set_ylim(max(least, _DEPTH * peak.last) / 1.3, peak.last * 1.5)
        _plain_ticks(axes.yaxis, lambda rate: number(rate) if rate >= 1e-3 else f"{rate:.0e}")
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
        axes.set_xlabel("loss (log)")
    _plain_ticks(axes.xaxis, _level)
    dots = axes.scatter(losses, shares, c=steps, cmap="cividis", s=11, edgecolors=MUTED, linewidths=0.35, zorder=3)
    if steps[0] != steps[-1]:
        bar = axes.figure.colorbar(dots, ax=axes, pad=0.02, aspect=30)
        bar.outline.set_visible(False)
        # As shapes: an embedded picture is what a browser's content policy may refuse.
        bar.solids.set_rasterized(False)
        bar.solids.set_edgecolor("face")
        _plain_ticks(bar.ax.yaxis, _steps, whole=True)


def recent(axes: Any, told: Portrait) -> None:
    """The last 500 steps: loss on the left axis, accuracy on the right one."""
    curve = told.recent["loss"]
    shares = told.recent["accuracy"] if told.recent["accuracy"].count else told.recent["eval_accuracy"]
    axes.set_title("Last 500 steps")
    axes.grid(True)
    _plain_ticks(axes.xaxis, lambda step: f"{step:,.0f}", whole=True)
    axes.set_xlabel("step")
    axes.plot(*_joined(curve.points, "last"), color=BLUE, lw=1.0, zorder=3, label="loss (left)", **_dot(curve.points))
    axes.set_ylabel("loss", color=BLUE)
    _plain_ticks(axes.yaxis, _level)
    if not curve.values and not shares.values:
        _empty(axes, "nothing was logged")
        return
    if _logarithmic(axes, curve.values):
        axes.set_ylabel("loss (log)", color=BLUE)
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
        right.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=2,
            fontsize=6.5,
            handlelength=1.6,
            columnspacing=0.9,
            borderaxespad=0.1,
            borderpad=0.2,
        )


PANELS: dict[str, Callable[[Any, Portrait], None]] = {
    "loss": loss,
    "accuracy": accuracy,
    "throughput": throughput,
    "learning_rate": learning_rate,
    "loss_accuracy": loss_accuracy,
    "recent": recent,
}
"""Name -> what draws it, in the order of a page."""
MARKED = ("loss", "accuracy", "throughput", "learning_rate")
"""Those that have the marks of what happened."""


def _frame(axes: Any, title: str, told: Portrait) -> None:
    axes.set_title(title)
    axes.grid(True)
    _plain_ticks(axes.xaxis, _steps, whole=True)
    _plain_ticks(axes.yaxis, _level)
    axes.set_xlabel("step")
    for step in told.attempts:
        axes.axvline(step, color=MUTED, lw=0.8, ls=(0, (1, 1.5)), zorder=1.5)


def _line(axes: Any, curve: Curve, colour: str, name: str) -> None:
    """A curve: the extremes as a band, the values thin and light, their mean thick and dark."""
    if curve.undone:
        undone = _joined(curve.undone, "last", apart=True)
        axes.plot(*undone, color=MUTED, lw=0.6, ls=":", zorder=2)
    if curve.count > len(curve.points) + len(curve.undone):
        # Its edge has a width: a spike of one step in a million is narrower than a dot.
        steps, lows = _joined(curve.points, "min")
        axes.fill_between(steps, lows, _joined(curve.points, "max")[1], color=colour, alpha=0.2, lw=0.5, zorder=2)
    style = {"lw": 0.7, "alpha": 0.6} if len(curve.points) > _FEW else {"lw": 0.9, **_dot(curve.points)}
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
    return {"marker": "o", "ms": 4 if len(points) == 1 else 2.5} if len(points) <= _FEW else {}


def _joined(points: Iterable[Point], column: str, *, apart: bool = False) -> tuple[list[float], list[float]]:
    """Steps and values; with `apart` there is a gap where one attempt's undone steps end and another's begin."""
    steps: list[float] = []
    values: list[float] = []
    before: Point | None = None
    for point in points:
        if before is not None and (point.step <= before.step or (apart and point.attempt != before.attempt)):
            steps.append(math.nan)
            values.append(math.nan)
        before = point
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
        axes.plot(bad, [0.965] * len(bad), "x", ms=4.5, mec=INK, mew=1.1, transform=lane, zorder=7)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="best", handlelength=1.8, labelspacing=0.25, borderaxespad=0.3)


def _anomalies(axes: Any, told: Portrait) -> None:
    """Marks at the top edge: full for critical, hollow for warning, a tick for info; a line below those that matter."""
    lane = axes.get_xaxis_transform()
    low, high = axes.get_xlim()
    least = _NEAR * (high - low)
    # Of other charts' steps: a mark beyond the axes would lie on the chart beside it.
    seen = [mark for mark in told.marks if low <= mark.step <= high]
    grave = _apart((mark.step for mark in seen if mark.severity != "info"), least)
    if len(grave) <= _CROWD:
        for step in grave:
            axes.axvline(step, color=ORANGE, lw=0.6, alpha=0.55, zorder=1.6)
    for severity, style in (
        ("info", {"marker": "|", "ms": 5, "mec": MUTED, "mew": 0.9}),
        ("warning", {"marker": "v", "ms": 5, "mfc": PAPER, "mec": ORANGE, "mew": 0.9}),
        ("critical", {"marker": "v", "ms": 5.5, "mfc": ORANGE, "mec": INK, "mew": 0.4}),
    ):
        steps = _apart((mark.step for mark in seen if mark.severity == severity), least)
        if steps:
            axes.plot(steps, [1.0] * len(steps), ls="", transform=lane, clip_on=False, zorder=7, **style)


def _apart(steps: Iterable[int], least: float) -> list[int]:
    """The first of each cluster of steps: those that lie at least so far apart."""
    kept: list[int] = []
    for step in sorted(steps):
        if not kept or step - kept[-1] >= max(1.0, least):
            kept.append(step)
    return kept


def _empty(axes: Any, words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=8)
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.spines[:].set_color(GRID)


def _logarithmic(axes: Any, values: Sequence[float]) -> bool:
    """Make the axis logarithmic where the values want it; returns whether it is."""
    if not _is_steep(values):
        return False
    axes.set_yscale("log")
    _plain_ticks(axes.yaxis, _level)
    return True


def _is_steep(values: Sequence[float]) -> bool:
    ordered = sorted(values)
    return bool(ordered) and ordered[0] > 0 and ordered[-1] > _STEEP * ordered[len(ordered) // 2]


def _plain_ticks(axis: Any, words: Callable[[float], str], *, whole: bool = False) -> None:
    """Letter an axis without formulas or powers, which a reader of a picture would have to decode."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    if axis.get_scale() == "log":
        axis.set_major_locator(_decades())
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(_TICKS, steps=[1, 2, 2.5, 5, 10], integer=whole))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: words(float(value))))
    axis.set_minor_formatter(NullFormatter())


def _decades() -> Any:
    """A logarithmic axis with as many round numbers as there is room to letter: 1, 2, 5 or 1, 3 or 1 of each decade."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    class Decades(LogLocator):
        def tick_values(self, vmin: float, vmax: float) -> Any:
            low, high = sorted((vmin, vmax))
            for subs in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
                self.set_params(subs=subs, numticks=_TICKS + 2)
                ticks = [tick for tick in super().tick_values(vmin, vmax) if low <= tick <= high]
                if len(ticks) <= _TICKS:
                    break
            # Within less than a decade there may be none, or one, which tells no scale.
            return ticks if len(ticks) > 1 else MaxNLocator(_TICKS).tick_values(vmin, vmax)

    return Decades()


def _level(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else number(value)


def _steps(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.4g}M"
    if abs(value) >= 1e5 and value % 1000 == 0:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value == round(value) else ""
