"""One run under watch: its sources, how far they are read, and what the next batch needs to be understood."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from smartmon.config import RunEntry
from smartmon.judge import Judge
from smartmon.records import Anomaly, Batch, Checkpoint, Json, RunState, StatusReport
from smartmon.snapshots.layouts import checkpoint_steps, find_checkpoints
from smartmon.sources import FoundRun, Source, open_source
from smartmon.store import RunRow, Store

PACE_POINTS = 50
"""How many timed steps the shown pace is taken over."""


@dataclass
class Pace:
    """Steps per second over the last timed rows: what a person means by "how fast is it"."""

    points: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=PACE_POINTS))

    def add(self, step: int, at: float) -> None:
        """Take in a row; a step or a clock that went back starts over."""
        if self.points and (step < self.points[-1][0] or at < self.points[-1][1]):
            self.points.clear()
        if not self.points or step > self.points[-1][0]:
            self.points.append((step, at))

    def steps_per_sec(self) -> float | None:
        """None until two steps with different times are known."""
        if len(self.points) < 2 or self.points[-1][1] <= self.points[0][1]:
            return None
        (first, since), (last, until) = self.points[0], self.points[-1]
        return (last - first) / (until - since)


class Watched:
    """A run under watch. `monitor` changes it; nothing here writes to the store."""

    def __init__(self, found: FoundRun, row: RunRow, judge: Judge, store: Store, entry: RunEntry | None) -> None:
        self.found = found
        self._entry = entry
        self.id = row.id
        self.name = row.name
        self.judge = judge
        self._store = store
        self.history = not row.data.get("history_done", False)
        """Whether the run's past is still being read for the first time."""
        self.state: RunState = row.state
        self._silent_at = (row.attempt, row.step) if row.state is RunState.STALLED else None
        self.status: StatusReport | None = None
        self.asked: list[Anomaly] = []
        """Anomalies of this round that ask for a snapshot."""
        self.pace = Pace()
        self.told: tuple[int, int] | None = None if row.step is None else (row.attempt, row.step)
        """The attempt and the step of the last `Monitoring: Step N` line."""
        self.rows = 0
        self.anomalies = 0
        self._stamps: dict[str, object] = {}
        self._more: set[str] = set()
        self._known_checkpoints: set[int] | None = None
        self.failures: dict[str, str] = {}
        """Sources whose last read raised, and what: told once."""
        self.sources: list[Source] = []
        self.cursors: dict[str, Json] = {}
        self.renew(found)

    def renew(self, found: FoundRun) -> None:
        """Take over what discovery sees now: sources come and go while a run lives."""
        self.found = found
        known = {source.spec.id: source for source in self.sources}
        self.sources = [
            known[spec.id] if spec.id in known and known[spec.id].spec == spec else open_source(spec)
            # Streams first: they own the metrics that a status file repeats.
            for spec in sorted(found.sources, key=lambda spec: (-spec.rank, spec.id))
        ]
        for source in self.sources:
            if source.spec.id not in self.cursors:
                self.cursors[source.spec.id] = self._store.cursor(self.id, source.spec.id)
        self.judge.keep_sources([source.spec.id for source in self.sources])

    def moved(self, source: Source, stamp: object) -> bool:
        """Whether a source may have something that was not read yet."""
        return source.spec.id in self._more or self._stamps.get(source.spec.id) != stamp

    def read(self, source: Source, stamp: object, batch: Batch) -> None:
        """Remember that a batch is stored: only now may the source be passed over until it moves."""
        name = source.spec.id
        self.cursors[name] = dict(batch.cursor)
        self._stamps[name] = stamp
        (self._more.add if batch.more else self._more.discard)(name)

    def forget_unsaved(self) -> None:
        """After a failed transaction: everything is read again from the stored cursors."""
        self.asked.clear()
        self._stamps.clear()
        self._known_checkpoints = None
        self.cursors = {source.spec.id: self._store.cursor(self.id, source.spec.id) for source in self.sources}

    @property
    def present_state(self) -> RunState:
        """What the run is doing: what the judge says, unless it was found silent and has not moved since."""
        state = self.judge.run_state
        silent = state is RunState.RUNNING and self._silent_at == (self.judge.attempt, self.judge.latest_step)
        return RunState.STALLED if silent else state

    def fell_silent(self) -> None:
        """Take the run for stalled until it moves: its files say that it runs, and have not for long."""
        self._silent_at = (self.judge.attempt, self.judge.latest_step)

    @property
    def total_steps(self) -> int | None:
        """The number of steps to go to: what config says, else what the trainer says."""
        return (self._entry.total_steps if self._entry else None) or self.judge.total_steps

    @property
    def checkpoint_dir(self) -> Path | None:
        """Where config, or else the run's status, says the checkpoints are; None: they are where they usually are."""
        said = self._entry.checkpoint_dir if self._entry else None
        return said if said is not None else self.found.checkpoint_dir

    @property
    def model_dir(self) -> Path:
        """The folder whose files are the model's: where its status says, or `current_model/` where a run has one."""
        if self.found.checkpoint_dir is not None:
            return self.found.checkpoint_dir
        inner = self.found.path / "current_model"
        return inner if inner.is_dir() else self.found.path

    def status_bytes(self) -> bytes:
        """The status file as it was last read, byte for byte; empty where the run has none."""
        return self.status.raw if self.status is not None else b""

    def new_checkpoints(self) -> list[Checkpoint]:
        """Checkpoints that appeared since the last call; those of the first call are not new."""
        # Most looks find nothing new: what is in the checkpoints is listed only when something is.
        steps = checkpoint_steps(self.found.path, self.checkpoint_dir)
        known, self._known_checkpoints = self._known_checkpoints, steps
        if known is None or steps <= known:
            return []
        found = {c.step: c for c in find_checkpoints(self.found.path, self.checkpoint_dir)}
        return [found[step] for step in sorted(steps - known) if step in found]
