"""`accuracy_drop`: an accuracy far below the mean of the few before it, or below the best of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import Field

from smartmon.detectors.earlier import Earlier, beyond, deviations, percent_text
from smartmon.detectors.past import ALIKE, DEEPER, NEWEST, Past, best, chance, deepest, noise
from smartmon.detectors.signal import Firing, Point, Trace, Verdict
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

MUCH = 20.0
"""Points whose loss is critical, as is that of half of the best."""
FEW = 4
"""Evaluations from which their noise is known well enough to judge by; before, only a loss of 20 points counts."""
SURE = 8
"""Evaluations from which the best of them is no luck."""
UNSURE = 3.0
"""Noise that is known from n values is asked for `1 + 3 / n` times the deviations."""
NEARBY = 4
"""Batches in a row after which a fall is recorded again."""
USUAL = 3 * NEWEST
"""Batches of which one must be the worst to be worth recording."""


class AccuracyDrop(Params):
    """Fires when `accuracy < mean(last 5 accepted) - threshold` (percentage points) and at least 3 are known; also when
    an evaluation is that far below its best level, and too far for its noise, twice in a row.

    Severity of an evaluation, or of observations ten steps apart, comes from the differences of its neighbours, so a
    trend is no noise: warning from `sigmas` deviations (never less than 1 point) for two observations (one, ten steps
    apart), critical at once when 20 points or half of the best are lost as well; twice where fewer than 4 are known.
    A per-step accuracy is one batch's: it counts once the mean of ten fell by the threshold and by more than chance
    explains (Bernstein's inequality). Else info; of batches the worst of thirty. One fall is told when it begins, when
    it is graver, and when it is deeper by another threshold. Gets wrong: an evaluation over so few samples that 20
    points are its usual noise.
    """

    enabled: bool = Field(True, description="Whether to look for drops of accuracy.")
    threshold: float = Field(
        10.0,
        gt=0,
        le=100,
        description="Drop below the mean of the last 5 that counts, in percentage points.",
    )
    sigmas: float = Field(
        5.0, ge=2, le=100, description="A drop is sent from this many deviations of the run's noise; else recorded."
    )


class _Look(NamedTuple):
    """What a value looks like against the ones before it."""

    low: bool
    """Whether it is part of a fall."""
    severity: Severity = Severity.INFO
    why: str = ""
    z: float = 0.0


class _Case(NamedTuple):
    """A value under test with what it is held against."""

    point: Point
    threshold: float
    sigmas: float
    mean: float | None
    """Of the last accepted values."""
    plain: bool
    """Whether it is further below that than the threshold."""
    known: list[float]
    """The past without the present fall."""
    down: int
    """Observations before this one that are part of the present fall."""


class Drops:
    """The state of `accuracy_drop` for one metric of one attempt."""

    def __init__(self) -> None:
        self.earlier = Earlier()
        self.past = Past()
        self.down = 0
        """Observations in a row that are part of a fall; they are the newest of the past."""
        self.since: tuple[int, int] | None = None
        """The first step of the present fall, and the one before it."""
        self.before: tuple[int, int] = (-1, 0)
        """The step judged last, and how many were down before it: another value of that step replaces it."""
        self.told: tuple[int, float] | None = None
        """Severity and value of what was last told of the present fall."""

    def judge(
        self, params: AccuracyDrop, threshold: float, window: int, point: Point, *, evaluation: bool, trace: Trace
    ) -> Firing | None:
        """Test one finite accuracy and learn it. `evaluation`: it is one over many samples, not that of a batch."""
        last = self.past.steps[-1] if self.past.steps else point.step
        if point.step == self.before[0]:
            self.past.forget(1)
            self.down = self.before[1]
        self.before = (point.step, self.down)
        mean = self.earlier.mean(point.step, window)
        plain = mean is not None and beyond(mean - point.value, threshold)
        known = self.past.before(self.down)
        self.past.learn(point.step, point.value)
        case = _Case(point, threshold, params.sigmas, mean, plain, known, self.down)
        look = _evaluated(case) if evaluation else self._batches(case)
        if not look.low:
            self._recover(point)
            self.earlier.accept(point.step, point.value, window)
            _trace_calm(case, trace)
            return None
        self.since = self.since or (point.step, last)
        self.down += 1
        firing = self._firing(case, look, self.earlier.used(window))
        if trace is not None:
            expected, limit, severity = firing.expected, firing.limit, firing.severity
            said = Verdict("accuracy_drop", point.metric, point.value, expected, limit, True, severity, firing.message)
            trace.append(said)
        news = self._is_news(case, look, evaluation)
        self._sink(case, window)
        return firing if news else None

    def _recover(self, point: Point) -> None:
        """Note that the value is part of no fall. One that was told of says nothing of the usual noise."""
        if self.told is not None and self.told[0] > Severity.INFO.rank:
            self.past.forget(self.down + 1)
            self.past.learn(point.step, point.value)
        self._begin(point.step)

    def _begin(self, step: int) -> None:
        self.down, self.told, self.since, self.before = 0, None, None, (step, 0)

    def _sink(self, case: _Case, window: int) -> None:
        """Learn a value that is part of a fall; as many of them as the window holds are the level from then on."""
        step, value = case.point.step, case.point.value
        if case.plain:
            adopted = self.earlier.refuse(step, value, window)
        else:
            self.earlier.accept(step, value, window)
            adopted = self.down >= window
        if adopted:
            # The newer half: the older one may still have been on its way down.
            self.past.adopt(max(min(self.down, window) // 2, ALIKE))
            self._begin(step)

    def _is_news(self, case: _Case, look: _Look, evaluation: bool) -> bool:
        """Whether a fall has begun, got graver, or deeper by another threshold; a batch's also if it is unusual."""
        rank, value = look.severity.rank, case.point.value
        if self.told is None:
            unusual = evaluation or rank > Severity.INFO.rank or value < min(case.known[-USUAL:], default=math.inf)
            news = unusual or not case.point.guard
        else:
            news = rank > self.told[0] or value <= self.told[1] - case.threshold or not case.point.guard
            # Said again while it is no more than recorded, so that the incident it may open begins where it did.
            news = news or (rank == Severity.INFO.rank and not evaluation and self.down % NEARBY == 0)
        if news:
            self.told = (max(rank, self.told[0] if self.told else rank), value)
        return news

    def _batches(self, case: _Case) -> _Look:
        """Look at an accuracy of single batches: its ten newest against those before, whatever their noise is like."""
        if not case.plain:
            return _Look(False)
        if unguarded := _unguarded(case):
            return unguarded
        values = self.past.values
        tested = max(NEWEST, case.down + 1)
        known = values[:-tested]
        newest = sum(values[-NEWEST:]) / min(NEWEST, len(values))
        if len(known) < NEWEST:
            return _Look(True, why="too few values are known to judge it by")
        level = sum(known) / len(known)
        fall = level - newest
        far = fall >= case.threshold
        allowed = chance(values, tested, case.sigmas * (1 + UNSURE / len(known))) if far else math.inf
        seen = f"the mean of the {NEWEST} newest fell by {percent_text(fall)} points"
        if fall < allowed:
            return _Look(True, why=f"{seen}, within what chance explains")
        severity = Severity.CRITICAL if fall >= MUCH or newest <= level / 2 else Severity.WARNING
        return _Look(True, severity, f"{seen}, of which chance explains at most {percent_text(allowed)}")

    def _firing(self, case: _Case, look: _Look, count: int) -> Firing:
        point, mean = case.point, case.mean
        if mean is not None and case.plain:
            level, limit, against = mean, mean - case.threshold, f"the mean of the last {count} values"
        else:
            level = best(case.known)
            limit, against = level - case.threshold, "its best level"
        drop = percent_text(level - point.value)
        message = (
            f"{point.metric} {point.value:.1f} % at step {point.step:,} is {drop} points below "
            f"{against} ({level:.1f} %); {look.why}."
        )
        onset, good = self.since or (None, None)
        return Firing(
            "accuracy_drop",
            point.metric,
            point.value,
            level,
            limit,
            look.severity,
            f"accuracy_drop_{drop}pct",
            message,
            onset_step=onset,
            last_good_step=good,
            evidence={"z": look.z, "points": level - point.value},
        )

    def resume(self, step: int, known: Iterable[tuple[int, float]]) -> None:
        """The run went back to a step: forget what lies after it."""
        self.earlier.go_back(known)
        self.past.cut(step)
        self._begin(-1)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "earlier": self.earlier.state(),
            "past": self.past.state(),
            "down": self.down,
            "since": self.since and list(self.since),
            "before": list(self.before),
            "told": self.told and list(self.told),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.earlier.restore(state["earlier"])
        self.past.restore(state["past"])
        self.down = state["down"]
        since, told = state["since"], state["told"]
        self.since = since and (since[0], since[1])
        self.told = told and (told[0], told[1])
        self.before = (state["before"][0], state["before"][1])


def _unguarded(case: _Case) -> _Look | None:
    """Return the look where the run's noise decides nothing."""
    if not case.point.guard:
        return _Look(case.plain, Severity.WARNING, "the noise guard is off")
    if case.point.held:
        return _Look(case.plain, why="judgement rests for a few points after a resume")
    return None


def _evaluated(case: _Case) -> _Look:
    """Look at an evaluation's accuracy: few values, each over many samples, so that one alone says something."""
    if unguarded := _unguarded(case):
        return unguarded
    known, value = case.known, case.point.value
    fall = best(known) - value if known else 0.0
    if not case.plain and fall < case.threshold:
        return _Look(False)
    much = fall >= MUCH - 1e-9 or (fall >= case.threshold and value <= best(known) / 2)
    if len(known) < FEW:
        seen = f"{percent_text(fall)} points below the best, of which few are known"
        severity = Severity.CRITICAL if much and case.down else Severity.INFO
        return _Look(case.plain or much, severity, seen)
    sigma = noise(known)
    bar = case.sigmas * (1 + UNSURE / len(known))
    z = (case.mean - value) / sigma if case.plain and case.mean is not None else 0.0
    alone, slid = z >= bar, len(known) >= SURE and fall >= bar * sigma
    if (alone or slid) and fall < DEEPER * deepest(known):
        alone = slid = False
    z = max(z, fall / sigma) if slid else z
    seen = f"{deviations(z)} of its own noise"
    if not alone and not slid:
        return _Look(case.plain, why=f"{seen}: within this run's noise", z=z)
    severity, why = Severity.INFO, ": one point so far"
    if much and (alone or case.down):
        severity, why = Severity.CRITICAL, f", {percent_text(fall)} points below its best level"
    elif case.down:
        severity, why = Severity.WARNING, ", and it lasts"
    elif alone and case.point.averaged:
        severity, why = Severity.WARNING, ", and each logged value stands for many steps"
    return _Look(True, severity, seen + why, z)


def _trace_calm(case: _Case, trace: Trace) -> None:
    if trace is None:
        return
    text, limit, point = "fewer than 3 earlier values: no verdict", None, case.point
    if case.mean is not None:
        limit = case.mean - case.threshold
        text = f"{number(point.value)} is not below {number(limit)}"
    trace.append(Verdict("accuracy_drop", point.metric, point.value, case.mean, limit, False, None, text))
