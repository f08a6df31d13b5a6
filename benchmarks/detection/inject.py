"""Quiet curves with something put in: what it is and when it began are known exactly.

Shapes of the loss are multiplicative; every curve is written anew as JSON Lines with a clock of ten seconds a point.
Two shapes are controls: a clean resume and a change of the logging interval are healthy, and every alarm is false.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.detection.curves import FAMILIES, GRACE, Curve, Row

LONGEST = 1600
"""Points of a base that are used."""
SHORTEST = 400
SECONDS = 10.0
BEGAN = 1_700_000_000.0
EARLIEST = 150
"""Points before the earliest onset: every rule here has had its warm-up."""


@dataclass(frozen=True)
class Base:
    """A quiet curve to put something into."""

    id: str
    source: str
    split: str
    steps: list[int]
    losses: list[float]
    grads: list[float] | None = None


@dataclass(frozen=True)
class Shape:
    """Something to put in."""

    name: str
    """The row of the report."""
    families: frozenset[str]
    """Of the alarms that are right about it; empty for a control."""
    tolerance: int
    """Points (evaluations, for what they show) within which an alarm is in time."""
    change: Callable[[list[Row], int, random.Random], int]
    """Changes the rows in place from a point on; returns the row of the onset."""
    evals: bool = False
    length: int = 10**6
    """Points that it lasts."""
    copies: int = 1


def _scaled(factor: Callable[[int], float]) -> Callable[[list[Row], int, random.Random], int]:
    """Multiply the loss by a function of the points since the onset."""

    def change(rows: list[Row], onset: int, _: random.Random) -> int:
        for k, row in enumerate(rows[onset:]):
            row.values["loss"] *= factor(k)
        return onset

    return change


def _set(metrics: dict[str, float], points: int) -> Callable[[list[Row], int, random.Random], int]:
    """Replace values for some points."""

    def change(rows: list[Row], onset: int, _: random.Random) -> int:
        for row in rows[onset : onset + points]:
            row.values.update({key: value for key, value in metrics.items() if key in row.values})
        return onset

    return change


def _later(rows: list[Row], first: int, seconds: Callable[[int], float]) -> None:
    """Move rows later by a growing delay."""
    for k, row in enumerate(rows[first:]):
        rows[first + k] = Row(row.step, row.at + seconds(k), row.values)


def _stall(rows: list[Row], onset: int, _: random.Random) -> int:
    _later(rows, onset, lambda _: 7200.0)
    return onset


def _slow(rows: list[Row], onset: int, _: random.Random) -> int:
    first = rows[onset].at
    for index in range(onset, len(rows)):
        row = rows[index]
        rows[index] = Row(row.step, first + 2 * (row.at - first), row.values)
        if "tokens_per_sec" in row.values:
            row.values["tokens_per_sec"] /= 2
    return onset


def _resume(bump: float) -> Callable[[list[Row], int, random.Random], int]:
    """Go back a little and do the steps again: on the same data, with the loss off by `bump` at first."""

    def change(rows: list[Row], onset: int, rng: random.Random) -> int:
        back = rng.randint(20, 60)
        pause = rows[onset - 1].at + 180 - rows[onset - back].at
        again = [Row(row.step, row.at + pause, dict(row.values)) for row in rows[onset - back :]]
        for k, row in enumerate(again):
            off = bump * math.exp(-k / 100) + (rng.gauss(0, 0.001) if k < back else 0)
            row.values["loss"] *= math.exp(off)
        rows[onset:] = again
        return onset

    return change


def _interval(rows: list[Row], onset: int, _: random.Random) -> int:
    """Log means of ten from there on."""
    rest = rows[onset:]
    groups = [rest[i : i + 10] for i in range(0, len(rest) - 9, 10)]
    rows[onset:] = [
        Row(
            group[-1].step,
            group[-1].at,
            {key: sum(row.values[key] for row in group) / 10 for key in group[-1].values},
        )
        for group in groups
    ]
    return onset


def _drop(rows: list[Row], onset: int, _: random.Random) -> int:
    places = [index for index, row in enumerate(rows) if index >= onset and "eval_accuracy" in row.values]
    for index in places:
        rows[index].values["eval_accuracy"] = max(0.01, rows[index].values["eval_accuracy"] - 0.25)
    return places[0]


def _overfit(rows: list[Row], onset: int, _: random.Random) -> int:
    places = [index for index, row in enumerate(rows) if index >= onset and "eval_loss" in row.values]
    level = rows[places[0]].values["eval_loss"]
    for k, index in enumerate(places, 1):
        noise = rows[index].values["noise"]
        rows[index].values["eval_loss"] = level * math.exp(0.03 * k + noise)
    return places[0]


NAN = math.nan
LOSS = frozenset({"loss"})
SHAPES = (
    Shape("1 pt x3", LOSS, 5, _scaled(lambda k: 3.0 if k == 0 else 1.0), length=1, copies=2),
    Shape("x2 decay 20", LOSS, 20, _scaled(lambda k: 1 + math.exp(-k / 20)), length=60, copies=2),
    Shape("x1.5 decay 50", LOSS, 50, _scaled(lambda k: 1 + 0.5 * math.exp(-k / 50)), length=150, copies=2),
    Shape("+50 % step", LOSS, 50, _scaled(lambda _: 1.5), copies=2),
    Shape("+20 % step", LOSS, 200, _scaled(lambda _: 1.2), copies=2),
    Shape("+0.5 %/pt", LOSS, 237, _scaled(lambda k: min(10.0, 1.005**k)), copies=2),
    Shape("+0.05 %/pt", LOSS, 900, _scaled(lambda k: min(10.0, 1.0005**k)), copies=2),
    Shape("explosion", LOSS, 60, _scaled(lambda k: min(1000.0, 1.15**k)), copies=2),
    Shape("NaN once", frozenset(FAMILIES["nonfinite"]), 1, _set({"loss": NAN, "grad_norm": NAN}, 1), length=1),
    Shape("NaN for good", frozenset(FAMILIES["nonfinite"]), 1, _set({"loss": NAN, "grad_norm": NAN}, 10**6)),
    Shape("masked zeros", frozenset(FAMILIES["nonfinite"]), 2, _set({"loss": 0.0, "grad_norm": NAN}, 10**6)),
    Shape("accuracy drop", frozenset({"eval"}), 3, _drop, evals=True),
    Shape("overfit", frozenset({"eval"}), 6, _overfit, evals=True),
    Shape("stall 2 h", frozenset({"stall"}), 1, _stall, length=1),
    Shape("slowdown x2", frozenset({"speed"}), 60, _slow),
    Shape("resume with bump", frozenset({"resume", "loss"}), 60, _resume(0.2), length=300),
    Shape("resume clean", frozenset(), 0, _resume(0.0)),
    Shape("interval 1 to 10", frozenset(), 0, _interval),
    Shape("nothing", frozenset(), 0, lambda _rows, _onset, _rng: 0, evals=True),
)
"""The eight of the loss, with their tolerances as the protocol has them; then the rest, then the controls."""


def injected(base: Base, shapes: tuple[str, ...] | None = None) -> Iterator[Curve]:
    """Yield the base with each shape in turn, where it is long enough."""
    for shape in SHAPES:
        for copy in range(shape.copies):
            if shapes is None or shape.name in shapes:
                curve = _with(base, shape, copy)
                if curve is not None:
                    yield curve


def _with(base: Base, shape: Shape, copy: int) -> Curve | None:
    name = f"injected/{base.id}/{shape.name.replace(' ', '_').replace('/', '_per_')}/{copy}"
    rng = random.Random(name)
    n = len(base.losses)
    every = max(10, n // 40)
    room = shape.tolerance * (every if shape.evals else 1) + 20
    latest = min(int(0.6 * n), n - room)
    if latest < EARLIEST:
        return None
    onset = rng.randint(EARLIEST, latest)
    rows = _rows(base, rng, every if shape.evals else 0)
    places = [index for index, row in enumerate(rows) if "loss" in row.values]
    row = shape.change(rows, places[onset], rng)
    for one in rows:
        one.values.pop("noise", None)
    return _labelled(Curve(name, base.source, "injected", base.split, rows, "loss", shape=shape.name), shape, row)


def _labelled(curve: Curve, shape: Shape, row: int) -> Curve:
    if not shape.families:
        curve.healthy, curve.begin = True, row
        return curve
    metric = "loss"
    if shape.evals:
        metric = "eval_loss" if shape.name == "overfit" else "eval_accuracy"
    point = curve.places[metric].index(row)
    curve.begin = max(0, curve.places[metric][max(0, point - GRACE)])
    curve.events.append(
        curve.event(
            shape.name,
            metric,
            point,
            point + shape.length,
            tolerance=shape.tolerance,
            families=set(shape.families),
        )
    )
    return curve


def _rows(base: Base, rng: random.Random, every: int) -> list[Row]:
    """Return the base as rows with a clock; with evaluations each `every` points unless 0."""
    rows: list[Row] = []
    now, first, quick = BEGAN, None, rng.random() < 0.5
    for point, (step, loss) in enumerate(zip(base.steps, base.losses)):
        took = SECONDS * math.exp(rng.gauss(0, 0.05))
        now += took
        values = {"loss": loss}
        if base.grads:
            values["grad_norm"] = base.grads[point]
        if quick:
            values["tokens_per_sec"] = round(80_000 / took, 1)
        rows.append(Row(step, now, values))
        if every and point % every == every - 1:
            level = sum(base.losses[point + 1 - every : point + 1]) / every
            first = first or level
            now += 40.0
            rows.append(Row(step, now, _evaluation(level, first, rng)))
    return rows


def _evaluation(level: float, first: float, rng: random.Random) -> dict[str, float]:
    """Return what an evaluation of a model with that training loss could say."""
    noise = rng.gauss(0, 0.004)
    accuracy = 0.4 + 0.4 * (1 - min(1.0, max(0.0, level / first))) + rng.gauss(0, 0.006)
    return {"eval_loss": 1.03 * level * math.exp(noise), "eval_accuracy": accuracy, "noise": noise}
