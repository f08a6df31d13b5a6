"""What a picture of a run shows, gathered from the store: at most so many points, however long the run."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from smartmon.canvas import finite
from smartmon.config.kinds import ANOMALIES
from smartmon.records import Json
from smartmon.store import RunRow, Store
from smartmon.store.rows import Point

POINTS = 1200
"""Points of a curve: more than a column of a printed page has dots to show."""
MEAN = 50
"""How many steps a mean is taken over."""
_FEWEST = 5
"""Points that a mean is taken over at least, of a log with a row each 20 steps, say."""
_WIDTHS = 250
"""A mean reaches over this share of a run at least: over less it would be drawn as a band."""
_FINE = 20_000
"""Points that the means are made of: of a run with fewer rows, all."""
_LONG = 100_000
"""Of a run with more rows, they are made of the summaries that the store keeps of each 64: its rows are not read."""
RECENT = 500
"""Steps of the closer look at the end."""
_MARKS = 400
_INCIDENTS = 2000
_SAMPLES = 5
_SPEEDS = ("tokens_per_sec", "samples_per_sec", "steps_per_sec")
_METRICS = ("loss", "eval_loss", "accuracy", "eval_accuracy", "learning_rate", "grad_norm", "gpu_memory_mb")
_DETECTED = tuple(kind for kind in ANOMALIES if kind != "best_model")


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric over its steps. A value that cannot be drawn is NaN in `points` and has its step in `bad`."""

    metric: str
    points: tuple[Point, ...] = ()
    """The run as it went on, in the order of its steps: what a later attempt did again is not in it."""
    undone: tuple[Point, ...] = ()
    """What a later attempt went back over."""
    bad: tuple[int, ...] = ()
    count: int = 0
    """How many observations all these stand for."""
    means: tuple[tuple[int, float], ...] = ()
    """Step and mean of the values up to it."""
    reach: int = MEAN
    """How many steps a mean is taken over."""

    @property
    def values(self) -> list[float]:
        """What can be drawn of the points."""
        return [point.last for point in self.points if not math.isnan(point.last)]


@dataclass(frozen=True, slots=True)
class Mark:
    """An anomaly where it was seen."""

    step: int
    kind: str
    severity: str


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and what the model made of it."""

    step: int | None
    prompt: str
    expected: str
    answer: str
    result: str


@dataclass(frozen=True, slots=True)
class Portrait:
    """All that a picture of a run tells."""

    name: str
    state: str
    step: int | None
    total_steps: int | None
    best: float | None
    best_step: int | None
    best_metric: str
    began: float | None
    last: float | None
    incidents: int
    open_incidents: int
    curves: Mapping[str, Curve]
    recent: Mapping[str, Curve]
    speed: Curve
    marks: tuple[Mark, ...]
    snapshots: tuple[int, ...]
    attempts: tuple[int, ...]
    """The steps at which later attempts began."""
    examples: tuple[Example, ...]
    """The last five, oldest first."""

    @property
    def accuracy(self) -> Curve:
        """The training's accuracy, or the evaluation's where there is no other."""
        own = self.curves["accuracy"]
        return own if own.count else self.curves["eval_accuracy"]

    def pairs(self) -> list[tuple[float, float, int]]:
        """Loss, accuracy and step where both are known: each accuracy with the loss nearest to it in steps."""
        losses = [point for point in self.curves["loss"].points if not math.isnan(point.last)]
        steps = [point.step for point in losses]
        found = []
        for point in self.accuracy.points:
            if not losses or math.isnan(point.last):
                continue
            place = bisect_left(steps, point.step)
            near = min(losses[max(0, place - 1) : place + 1], key=lambda loss: abs(loss.step - point.step))
            found.append((near.last, point.last, point.step))
        return found


def portrait(store: Store, run: RunRow, *, upto: int | None = None, points: int = POINTS) -> Portrait:
    """Gather a run's picture in one consistent view; with `upto`, as it was at that step."""
    with store.transaction():
        curves = {metric: _curve(store, run.id, metric, upto, points) for metric in _METRICS}
        ends = [curve.points[-1].step for curve in curves.values() if curve.points]
        last = max(ends, default=run.step if upto is None else None)
        for metric in ("loss", "accuracy"):
            curves[metric] = _with_means(store, run.id, curves[metric], upto, points)
        speed = next((c for name in _SPEEDS if (c := _curve(store, run.id, name, upto, points)).count), None)
        start = None if last is None else last - RECENT + 1
        recent = {
            metric: _curve(store, run.id, metric, upto, points, start=start)
            for metric in ("loss", "accuracy", "eval_accuracy")
        }
        kept = [one.step for one in store.snapshots(run=run.name, limit=_MARKS) if _within(one.step, upto)]
        incidents = store.incidents(run_id=run.id, limit=_INCIDENTS)
        # Detectors of other packages have kinds of their own.
        marks = _marks(store, run.id, {*_DETECTED, *(one.kind for one in incidents)}, upto)
        later = [one.step for one in store.attempts(run.id) if one.attempt > 1 and _within(one.step, upto)]
    of_now = upto is None or run.step is None or run.step <= upto
    best, best_step = _best(run, curves, of_now=of_now)
    ats = [point.at for curve in curves.values() for point in curve.points]
    seen = [one for one in incidents if _within(one.start_step, upto)]
    return Portrait(
        name=run.name,
        state=run.state.value if of_now else "running",
        step=last,
        total_steps=run.total_steps,
        best=best,
        best_step=best_step,
        best_metric=str(run.data.get("best_metric") or "loss"),
        began=min(ats, default=None),
        last=max(ats, default=None),
        incidents=len(seen),
        open_incidents=sum(one.state == "open" for one in seen),
        curves=curves,
        recent=recent,
        speed=speed if speed is not None else _pace(curves["loss"]),
        marks=marks,
        snapshots=tuple(sorted({step for step in kept if step is not None})),
        attempts=tuple(later),
        examples=examples(run.data.get("samples") or {}, upto),
    )


