"""One TensorBoard event file during one read: its rows, and how far they reach.

A trainer writes the metrics of a step one by one. What stands together in a file, of one step and at most `GAP` seconds
apart, becomes one row.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from smartmon.records import Json
from smartmon.sources.account import Account
from smartmon.sources.eventproto import BadProto, Decoder
from smartmon.sources.numbers import MAX_STEP
from smartmon.sources.rows import MAX_METRICS
from smartmon.sources.safe_read import read_at
from smartmon.sources.tfrecord import SMALL, VERIFIED, Damaged, is_sound, records

GAP = 1.0
"""Seconds of wall time between two events of one step from which they are two rows."""
_BUDGET = 64 << 20
"""Bytes of one file that one read goes through: histograms are read past, not into."""
_FIRST = 64


@dataclass(slots=True)
class Place:
    """How far one file was read, and what is known of it."""

    offset: int = 0
    began: float = 0.0
    """The wall time of its first event."""
    head: int = 0
    """Checksum of its first bytes: a file that was copied over itself is known by them, not by its inode."""
    still: tuple[int, ...] = ()
    """Size and mtime at which what follows the offset could not be read (torn or damaged): wait until they change."""
    damage: int = -1
    """Where a damage was told of."""

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"still": list(self.still)}


def places_from(data: object) -> dict[str, Place]:
    """Return the places that a cursor holds; those that another version wrote are left out."""
    found: dict[str, Place] = {}
    for name, place in data.items() if isinstance(data, dict) else ():
        try:
            still = tuple(int(part) for part in place["still"])
            numbers = int(place["offset"]), float(place["began"]), int(place["head"])
            found[name] = Place(*numbers, still, int(place["damage"]))
        except (KeyError, TypeError, ValueError):
            continue
    return found


@dataclass(slots=True)
class Group:
    """The scalars of one row."""

    step: int
    at: float
    last: float
    """The wall time of its last event."""
    values: dict[str, float]
    end: int = 0
    """Where in the file the next row may begin."""
    open: bool = False
    """Whether nothing follows that would show it to be whole."""

    def takes(self, wall_time: float, tags: Mapping[str, float]) -> bool:
        """Whether an event of the same step belongs to this row."""
        near = abs(wall_time - self.last) <= GAP
        return near and len(self.values) + len(tags) <= MAX_METRICS and self.values.keys().isdisjoint(tags)


@dataclass(slots=True)
class EventFile:
    """An event file that is open."""

    name: str
    place: Place
    descriptor: int
    found: os.stat_result
    decoder: Decoder
    account: Account
    reached: int = 0
    """Where its whole records end for now."""
    more: bool = False
    """Whether the budget of this read was used up before the end."""
    problem: str = ""
    """Why it cannot be read beyond `reached`."""
    bad: list[int] = field(default_factory=list)
    """Where single events were left out because their data is damaged."""
    delivered: int = 0
    """How far its rows were delivered."""
    exhausted: bool = False
    """Whether all of its rows were asked for."""
    held: bool = False
    """Whether its last row was left for the next read."""
    names: dict[str, str] = field(default_factory=dict)
    """Tag -> metric, for the tags whose values are taken as they are."""

    @property
    def waits(self) -> bool:
        """Whether it is as it was when the bytes after the place could not be read."""
        return self.place.still == (self.found.st_size, self.found.st_mtime_ns)

    def known(self) -> bool:
        """Whether the file is still the one that was read so far."""
        place = self.place
        return self.found.st_size >= place.offset and (not place.offset or self._head(place.offset) == place.head)

    def _head(self, offset: int) -> int:
        return zlib.crc32(read_at(self.descriptor, 0, min(_FIRST, offset)))

    def settle(self) -> None:
        """Move the place to what was delivered, and beyond over what holds no scalars."""
        place, whole = self.place, self.exhausted and not self.held
        place.offset = self.reached if whole else self.delivered
        place.head = self._head(place.offset)
        short = whole and place.offset < self.found.st_size
        place.still = (self.found.st_size, self.found.st_mtime_ns) if short else ()

    def rows(self) -> Iterator[Group]:
        """Yield the rows after the place; the last one is `open` where the file ends with it."""
        group: Group | None = None
        self.reached = self.delivered = self.place.offset
        for start, wall_time, step, values in self._events():
            if group is not None:
                if step == group.step and group.takes(wall_time, values):
                    group.values.update(values)
                    group.last = wall_time
                    continue
                group.end = start
                yield group
                group = None
            if values and 0 <= step < MAX_STEP:
                group = Group(step, wall_time, wall_time, values)
            elif values:
                self.account.ignore("events with an impossible step", str(step))
            elif start - self.place.offset > _BUDGET:
                self.delivered, self.more = start, True
                return
        if group is not None:
            group.end, group.open = self.reached, True
            yield group
        self.exhausted = True

    def _events(self) -> Iterator[tuple[int, float, int, dict[str, float]]]:
        """Yield where each event begins, its wall time, its step and its scalars (often none)."""
        quick = self.decoder.quick
        place, size = self.place, self.found.st_size
        try:
            for chunk in records(self.descriptor, place.offset, size):
                for start, end, data, crc in chunk:
                    if data is None:
                        self.account.ignore("events over 1 MB, which hold no scalars")
                        self.reached = end
                        continue
                    event = quick(data) if crc == VERIFIED else None
                    event = event or self._slow(data, crc)
                    if event is None:
                        if end == size:
                            return  # the last one: its bytes may still be on their way
                        self.bad.append(start)
                        self.account.ignore("damaged events", f"at byte {start}")
                        self.reached = end
                        continue
                    if start == 0:
                        place.began = event[0] if math.isfinite(event[0]) else 0.0
                    self.reached = end
                    yield start, *event
        except Damaged as damage:
            self.problem = str(damage)

    def _slow(self, data: bytes, crc: int) -> tuple[float, int, dict[str, float]] | None:
        """Return wall time, step and scalars of any event; None for one that is damaged."""
        try:
            event = self.decoder.event(data)
        except BadProto:
            return None
        if (event.scalars or len(data) <= SMALL) and not is_sound(data, crc):
            return None
        for what, tag in event.others:
            self.account.ignore(what, tag)
        return event.wall_time, event.step, dict(event.scalars)
