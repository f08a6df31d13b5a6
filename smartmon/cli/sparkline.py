"""A series drawn in a few lines of text. Each column spans the extremes of its bucket, so a one-step spike shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from smartmon.store import Point

_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""Braille dots of the left and the right column of a cell, from the bottom up."""
_PLAIN = " .:-=+*#"
_LOG_FROM = 20


def draw(points: Sequence[Point], width: int, height: int, *, plain: bool = False) -> list[str]:
    """Lines of `width` characters, the top one first; `plain` keeps to ASCII, in one line."""
    spans = _joined([(point.min, point.max) for point in points if math.isfinite(point.min)], 2 * width)
    if not spans:
        return [" " * width] * (1 if plain else height)
    place = _position(spans)
    if plain:
        tops = [place(span[1]) for span in _joined(spans, width)]
        return ["".join(_PLAIN[round(top * (len(_PLAIN) - 1))] for top in tops).ljust(width)]
    grid = [[0] * width for _ in range(height)]
    levels = 4 * height - 1
    last: tuple[int, int] | None = None
    for column, (least, most) in enumerate(spans):
        bottom, top = round(place(least) * levels), round(place(most) * levels)
        # Join neighbours, so that a step reads as a line.
        start, end = (min(bottom, last[1]), max(top, last[0])) if last is not None else (bottom, top)
        for level in range(start, end + 1):
            grid[height - 1 - level // 4][column // 2] |= _DOTS[column % 2][level % 4]
        last = bottom, top
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in line) for line in grid]


def is_logarithmic(spans: Sequence[tuple[float, float]]) -> bool:
    """Whether values so far apart are drawn on a logarithmic scale, where a falling loss stays readable."""
    least, most = min(span[0] for span in spans), max(span[1] for span in spans)
    return least > 0 and most > _LOG_FROM * least


def _position(spans: Sequence[tuple[float, float]]) -> Callable[[float], float]:
    """The function from a value to its height, 0 to 1."""
    transform = math.log if is_logarithmic(spans) else float
    least, most = transform(min(span[0] for span in spans)), transform(max(span[1] for span in spans))
    reach = most - least
    if not reach or not math.isfinite(reach):
        return lambda _: 0.5
    return lambda value: (transform(value) - least) / reach


def _joined(spans: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most so many spans, neighbours joined: no extreme is lost."""
    count = len(spans)
    if count <= most:
        return spans
    cuts = [index * count // most for index in range(most + 1)]
    parts = [spans[start:end] for start, end in pairwise(cuts)]
    return [(min(span[0] for span in part), max(span[1] for span in part)) for part in parts]
