"""Carries out retention: one removal at a time when there is nothing better to do, or at once to make room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from smartmon import text
from smartmon.config import Config
from smartmon.errors import ConfigError, SmartmonError, SnapshotError
from smartmon.keeper.records import Records
from smartmon.records import Snapshot
from smartmon.retention import Action, Verdict
from smartmon.snapshots import folder as folders
from smartmon.snapshots import room, upkeep

EVERY = 3600.0
INDEX_EVERY = 60.0
"""Seconds: people pin and delete by the command line, which has no say over the index."""


class Tidy:
    """Looks at each snapshots dir after a new snapshot, and every hour."""

    def __init__(self, records: Records, config: Config, beat: Callable[[], None]) -> None:
        self._records = records
        self._config = config
        self._beat = beat
        self._next: dict[Path, float] = {}
        self._index_at = 0.0
        self._stuck: dict[Path, float] = {}
        """Snapshots that could not be removed, and when that is tried again."""

    def due(self, base: Path) -> None:
        """Something changed: look soon."""
        self._next[base] = 0.0

    def step(self, now: float) -> bool:
        """Carry out one verdict; False when nothing is to be removed now."""
        self._index(now)
        for base, at in self._next.items():
            if now < at <= now + EVERY:
                continue
            for verdict in self._doomed(base, now):
                self._carry_out(base, verdict, now)
                return True
            self._next[base] = now + EVERY
            for trouble in folders.sweep(self._config.snapshots_dir(base), self._beat):
                self._records.warn(trouble, now)
        return False

    def _index(self, now: float) -> None:
        if now < self._index_at <= now + INDEX_EVERY:
            return
        self._index_at = now + INDEX_EVERY
        for base in self._records.bases():
            self._next.setdefault(base, 0.0)
            try:
                self._records.index(base)
            except SnapshotError as error:
                self._records.warn(str(error), now)

    def _doomed(self, base: Path, now: float) -> list[Verdict]:
        folder = self._config.snapshots_dir(base)
        try:
            snapshots = folders.scan(folder)
            return self._plan(folder, snapshots, now)
        except (ConfigError, SnapshotError, OSError) as error:
            why = str(error) if isinstance(error, SmartmonError) else error.strerror
            self._records.warn(f"retention does not run: {why}", now)
            return []

    def _plan(self, folder: Path, snapshots: Sequence[Snapshot], now: float, incoming: int = 0) -> list[Verdict]:
        cited = upkeep.cited(snapshots, self._records.open_incidents())
        verdicts = upkeep.planned(folder, snapshots, self._config.snapshots, now, cited=cited, incoming=incoming)
        return [
            verdict
            for verdict in verdicts
            if verdict.action is not Action.KEEP and self._stuck.get(verdict.snapshot.path, 0.0) <= now
        ]

    def _carry_out(self, base: Path, verdict: Verdict, now: float) -> bool:
        snapshot = verdict.snapshot
        try:
            upkeep.carry_out(verdict, now, self._beat)
        except SnapshotError as error:
            self._stuck[snapshot.path] = now + EVERY
            self._records.warn(str(error), now)
            return False
        self._records.removed(base, verdict, now)
        return True

    def make_room(self, base: Path, snapshots: Sequence[Snapshot], need: room.Need, now: float) -> str:
        """Say why there is no room for a copy, after retention has done what it may; empty when there is.

        Nothing is removed for a copy that would not fit even then.
        """
        folder, limits = self._config.snapshots_dir(base), upkeep.limits_of(self._config.snapshots)
        most = room.most(folder, limits)
        shares = room.shares(snapshots)

        def lacking(freed: int) -> str:
            if sum(shares.values()) - freed + need.bytes > most:
                held = text.size(sum(shares.values()))
                return (
                    f"the copy takes {text.size(need.bytes)}, the snapshots together take {held}, and may take "
                    f"{text.size(most)}; raise snapshots.max_bytes, or remove some with: smartmon snapshots delete"
                )
            rest = room.Need(need.bytes - freed, need.files, need.largest_checkpoint)
            return room.lacking(folder, rest, limits)

        why = lacking(0)
        if not why:
            return ""
        doomed = self._plan(folder, snapshots, now, need.bytes)
        going = {verdict.snapshot.name for verdict in doomed}
        stays = sum(room.shares(one for one in snapshots if one.name not in going).values())
        if not doomed or lacking(sum(shares.values()) - stays):
            return why
        for verdict in doomed:
            self._carry_out(base, verdict, now)
        shares = room.shares(folders.scan(folder))
        return lacking(0)
