"""What the marks mean that all charts of a run share: as a legend beneath a title, and in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smartmon.canvas import INK, MUTED, ORANGE, PAPER
from smartmon.figures.portraits import Portrait

_SIGNS: dict[str, tuple[str, dict[str, Any]]] = {
    "critical": ("critical anomaly", {"ls": "", "marker": "v", "mfc": ORANGE, "mec": INK}),
    "warning": ("warning", {"ls": "", "marker": "v", "mfc": PAPER, "mec": ORANGE}),
    "info": ("noticed", {"ls": "", "marker": "|", "mec": MUTED}),
    "nan": ("NaN or infinite", {"ls": "", "marker": "x", "mec": INK}),
    "snapshot": ("snapshot", {"ls": "", "marker": "s", "mfc": PAPER, "mec": INK}),
    "restart": ("restart", {"color": MUTED, "lw": 0.8, "ls": (0, (1, 1.5))}),
    "undone": ("undone by a restart", {"color": MUTED, "lw": 0.6, "ls": ":"}),
}
_WORDS = {
    "critical": "A full triangle at the top edge is a critical anomaly.",
    "warning": "A hollow triangle at the top edge is a warning.",
    "info": "A tick at the top edge is something noticed.",
    "nan": "A cross is a value that is NaN or infinite.",
    "snapshot": "A square at the bottom edge is a snapshot.",
    "restart": "A dotted upright line is a restart.",
    "undone": "A dotted curve was undone by a restart.",
}


def handles(told: Portrait) -> list[Any]:
    """The lines of a legend of what there is; with their labels."""
    from matplotlib.lines import Line2D

    return [Line2D([], [], ms=5, mew=0.9, label=_SIGNS[name][0], **_SIGNS[name][1]) for name in _there(told)]


def words(told: Portrait) -> str:
    """The same in sentences, empty where there is nothing to explain."""
    return " ".join(_WORDS[name] for name in _there(told))


def _there(told: Portrait) -> Iterator[str]:
    severities = {mark.severity for mark in told.marks}
    yield from (name for name in ("critical", "warning", "info") if name in severities)
    curves = [*told.curves.values(), told.speed]
    if any(curve.bad for curve in curves):
        yield "nan"
    if told.snapshots:
        yield "snapshot"
    if told.attempts:
        yield "restart"
    if any(curve.undone for curve in curves):
        yield "undone"
