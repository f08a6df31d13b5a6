"""The held place: the best model of a quiet interval, copied at once, published when the interval is over."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from smartmon.config import Config
from smartmon.errors import SnapshotError
from smartmon.keeper.records import Records
from smartmon.snapshots.choice import BEST
from smartmon.snapshots.folder import HELD
from smartmon.snapshots.making import moment_of
from smartmon.snapshots.metadata import METADATA, DamagedError, read_json
from smartmon.snapshots.staging import publish
from smartmon.store import KeepRow, RunRow, Store


def held_place(folder: Path, run: RunRow, attempt: int) -> Path:
    """The one held place of a run's attempt."""
    name = hashlib.sha256(os.fsencode(run.path)).hexdigest()[:12]
    return folder / f"{HELD}{name}-{attempt}"


class Held:
    """Publishes held snapshots when their time has come."""

    def __init__(self, store: Store, config: Config, records: Records, published: Callable[[Path], None]) -> None:
        self._store = store
        self._config = config
        self._records = records
        self._published = published

    def publish_one(self, now: float) -> bool:
        """Publish one whose interval is over; False when there is none."""
        for keep in self._store.keeps(states=("held",)):
            run = self._store.run_by_id(keep.run_id)
            if run is None:
                self._store.update_keep(keep.id, state="dropped", note="its run is no longer known")
                return True
            if self._over(keep, run):
                self._publish(keep, run, now)
                return True
        return False

    def publish_orphans(self, now: float) -> None:
        """Publish what was held for a request that the database no longer knows: it is still the best there was."""
        known = {keep.uid for keep in self._store.keeps(states=("held", "copying"))}
        for base in self._records.bases():
            for place in sorted(self._config.snapshots_dir(base).glob(f"{HELD}*")):
                try:
                    told = read_json(place / METADATA)
                    # A snapshots dir may be shared: what another base dir's daemon holds is its own business.
                    if told.get("request") not in known and told.get("base_dir") == str(base):
                        path = publish(place, told, moment_of(told, now), [str(one) for one in told["triggers"]])
                        self._records.warn(f"published {path.name}, which was held for a request that is lost", now)
                        self._records.index(base)
                except (DamagedError, SnapshotError, KeyError, TypeError) as error:
                    self._records.warn(f"a held snapshot cannot be published: {error}", now)

    def _over(self, keep: KeepRow, run: RunRow) -> bool:
        if run.state.ended or run.attempt != keep.attempt:
            return True
        settings = self._config.judge_settings(run.name)
        phase = settings.phase(keep.step)
        interval = settings.min_steps_between_saves
        if phase is not None and phase.min_steps_between_saves is not None:
            interval = phase.min_steps_between_saves
        began = [
            other.step
            for other in self._store.keeps(run_id=keep.run_id, limit=500)
            if other.attempt == keep.attempt and BEST in other.kinds and not other.hold and other.step <= keep.step
        ]
        return run.step is not None and run.step >= max(began, default=keep.step) + interval

    def _publish(self, keep: KeepRow, run: RunRow, now: float) -> None:
        place = held_place(self._config.snapshots_dir(run.base_dir), run, keep.attempt)
        try:
            told = read_json(place / METADATA)
            if told.get("request") != keep.uid:
                raise DamagedError("it is another one's")
            path = publish(place, told, moment_of(told, now), list(keep.reasons))
        except DamagedError as error:
            # Somebody cleared the place: make the snapshot anew, and publish it at once.
            self._store.update_keep(keep.id, state="pending", hold=False, due_at=now, note=str(error))
            return
        except SnapshotError as error:
            self._records.skipped(keep, run, str(error), now)
            return
        self._records.done(keep, run, path, told, now)
        self._published(path)
