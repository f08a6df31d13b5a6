"""One read of several TensorBoard event files: their new rows in the order of their wall times."""

from __future__ import annotations

import heapq
import itertools
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from smartmon.records import Note, Observation, Severity
from smartmon.sources.account import Account
from smartmon.sources.aliases import Kind
from smartmon.sources.base import MAX_ROWS, SourceSpec, shown
from smartmon.sources.dating import plausible
from smartmon.sources.eventfile import EventFile, Group, Place
from smartmon.sources.eventproto import Decoder
from smartmon.sources.naming import Naming
from smartmon.sources.numbers import moment
from smartmon.sources.rows import MAX_NAMES, Row
from smartmon.sources.safe_read import Missing, Unreadable, opened
from smartmon.text import clean, count

HOLD = 1.5
"""Seconds for which a growing file must have been still before its last row is taken for whole."""
_EARLIEST = 1e8
"""Wall times before 1973 are no moments but counters."""
_AT_ONCE = 64
"""Files that are open together: those with something new, the oldest first."""


@dataclass(slots=True)
class Merge:
    """What is read, and what came of it."""

    spec: SourceSpec
    account: Account
    decoder: Decoder
    naming: Naming
    places: dict[str, Place]
    owners: dict[str, float]
    """Tag -> when the file that it is read from began."""
    now: float
    found: list[Observation] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    more: bool = False
    held: bool = False
    """Whether a row waits for what may still belong to it."""
    problem: str = ""
    _files: list[EventFile] = field(default_factory=list)
    _moved: bool = False
    """Whether a tag went over to another file."""

    def read(self, paths: list[Path], *, hold: bool) -> None:
        """Take rows until there are enough. `hold`: what was written just now may not be whole yet."""
        with ExitStack() as stack:
            crowded = self._open(stack, paths)
            before = [file.place.offset for file in self._files]
            self._take_rows(hold=hold)
            moved = any(file.place.offset > offset for file, offset in zip(self._files, before))
            # Files that wait for their writers must not keep the daemon spinning.
            self.more = self.more or (crowded and moved)

    def _open(self, stack: ExitStack, paths: list[Path]) -> bool:
        """Open the files that have something new; return whether there are more of them."""
        for path in paths:
            name = shown(path.relative_to(self.spec.path) if path != self.spec.path else path.name)
            try:
                with ExitStack() as attempt:
                    descriptor, found = attempt.enter_context(opened(path, self.spec.root))
                    place = self.places.setdefault(name, Place())
                    file = EventFile(name, place, descriptor, found, self.decoder, self.account)
                    if not self._is_new(file):
                        continue
                    if len(self._files) == _AT_ONCE:
                        return True
                    stack.push(attempt.pop_all())
                    self._files.append(file)
            except Missing:
                continue
            except Unreadable as problem:
                self.problem = self.problem or f"{clean(name)} {problem}"
        return False

    def _is_new(self, file: EventFile) -> bool:
        place, size = file.place, file.found.st_size
        if file.waits:
            return False
        if not file.known():
            message = f"{clean(file.name)} was replaced after byte {place.offset}; reading it from its start"
            data = {"path": file.name, "offset": place.offset, "size": size}
            self.notes.append(Note("source_truncated", message, data=data))
            place.offset, place.began, place.damage = 0, 0.0, -1
        return size > place.offset

    def _take_rows(self, *, hold: bool) -> None:
        rows = (zip(itertools.repeat(index), file.rows()) for index, file in enumerate(self._files))
        for index, group in heapq.merge(*rows, key=lambda pair: (pair[1].at, pair[0])):
            file = self._files[index]
            # A clock ahead of ours (a network file system) must not hold anything back for ever.
            if group.open and hold and 0 <= self.now - file.found.st_mtime < HOLD:
                self.held = file.held = True
                continue
            self._observe(file, group)
            file.delivered = group.end
            if len(self.found) >= MAX_ROWS:
                self.more = True
                break
        for file in self._files:
            self.more = self.more or file.more
            file.settle()
            self._tell(file)

    def _observe(self, file: EventFile, group: Group) -> None:
        """Add a group's scalars as a row, under the names that their tags stand for."""
        names, percent = file.names, set[str]()
        try:
            values = {names[tag]: value for tag, value in group.values.items()}
        except KeyError:
            values = self._named(file, group, percent)
            if not values:
                return
        at, timed = group.at, True
        if not _EARLIEST <= at <= self.now:
            own = plausible(moment(at), self.now)
            timed = own is not None
            at = own if own is not None else min(file.found.st_mtime, self.now)
        self.account.rows += 1
        if percent:
            self.found += Row(group.step, at, values, [], frozenset(percent)).observations(self.spec, at, timed)
        else:
            self.found.append(Observation(group.step, at, values, self.spec.id, self.spec.rank, timed))

    def _named(self, file: EventFile, group: Group, percent: set[str]) -> dict[str, float]:
        """Name values the slow way, and remember for next time what can be."""
        values: dict[str, float] = {}
        moves = self.naming.moves
        for tag, value in group.values.items():
            named = self.naming.of(tag) if self._owns(file, tag) else None
            if named is None:
                continue
            converted = value if named.plain else named.convert(value)
            if converted is not None:
                values[named.name] = converted
            if named.kind is Kind.PERCENT:
                percent.add(named.name)
        if self._moved or self.naming.moves != moves:
            self._moved = False
            for each in self._files:
                each.names.clear()
        if not percent and len(values) == len(group.values) <= 32 and all(map(self._as_is, group.values)):
            file.names.update(zip(group.values, values))
        return values

    def _as_is(self, tag: str) -> bool:
        named = self.naming.of(tag)
        return named is not None and named.plain

    def _owns(self, file: EventFile, tag: str) -> bool:
        began = file.place.began
        owner = self.owners.get(tag)
        if owner == began:
            return True
        if owner is not None and began < owner:
            self.account.ignore("values of a tag that a later file writes too", tag)
            return False
        self._moved = self._moved or owner is not None
        if owner is not None or len(self.owners) < MAX_NAMES:
            self.owners[tag] = began
        return True

    def _tell(self, file: EventFile) -> None:
        """Note what of a file is damaged, once."""
        name, place = clean(file.name), file.place
        if file.bad:
            what = "an event is" if len(file.bad) == 1 else f"{count(len(file.bad))} events are"
            message = f"{name}: {what} damaged and left out, at byte {count(file.bad[0])}"
            self.notes.append(Note("warning", message, Severity.WARNING, {"path": file.name, "offset": file.bad[0]}))
        if file.exhausted and file.problem and place.damage != place.offset:
            place.damage = place.offset
            message = f"{name} is damaged at byte {count(place.offset)} ({file.problem}); what follows cannot be read"
            self.notes.append(Note("warning", message, Severity.WARNING, {"path": file.name, "offset": place.offset}))