def _within(step: int | None, upto: int | None) -> bool:
    return upto is None or (step is not None and step <= upto)


def _curve(store: Store, run_id: int, metric: str, upto: int | None, points: int, *, start: int | None = None) -> Curve:
    series = store.series(run_id, metric, start=start, end=upto, max_points=points)
    kept, undone = _told_apart(series.points)
    # A bucket tells its last finite value: where it held others too, they are told by `bad`.
    bad = {one.step for one in series.nonfinite} | {p.step for p in (*kept, *undone) if math.isnan(p.last)}
    return Curve(metric, tuple(kept), tuple(undone), tuple(sorted(bad))[:_MARKS], series.count)


def _told_apart(points: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    """Part what the run stands on from what a later attempt went back over; both in the order of their steps."""
    drawn = [p._replace(last=finite(p.last), min=finite(p.min), max=finite(p.max)) for p in points]
    least, kept, undone = math.inf, [], []
    for attempt in sorted({point.attempt for point in drawn}, reverse=True):
        own = [point for point in drawn if point.attempt == attempt]
        kept += [point for point in own if point.step < least]
        undone += [point for point in own if point.step >= least]
        least = min(least, own[0].step)
    return sorted(kept, key=lambda p: p.step), sorted(undone, key=lambda p: (p.attempt, p.step))


def _with_means(store: Store, run_id: int, curve: Curve, upto: int | None, points: int) -> Curve:
    """Add the means: of all rows where they are few enough, so that 50 steps are 50 steps."""
    fine = curve.points
    if curve.count > len(curve.points) + len(curve.undone):
        most = _FINE if curve.count <= _LONG else min(_FINE, curve.count // 65)
        fine = tuple(_told_apart(store.series(run_id, curve.metric, end=upto, max_points=most).points)[0])
    if len(fine) < 2:
        return curve
    stride = max(1.0, (fine[-1].step - fine[0].step) / (len(fine) - 1))
    reach = max(MEAN, round(_FEWEST * stride), (fine[-1].step - fine[0].step) // _WIDTHS)
    every = max(1, len(fine) // points)
    means = moving(fine, reach)
    thinned = [(point.step, mean) for point, mean in zip(fine, means)][::-1][::every][::-1]
    return replace(curve, means=tuple(thinned), reach=reach)


def moving(points: Sequence[Point], reach: int) -> list[float]:
    """Return the mean over the last `reach` steps at each point, NaN left out; of those there are at the beginning."""
    window: deque[tuple[int, float]] = deque()
    means = []
    for point in points:
        if not math.isnan(point.last):
            window.append((point.step, point.last))
        while window and window[0][0] <= point.step - reach:
            window.popleft()
        means.append(math.fsum(value for _, value in window) / len(window) if window else math.nan)
    return means


def _pace(loss: Curve) -> Curve:
    """Steps a second between the points of the loss, for a trainer that tells no speed of its own.

    Rows that all lie within a second were copied or written at once: their moments tell no pace.
    """
    made: list[Point] = []
    if not loss.points or loss.points[-1].at - loss.points[0].at < 1.0:
        return Curve("steps_per_sec")
    for before, after in pairwise(loss.points):
        if after.attempt == before.attempt and after.at > before.at:
            rate = finite((after.step - before.step) / (after.at - before.at))
            made.append(after._replace(last=rate, min=rate, max=rate))
    return Curve("steps_per_sec", tuple(made), count=len(made))


def _marks(store: Store, run_id: int, kinds: Iterable[str], upto: int | None) -> tuple[Mark, ...]:
    wanted = sorted(kinds)
    # What was only noticed is in a long run so often that it would leave no room for what matters.
    grave = store.events(run_id=run_id, kinds=wanted, limit=_MARKS, min_severity="warning")
    rows = {row.id: row for row in (*grave, *store.events(run_id=run_id, kinds=wanted, limit=_MARKS))}
    return tuple(
        Mark(row.step, row.kind, row.severity.value)
        for row in sorted(rows.values(), key=lambda row: (row.at, row.id))
        if row.step is not None and _within(row.step, upto)
    )


def _best(run: RunRow, curves: Mapping[str, Curve], *, of_now: bool) -> tuple[float | None, int | None]:
    best, step = run.data.get("best_loss"), run.data.get("best_loss_step")
    if isinstance(best, (int, float)) and math.isfinite(best) and of_now:
        return float(best), step if isinstance(step, int) else None
    curve = curves["eval_loss"] if curves["eval_loss"].values else curves["loss"]
    # A loss of exactly 0 among others is a masked batch, or hides a NaN: it was never the best while the run went on.
    lows = [(point.min or point.last, point.step) for point in curve.points]
    known = [low for low in lows if not math.isnan(low[0])]
    return min([low for low in known if low[0]] or known, default=(None, None))


def examples(told: Mapping[str, Json], upto: int | None = None) -> tuple[Example, ...]:
    """Return the last samples that a run's status told of, oldest first."""
    listed: Any = told.get("recent_examples")
    rows: Sequence[Any] = [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []
    if not rows and (told.get("current_prompt") or told.get("model_answer")):
        rows = [
            {
                "prompt": told.get("current_prompt"),
                "golden": told.get("golden_answer"),
                "model_output": told.get("model_answer"),
                "matches": told.get("answer_matches"),
            }
        ]
    made = [_example(row) for row in rows]
    return tuple(one for one in made if upto is None or one.step is None or one.step <= upto)[-_SAMPLES:]


def _example(row: Mapping[str, Json]) -> Example:
    step, accuracy, matches = row.get("step"), row.get("accuracy"), row.get("matches")
    result = {True: "match", False: "differs"}.get(matches) if isinstance(matches, bool) else None
    if result is None and isinstance(accuracy, (int, float)) and math.isfinite(accuracy):
        result = f"{accuracy:.4g} %"
    prompt, expected, answer = (_said(row.get(key)) for key in ("prompt", "golden", "model_output"))
    return Example(step if isinstance(step, int) else None, prompt, expected, answer, result or "")


def _said(value: Json) -> str:
    return "" if value is None else str(value)
