"""How the machine was over the last hours: looked at now and then, whether or not anybody has the page open."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from smartmon.host import Host
from smartmon.records import HostSample

MOST = 480
"""Points of a series. One that is full gives up every other and from then on takes only every other."""
FOLDERS = 32
"""Folders whose disk is watched: those last asked about."""
_HOUR = 3600.0
_TREND = 120.0
"""Seconds that the lowest points must lie apart to tell a trend."""

Point = tuple[float, float]


class Series:
    """Values over time, however long, in few points."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self.points = list(points)[-MOST:]
        self._pace = 0.0

    def add(self, at: float, value: float) -> None:
        """Take a value, unless it comes too soon after the one before."""
        if self.points and at < self.points[-1][0]:
            self.points, self._pace = [], 0.0  # the clock was set back
        if self.points and at - self.points[-1][0] < self._pace:
            return
        if len(self.points) >= MOST:
            self.points = self.points[::2]
            self._pace = 1.5 * (self.points[-1][0] - self.points[0][0]) / len(self.points) / 2
        self.points.append((at, value))

    def empty_in(self, now: float) -> float | None:
        """Return the seconds until nothing is left at the rate of the last hour; None where it does not fall.

        Lowest points are compared, of the first and of the last third: what is deleted in time for the next checkpoint
        counts for nothing.
        """
        seen = [point for point in self.points if point[0] >= now - _HOUR]
        if len(seen) < 3:
            return None
        third = (seen[-1][0] - seen[0][0]) / 3
        first = min((p for p in seen if p[0] <= seen[0][0] + third), key=lambda p: p[1])
        last = min((p for p in seen if p[0] >= seen[-1][0] - third), key=lambda p: p[1])
        lost, took = first[1] - last[1], last[0] - first[0]
        return seen[-1][1] * took / lost if lost > 0 and took >= _TREND else None


class Past:
    """Samples the machine from the first question on, and goes on doing so in a thread of its own."""

    def __init__(self, host: Host, clock: Callable[[], float]) -> None:
        self.host, self._clock = host, clock
        self._shared: dict[str, Series] = {}
        self._disks: OrderedDict[Path, Series] = OrderedDict()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self, folder: Path, known: Callable[[], Iterable[Point]]) -> HostSample:
        """Return the machine as it is now, with a folder's disk. `known` tells of that disk before the first look."""
        with self._lock:
            new = folder not in self._disks
        before = known() if new else ()
        with self._lock:
            self._disks.setdefault(folder, Series(before))
            self._disks.move_to_end(folder)
            while len(self._disks) > FOLDERS:
                self._disks.popitem(last=False)
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._go_on, name="machine", daemon=True)
                self._thread.start()
        return self._sample(folder) if new else self.host.sample(self._clock(), folder)

    def series(self, folder: Path) -> dict[str, list[Point]]:
        """Return what is known: `disk_free`, `memory_available`, `gpu0/temperature` and so on."""
        with self._lock:
            disk = self._disks.get(folder)
            shared = {name: list(series.points) for name, series in sorted(self._shared.items())}
            return {"disk_free": list(disk.points), **shared} if disk else shared

    def full_in(self, folder: Path, now: float) -> float | None:
        """Return the seconds until a folder's disk is full; None: it is not filling, or that is not known yet."""
        with self._lock:
            disk = self._disks.get(folder)
            return disk.empty_in(now) if disk else None

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self.host.stop()
        if self._thread is not None:
            self._thread.join(5)

    def _go_on(self) -> None:
        while not self._stopped.wait(self.host.interval):
            with self._lock:
                folders = list(self._disks)
            for folder in folders:
                self._sample(folder)

    def _sample(self, folder: Path) -> HostSample:
        found = self.host.sample(self._clock(), folder)
        values = {"memory_available": found.memory_available}
        for gpu in found.gpus:
            told = ("memory_used", "utilization", "temperature", "power")
            values |= {f"gpu{gpu.index}/{name}": getattr(gpu, name) for name in told}
        with self._lock:
            disk = self._disks.get(folder)
            if disk is not None and found.disk_free is not None:
                disk.add(found.at, found.disk_free)
            for name, value in values.items():
                shared = self._shared.setdefault(name, Series())
                # Several folders are looked at in one go; the machine is the same for all.
                if value is not None and not (shared.points and 0 <= found.at - shared.points[-1][0] < 1):
                    shared.add(found.at, value)
        return found
