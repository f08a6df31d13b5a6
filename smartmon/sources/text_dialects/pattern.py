"""Anyone's lines, by regular expressions of their own: the names of the groups are the keys of the metrics.

Python cannot interrupt an expression at work, and some take for ever on a line that nearly matches. Three bounds stand
before that: what makes that time exponential is refused, each line is tried on growing beginnings, and what all of it
took is counted in time of the processor.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from smartmon.sources.aliases import alias
from smartmon.sources.text_dialects.base import Dialect, Logged, Record, State, value, written

LONGEST_LINE = 4000
"""Characters of a line that patterns look at."""
_TRIED, _TRIED_SECONDS = 16, 0.02
"""The first beginning of a line that is tried, and the time that none may take: each is twice as long as the last."""
_SECONDS = 2.0
"""Time of the processor that one read may spend in patterns; ordinary ones take a hundredth of it."""


class TooSlow(Exception):
    """A pattern took so long that reading with it would hold up everything else."""


class Pattern(Dialect):
    """Reads lines with the patterns of the config, every one that matches.

    A line without a step belongs to the last one; where no pattern names a step, lines are counted from 0.
    """

    key = "pattern"
    name = "the pattern of the config"

    def __init__(self, state: State | None, patterns: Sequence[str]) -> None:
        super().__init__(state)
        self._patterns = [re.compile(text) for text in patterns]
        self._counts = not any(_is_step(name) for each in self._patterns for name in each.groupindex)
        self._spent = 0.0

    def line(self, text: str, end: int) -> list[Logged]:
        """Return the record of the line; raise `TooSlow` once the patterns have used up their time."""
        text = text[:LONGEST_LINE]
        record: Record = {}
        for pattern in self._patterns:
            if (found := self._search(pattern, text)) is not None:
                record |= _record(found)
        if not record:
            return []
        self._add_step(record)
        return [Logged(record, end, written(text))]

    def _search(self, pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
        begun = time.thread_time()
        try:
            tried = _TRIED
            while tried < len(text):
                pattern.search(text, 0, tried)
                if time.thread_time() - begun > _TRIED_SECONDS:
                    raise TooSlow
                tried *= 2
            return pattern.search(text)
        finally:
            self._spent += time.thread_time() - begun
            if self._spent > _SECONDS:
                raise TooSlow

    def _add_step(self, record: Record) -> None:
        step = next((amount for name, amount in record.items() if _is_step(name)), None)
        if step is None:
            number = int(self.state.get("step", -1)) + self._counts
            self.state["step"] = record["step"] = max(0, number)
        elif isinstance(step, float) and step.is_integer():
            self.state["step"] = int(step)


def _record(found: re.Match[str]) -> Record:
    record: Record = {}
    for name, text in found.groupdict().items():
        if text is None:
            continue
        known = alias(name)
        if known is not None and known.name == "timestamp":
            record[name] = text.strip().replace(",", ".")
            continue
        amount = value(text.strip())
        record[name] = text.strip() if amount is None or ":" in text or "/" in text else amount
    return record


def _is_step(name: str) -> bool:
    known = alias(name)
    return known is not None and known.name == "step"
