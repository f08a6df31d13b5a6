"""What of a row is whose: ownership of metrics, attempts, units, repeated steps. Decides nothing about health."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from smartmon import stats
from smartmon.records import AttemptStarted, Observation, Rescaled, SourceRank

ACCURACIES = ("accuracy", "eval_accuracy")
NOT_PROGRESS = frozenset({"epoch", "total_steps"})
"""Keys that ride on every row: that they were seen at a later step says nothing."""
STEP = ""
"""Stands for the step itself among a source's metrics."""
MOVED_AGAIN = 60.0
"""Seconds after a run's end from which a new step means that it runs again, not that its last rows came late."""


@dataclass(slots=True)
class Taken:
    """A row after intake."""

    attempt: int
    values: dict[str, float]
    """What is to be stored: owned, in the right unit."""
    fresh: dict[str, float]
    """What is to be judged: not passed already, not repeated."""
    started: AttemptStarted | None = None
    rescaled: list[Rescaled] = field(default_factory=list)
    new_step: bool = False
    """Whether this is the highest step of the attempt so far."""


@dataclass(slots=True)
class _Source:
    """How far one source got: the attempt it is in, and each metric's last step there."""

    attempt: int
    steps: dict[str, int] = field(default_factory=dict)


class Intake:
    """The state that turns rows of several sources into one stream of one run."""

    def __init__(self, accuracy_unit: str = "auto") -> None:
        self.unit = accuracy_unit
        self.attempt = 1
        self.starts: list[tuple[int, float]] = []
        """Each attempt after the first, and when it began."""
        self.first_step: int | None = None
        self.highest = -1
        self.first_losses: list[float] = []
        self.owners: dict[str, tuple[int, str]] = {}
        self.sources: dict[str, _Source] = {}
        self.passed: dict[str, tuple[int, float, str]] = {}
        """Metric -> step, value and source of its newest value in this attempt."""
        self.orphans: dict[str, int] = {}
        """Metric -> its last step, of sources that are gone: the next new source takes up where they ended."""
        self.percent: list[str] = []
        """Accuracies that turned out to be in percent."""
        self.scaled: dict[str, list[int]] = {}
        """Accuracy -> attempts in which it was taken for a fraction."""

    def take(self, obs: Observation, *, restarted: bool = False) -> Taken:
        """Sort one row in. `restarted` says that the run is known to have been started anew before it."""
        source = self._source(obs)
        started = self._attempt(obs, source, restarted)
        if source.attempt < self.attempt:
            return self._late(obs, source)
        taken = Taken(self.attempt, {}, {}, started)
        step = obs.step
        for metric, raw in self._with_nulls(obs).items():
            rank, owner = self.owners.get(metric, (-1, ""))
            if owner != obs.source and obs.rank <= rank:
                continue
            if owner != obs.source:
                self.owners[metric] = (int(obs.rank), obs.source)
            value = self._in_unit(metric, raw, obs, taken) if metric in ACCURACIES else raw
            taken.values[metric] = value
            source.steps[metric] = step
            if self._fresh(metric, value, obs):
                taken.fresh[metric] = value
                self.passed[metric] = (step, value, obs.source)
        source.steps[STEP] = step
        if self.first_step is None:
            self.first_step = step
        loss = taken.fresh.get("loss")
        if len(self.first_losses) < 3 and loss is not None and math.isfinite(loss):
            self.first_losses.append(loss)
        if step > self.highest:
            self.highest, taken.new_step = step, True
        return taken

    def _source(self, obs: Observation) -> _Source:
        """Return the row's source; one that is new while later attempts exist belongs to the attempt of its time."""
        source = self.sources.get(obs.source)
        if source is None:
            began = [attempt for attempt, at in self.starts if at <= obs.at]
            source = self.sources[obs.source] = _Source(max(began, default=1) if self.starts else self.attempt)
            if self.orphans and not self.orphans.keys().isdisjoint(obs.values):
                source.attempt, source.steps, self.orphans = self.attempt, self.orphans, {}
        return source

    def keep(self, sources: Collection[str]) -> None:
        """Note which sources there are now. What another one owned is free: each start of a trainer may begin a log.

        A source that comes later takes up where the lost one ended, so that steps which go back are a new attempt.
        """
        for gone in [name for name in self.sources if name not in sources]:
            lost = self.sources.pop(gone)
            owned = [metric for metric, (_rank, owner) in self.owners.items() if owner == gone]
            for metric in owned:
                del self.owners[metric]
            if owned and lost.attempt == self.attempt:
                self.orphans |= {m: max(self.orphans.get(m, -1), lost.steps.get(m, -1)) for m in (*owned, STEP)}

    def _attempt(self, obs: Observation, source: _Source, restarted: bool) -> AttemptStarted | None:
        steps = source.steps
        told = [metric for metric in obs.values if metric not in NOT_PROGRESS]
        if obs.rank is SourceRank.STATUS:
            # A status file may tell of nothing but its step; logs may repeat one in rows without metrics.
            told = told or [STEP]
        back = any(steps.get(metric, -1) > obs.step for metric in told)
        if source.attempt < self.attempt:
            if self._in_time(obs, source):
                source.attempt, source.steps = self.attempt, {}
            elif back:
                source.attempt, source.steps = source.attempt + 1, {}
            return None
        if not back and not (restarted and obs.step > self.highest):
            return None
        return self._start(obs, source, back)

    def _in_time(self, obs: Observation, source: _Source) -> bool:
        """Whether a source that lags behind has reached the time of the attempt after its own."""
        after = [at for attempt, at in self.starts if attempt > source.attempt]
        return bool(after) and obs.at >= after[-1] if obs.timed else obs.step > self.highest

    def _start(self, obs: Observation, source: _Source, back: bool) -> AttemptStarted:
        previous = self.highest
        reset = back and self._is_new_run(obs)
        self.attempt += 1
        self.starts = [*self.starts[-63:], (self.attempt, obs.at)]
        if reset:
            message = f"a new run began at step {obs.step:,} (the one before reached step {previous:,})"
            self.first_losses, self.first_step = [], None
        elif back:
            message = f"resumed at step {obs.step:,}, {previous - obs.step + 1:,} steps redone"
        else:
            message = f"running again at step {obs.step:,} after it had ended at step {previous:,}"
        self.owners, self.passed = {}, {}
        self.highest = -1
        source.attempt, source.steps = self.attempt, {}
        return AttemptStarted(self.attempt, obs.step, obs.at, previous, reset, message, obs.historic)

    def _is_new_run(self, obs: Observation) -> bool:
        first = self.first_step if self.first_step is not None else 0
        if obs.step > max(first, 0.01 * self.highest):
            return False
        loss = obs.values.get("loss")
        if loss is None or not math.isfinite(loss) or not self.first_losses:
            return True
        usual = stats.median(self.first_losses)
        return abs(loss - usual) <= 0.3 * abs(usual)

    def _late(self, obs: Observation, source: _Source) -> Taken:
        """Take a row of an earlier attempt: stored where nothing better is known, never judged."""
        taken = Taken(source.attempt, {}, {})
        for metric, raw in obs.values.items():
            owner = self.owners.get(metric)
            source.steps[metric] = obs.step
            if owner is None or owner[1] == obs.source or obs.rank > owner[0]:
                taken.values[metric] = self._in_unit(metric, raw, obs, taken) if metric in ACCURACIES else raw
        return taken

    def _with_nulls(self, obs: Observation) -> Mapping[str, float]:
        """Return the row's values, with a loss that became `null` as NaN.

        Writers that fill absent columns with null do so beside evaluation results, or at a step already told.
        """
        if "loss" not in obs.nulls or "loss" in obs.values:
            return obs.values
        passed = self.passed.get("loss")
        if passed is None or obs.step <= passed[0] or any(m.startswith("eval_") for m in obs.values):
            return obs.values
        return {**obs.values, "loss": math.nan}

    def _fresh(self, metric: str, value: float, obs: Observation) -> bool:
        passed = self.passed.get(metric)
        if passed is None or obs.step > passed[0]:
            return True
        if obs.step < passed[0] or passed[2] != obs.source:
            return False
        same = value == passed[1] or (math.isnan(value) and math.isnan(passed[1]))
        return not same

    def _in_unit(self, metric: str, value: float, obs: Observation, taken: Taken) -> float:
        """Return an accuracy in percent; a first value above 1 turns all earlier ones of the metric into percents."""
        if obs.percent or self.unit == "percent" or metric in self.percent:
            return value
        if self.unit == "fraction" or not value > 1:
            attempts = self.scaled.setdefault(metric, [])
            if math.isfinite(value) and taken.attempt not in attempts:
                attempts.append(taken.attempt)
            # 0.57 x 100 is 56.99999999999999: rounding must not decide whether a drop is one.
            return round(value * 100, 9)
        self.percent.append(metric)
        taken.rescaled += [Rescaled(metric, 0.01, attempt) for attempt in self.scaled.pop(metric, [])]
        return value

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return vars(self) | {
            "starts": [list(pair) for pair in self.starts],
            "first_losses": list(self.first_losses),
            "owners": {m: list(pair) for m, pair in self.owners.items()},
            "sources": {name: [s.attempt, dict(s.steps)] for name, s in self.sources.items()},
            "passed": {m: list(row) for m, row in self.passed.items()},
            "percent": list(self.percent),
            "orphans": dict(self.orphans),
            "scaled": {m: list(attempts) for m, attempts in self.scaled.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`; the unit stays the one that the settings say."""
        vars(self).update({key: value for key, value in state.items() if key != "unit"})
        self.starts = [(attempt, at) for attempt, at in state["starts"]]
        self.owners = {m: (rank, source) for m, (rank, source) in state["owners"].items()}
        self.sources = {name: _Source(attempt, steps) for name, (attempt, steps) in state["sources"].items()}
        self.passed = {m: (step, value, source) for m, (step, value, source) in state["passed"].items()}
