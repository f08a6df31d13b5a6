"""Turns requests for snapshots into snapshots, one unit of work at a time, and removes what retention no longer keeps.

The daemon calls `keep_one` from a thread of its own. A unit is one snapshot, one publication of a held one, one
removal, or one slice of digests; a kill between any two writes loses nothing, `sweep` picks up what was left.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

import structlog

from smartmon import text
from smartmon.config import Config
from smartmon.errors import LockedError, SnapshotError
from smartmon.keeper.held import Held, held_place
from smartmon.keeper.records import Records
from smartmon.keeper.tidy import Tidy
from smartmon.keeper.wishes import Effort, Wishes
from smartmon.records import Snapshot
from smartmon.snapshots import folder as folders
from smartmon.snapshots import making, room
from smartmon.snapshots.choice import Choice
from smartmon.snapshots.copying import Copier
from smartmon.snapshots.digests import Digester
from smartmon.snapshots.metadata import DIGESTS, METADATA, DamagedError, read_json, read_snapshot
from smartmon.snapshots.staging import Staging, publish
from smartmon.snapshots.syscalls import idle_io
from smartmon.snapshots.troubles import CancelledError, ChangedError, NoRoomError, VanishedError
from smartmon.store import KeepRow, RunRow, Store

__all__ = ["Keeper"]

log = structlog.get_logger(__name__)

UNDONE = ("copying", "pending", "waiting")
_CHANGES = 3
_LOOK_AGAIN = 5.0


class Keeper:
    """Makes snapshots for one daemon."""

    def __init__(self, store: Store, config: Config, *, cancel: Callable[[], bool], beat: Callable[[], None]) -> None:
        self._store = store
        self._config = config
        self._settings = config.snapshots
        self._copier = Copier(cancel, beat)
        self._beat = beat
        self._wishes = Wishes(store, config.snapshots)
        self._records = Records(store, config)
        self._tidy = Tidy(self._records, config, beat)
        self._held = Held(store, config, self._records, self._published)
        self._efforts: dict[int, Effort] = {}
        self._undigested: deque[Snapshot] = deque()
        self._digester: Digester | None = None

    def sweep(self, now: float) -> None:
        """Pick up what the last process left: delete unfinished copies, rebuild the index, settle interrupted keeps."""
        for base in self._records.bases():
            for trouble in folders.sweep(self._config.snapshots_dir(base), self._beat):
                self._records.warn(f"a leftover of an unfinished snapshot stays for now: {trouble}", now)
            try:
                snapshots = self._records.index(base)
            except SnapshotError as error:
                self._records.warn(str(error), now)
                continue
            self._undigested.extend(one for one in snapshots if one.has_weights and _lacks_digests(one))
        for keep in self._store.keeps(states=("copying",)):
            self._recover(keep, now)
        self._held.publish_orphans(now)

    def keep_one(self, now: float) -> bool:
        """Do one unit of work; False when there is none now."""
        # A row's time may lie hours ahead, and the clock may be set back: later than we ever say is not believed.
        keeps = [keep for keep in self._store.keeps(states=UNDONE) if not now < keep.due_at <= now + _LOOK_AGAIN]
        for keep in sorted(keeps, key=lambda keep: (-keep.severity.rank, keep.id)):
            if self._serve(keep, now):
                return True
        return self._held.publish_one(now) or self._tidy.step(now) or self._digest()

    def finish(self, now: float) -> None:
        """Wait no longer: make every snapshot that is still asked for from what is there."""
        for keep in self._store.keeps(states=UNDONE):
            self._serve(keep, now, best_effort=True)
        while self._held.publish_one(now) or self._tidy.step(now):
            self._beat()

    def _recover(self, keep: KeepRow, now: float) -> bool:
        """Mark a request done whose snapshot was finished before the process could say so."""
        run = self._run(keep)
        if run is None:
            return True
        folder = self._config.snapshots_dir(run.base_dir)
        made = next((one for one in folders.scan(folder) if one.metadata.get("request") == keep.uid), None)
        if made is not None:
            self._records.done(keep, run, made.path, dict(made.metadata), now)
            return True
        try:
            held = read_json(held_place(folder, run, keep.attempt) / METADATA)
        except DamagedError:
            held = {}
        if held.get("request") == keep.uid:
            self._records.held(keep, run)
            return True
        if keep.state == "copying":
            self._store.update_keep(keep.id, state="pending", note="")
        return False

    def _run(self, keep: KeepRow) -> RunRow | None:
        run = self._store.run_by_id(keep.run_id)
        if run is None:
            self._store.update_keep(keep.id, state="dropped", note="its run is no longer known")
        return run

    def _serve(self, keep: KeepRow, now: float, *, best_effort: bool = False) -> bool:
        """Make the snapshot of one request, or find out what to wait for; True when something came of it."""
        if keep.state == "copying" and self._recover(keep, now):
            return True
        run = self._run(keep)
        if run is None:
            return True
        effort = self._efforts.setdefault(keep.id, Effort(now))
        effort.best_effort = best_effort
        effort.clock(now)
        try:
            made = self._attempt(keep, run, effort, now)
        except CancelledError:
            self._store.update_keep(keep.id, state="pending", note="")
            return False
        except LockedError as error:
            self._postpone(keep, now, str(error))
            return False
        except SnapshotError as error:
            self._records.skipped(keep, run, str(error), now)
            made = True
        except OSError as error:
            self._records.skipped(keep, run, f"{error.strerror}: {text.clean(error.filename)}", now)
            made = True
        if made:
            self._efforts.pop(keep.id, None)
            self._wishes.forget_gone()
        return made

    def _postpone(self, keep: KeepRow, now: float, why: str, state: str = "pending") -> None:
        due = now + min(_LOOK_AGAIN, max(0.05, self._settings.settle))
        self._store.update_keep(keep.id, state=state, due_at=due, note=why)

    def _attempt(self, keep: KeepRow, run: RunRow, effort: Effort, now: float) -> bool:
        """Numbered as it happens.

        1. Look for checkpoints and the model's files. Something to wait for: come back later.
        2. See that there is room, with the help of retention; else only the last good one, else it is skipped.
        3. Copy beside. Rotation was quicker: go on with the next best checkpoint. Written meanwhile: look again, at
           most 3 times, then go on without it.
        4. Publish, or put into the held place.
        """
        while True:
            choice, wait = self._wishes.choose(keep, run, effort, now)
            model_dir, model, model_wait = self._wishes.model(keep, run, effort, now)
            if wait or model_wait:
                self._postpone(keep, now, wait or model_wait, "waiting" if choice.own_step else "pending")
                return False
            folder = self._config.snapshots_dir(run.base_dir)
            making.keep_apart(folder, choice, model_dir)
            wanted = making.contents(choice, model_dir, model, self._settings.exclude)
            try:
                self._copy(keep, run, effort, choice, wanted, now)
                return True
            except NoRoomError:
                if not effort.spare(choice):
                    raise
            except VanishedError as error:
                effort.avoid[error.owner] = "was deleted by its trainer before it could be copied"
            except ChangedError as error:
                effort.changes += 1
                if effort.changes < _CHANGES and not effort.best_effort:
                    self._postpone(keep, now, str(error))
                    return False
                effort.changes = 0
                effort.avoid[error.owner] = "was written again and again while it was copied"

    def _copy(  # noqa: PLR0917 - one step of `_attempt`, with all that it knows
        self, keep: KeepRow, run: RunRow, effort: Effort, choice: Choice, wanted: making.Contents, now: float
    ) -> None:
        folder = self._config.snapshots_dir(run.base_dir)
        folder.mkdir(parents=True, exist_ok=True)
        snapshots = folders.scan(folder)
        own = making.own_copies(snapshots)
        largest = self._wishes.largest if _one_disk(folder, run.path) else 0
        need = room.Need(wanted.to_copy(own), len(wanted.items) + 5, largest)
        why = self._tidy.make_room(run.base_dir, snapshots, need, now)
        if why:
            raise NoRoomError(why)
        names = ", ".join(text.clean(found.checkpoint.path.name) for found in choice.checkpoints)
        note = f"copying {names or 'the model files'} ({text.size(wanted.bytes)})"
        self._store.update_keep(keep.id, state="copying", note=note)
        request = _request(keep, run, now, effort.note(choice))
        with Staging(folder, self._copier) as staging, idle_io():
            told = making.make(
                staging, request, choice, wanted, held=own, made_at=now, hard_links=self._settings.hard_links
            )
            if keep.hold:
                staging.hold(held_place(folder, run, keep.attempt))
                self._records.held(keep, run)
                return
            path = publish(staging.path, told, request.at, list(request.reasons))
        self._records.done(keep, run, path, told, now)
        self._published(path)
        self._tidy.due(run.base_dir)

    def _published(self, path: Path) -> None:
        self._undigested.append(read_snapshot(path))

    def _digest(self) -> bool:
        """Take one slice of digests of what was published; they matter less than all else."""
        if self._digester is None:
            if not self._undigested:
                return False
            self._digester = Digester(self._undigested.popleft())
        try:
            if self._digester.step():
                self._digester = None
        except OSError as error:
            # Removed meanwhile, or the disk is full: the next start tries what is still there.
            log.info("digests.given_up", error=str(error))
            self._digester = None
        return True


def _request(keep: KeepRow, run: RunRow, now: float, note: str) -> making.Request:
    # A row may carry any time at all; a snapshot that is dated in the future would never be removed.
    at = keep.created_at if 0 < keep.created_at <= now else now
    return making.Request(
        uid=keep.uid,
        run=run.name,
        attempt=keep.attempt,
        step=keep.step,
        at=at,
        kinds=keep.kinds,
        reasons=keep.reasons,
        severity=keep.severity,
        incident_keys=keep.incident_keys,
        payload={**keep.payload, "run_path": str(run.path), "base_dir": str(run.base_dir), "note": note},
    )


def _one_disk(folder: Path, other: Path) -> bool:
    try:
        return folder.stat().st_dev == other.stat().st_dev
    except FileNotFoundError:
        return True


def _lacks_digests(snapshot: Snapshot) -> bool:
    return not os.path.lexists(snapshot.path / DIGESTS)
