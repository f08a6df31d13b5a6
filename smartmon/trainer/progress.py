"""How a training looks on a terminal: a line for each thing that happened, and one that moves with the steps."""

from __future__ import annotations

import math
import os
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from smartmon import text

WIDTH = 80
_NAME = 12
_PIPED_EVERY = 1.0
"""Seconds between two lines of steps where nobody can redraw one."""
_REDRAW_EVERY = 0.1
_ERASE = "\r\x1b[2K"


class Lines:
    """Gives lines to whoever wants them; the steps become lines of their own, at most one a second."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        """Take a line that stays."""
        self._lined = -math.inf
        self._pace = _Pace()

    def facts(self, lines: Sequence[str]) -> None:
        """Show what was found and decided: `name: what`, in two columns."""
        for told in lines:
            for part in fact(told):
                self.say(part)

    def busy(self, what: str) -> None:
        """Something goes on that takes a while; a pipe need not know."""

    def begin(self, step: int) -> None:
        """The steps begin after this one."""
        self._pace = _Pace(step)

    def step(self, step: int, total: int) -> None:  # noqa: ARG002 (the Console's needs it)
        """A step is done."""
        self._pace.step(step)

    def row(self, step: int, total: int, metrics: Mapping[str, Any]) -> None:
        """A row of the log: the metrics of a step."""
        now = time.monotonic()
        if now - self._lined >= _PIPED_EVERY or step == total or not _finite(metrics.get("loss")):
            self._lined = now
            self.say(line(step, total, {**_known(metrics), "eta_seconds": self._pace.left(total)}))

    def close(self) -> None:
        """The steps are over."""


class Console(Lines):
    """Writes lines to a stream, and on a terminal below them a bar that moves with the steps."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(self._write)
        self._stream, self._terminal = stream, stream.isatty() and os.environ.get("TERM") != "dumb"
        self._bar = ""
        self._last: dict[str, Any] = {}
        self._drawn = -math.inf

    def busy(self, what: str) -> None:
        """Show it where the bar will be."""
        if self._terminal:
            self._bar = f"{what} ..."
            self._put(_ERASE + self._bar)

    def step(self, step: int, total: int) -> None:
        """A step is done."""
        super().step(step, total)
        now = time.monotonic()
        if self._terminal and (now - self._drawn >= _REDRAW_EVERY or step == total):
            self._drawn = now
            self._bar = bar(step, total, {**self._last, "eta_seconds": self._pace.left(total)}, self._width())
            self._put(_ERASE + self._bar)

    def row(self, step: int, total: int, metrics: Mapping[str, Any]) -> None:
        """A row of the log."""
        self._last = _known(metrics)
        if not self._terminal:
            super().row(step, total, metrics)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar = ""
            self._put(_ERASE)

    def _write(self, line: str) -> None:
        erase = _ERASE if self._bar else ""
        self._put(f"{erase}{line}\n{self._bar}")

    def _put(self, shown: str) -> None:
        try:
            self._stream.write(shown)
            self._stream.flush()
        except OSError:
            # The terminal was closed, or whoever read the pipe has gone: no reason to end a training.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or WIDTH
        except (OSError, ValueError):
            return WIDTH


class _Pace:
    """How long the rest will take."""

    def __init__(self, step: int = 0) -> None:
        self._from, self._step, self._begun = step, step, time.monotonic()

    def step(self, step: int) -> None:
        self._step = step

    def left(self, total: int) -> float | None:
        done = self._step - self._from
        return (time.monotonic() - self._begun) / done * (total - self._step) if done else None


def fact(told: str) -> list[str]:
    """Return `name: what` as lines of two columns. A long name, or what has none, stands in the second one."""
    name, colon, what = told.partition(": ")
    if not colon or len(name) > _NAME - 2:
        name, what = "", told
    return textwrap.wrap(what, WIDTH - 1, initial_indent=name.ljust(_NAME), subsequent_indent=" " * _NAME) or [name]


def _known(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if isinstance(value, (int, float))}


def line(step: int, total: int, metrics: Mapping[str, Any]) -> str:
    """Return a row as text of at most 79 columns; of very long trainings without the learning rate."""
    parts = [f"step {_place(step, total)}", *_numbers(metrics, rate=True)]
    if len("  ".join(parts)) >= WIDTH:
        parts = [part for part in parts if not part.startswith("lr ")]
    return "  ".join(parts)


def bar(step: int, total: int, metrics: Mapping[str, Any], width: int) -> str:
    """Return a row as a bar that fills the width but for the last column (terminals wrap there)."""
    room = max(12, width - 1)
    parts = _numbers(metrics, rate=False)
    while parts and room - len("  ".join(["", _place(step, total), *parts])) < 12:
        parts.pop(-2 if len(parts) > 1 else -1)
    rest = max(0, room - len("  ".join([_place(step, total), *parts])) - 2)
    done = min(rest, rest * step // max(total, 1))
    return "  ".join(["━" * done + "─" * (rest - done), _place(step, total), *parts])


def _place(step: int, total: int) -> str:
    whole = str(total)
    return f"{step:>{len(whole)}}/{whole}"


def _numbers(metrics: Mapping[str, Any], *, rate: bool) -> list[str]:
    """The metrics that a person looks at while it runs, shortest first to go without."""
    loss, accuracy = metrics.get("loss"), metrics.get("accuracy_percent")
    left, tokens = metrics.get("eta_seconds"), metrics.get("tokens_per_sec")
    parts = [] if loss is None else [f"loss {_short(loss)}"]
    parts += [] if accuracy is None else [f"acc {accuracy:.1f}%"]
    if rate:
        parts += [f"lr {metrics['learning_rate']:.1e}"] if _finite(metrics.get("learning_rate")) else []
        parts += [f"{_thousands(tokens)} tok/s"] if tokens is not None and _finite(tokens) else []
    return parts + ([f"{text.duration(left)} left"] if left is not None and _finite(left) else [])


def _short(value: float) -> str:
    return f"{value:.4f}"[:6] if _finite(value) and 0.001 <= abs(value) < 1000 else text.number(value)


def _thousands(value: float) -> str:
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.1f}k" if value < 1e5 else f"{value / 1000:.0f}k"


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
