"""Healthy noise on decaying curves, and runs that crash and start again."""

from __future__ import annotations

import math
import random

from benchmarks.detection.curves import Curve, Row
from benchmarks.detection.inject import BEGAN, LONGEST, SECONDS, Base

NOISES = (0.05, 0.1, 0.2, 0.3)
POINTS = 4000
CURVES = 5
LOOPS = 10


def level(step: int) -> float:
    """The loss without noise: a power law, as training curves are."""
    return 1 + 3 / math.sqrt(1 + step / 50)


def drawn(rng: random.Random, sd: float, heavy: bool) -> float:
    """Return one draw of noise: Gaussian, or Student's t with 4 degrees of freedom and that scale."""
    value = rng.gauss(0, 1)
    return sd * (value / math.sqrt(rng.gammavariate(2, 2) / 4) if heavy else value)


def losses(rng: random.Random, sd: float, *, heavy: bool, mean_of: int, points: int) -> list[float]:
    """Return a healthy curve: multiplicative noise around the level, each value the mean of some steps."""
    found = []
    for point in range(points):
        steps = range(point * mean_of, (point + 1) * mean_of)
        found.append(sum(level(step) * math.exp(drawn(rng, sd, heavy)) for step in steps) / mean_of)
    return found


def healthy(sd: float, heavy: bool, mean_of: int, number: int) -> list[Curve]:
    """Return some curves of one kind of noise."""
    shape = f"{'t4' if heavy else 'Gauss'} {sd:g}{'' if mean_of == 1 else f', mean of {mean_of}'}"
    curves = []
    for index in range(number):
        name = f"synthetic/{'t4' if heavy else 'gauss'}_{sd:g}_{mean_of}/{index}"
        rng = random.Random(name)
        values = losses(rng, sd, heavy=heavy, mean_of=mean_of, points=POINTS)
        rows = [
            Row((point + 1) * mean_of, BEGAN + SECONDS * (point + 1), {"loss": value})
            for point, value in enumerate(values)
        ]
        curves.append(Curve(name, f"noise {shape}", "synthetic", "", rows, "loss", shape=shape, healthy=True))
    return curves


def bases() -> list[Base]:
    """Return curves to inject into where there are no real ones, and beside them."""
    kinds = (("made_step", 0.1, 1), ("made_mean", 0.2, 10))
    return [
        Base(
            name,
            "synthetic",
            "dev",
            [(point + 1) * mean_of for point in range(LONGEST)],
            losses(random.Random(name), sd, heavy=False, mean_of=mean_of, points=LONGEST),
        )
        for name, sd, mean_of in kinds
    ]


def crashes() -> list[Curve]:
    """Return runs that start again and again from one checkpoint, and as many that get further each time."""
    found = []
    for index in range(LOOPS):
        rng = random.Random(f"crash {index}")
        found += [
            _restarting(f"crash/loop/{index}", rng, gains=False),
            _restarting(f"crash/gain/{index}", rng, gains=True),
        ]
    return found


def _restarting(name: str, rng: random.Random, *, gains: bool) -> Curve:
    """Return six attempts: from step 400 to about 450, or each on to a hundred steps beyond the last."""
    rows: list[Row] = []
    now, start, reached = BEGAN, 1, 450
    begins = []
    for attempt in range(6):
        begins.append(len(rows))
        for step in range(start, reached):
            now += SECONDS * math.exp(rng.gauss(0, 0.05))
            rows.append(Row(step, now, {"loss": level(step) * math.exp(rng.gauss(0, 0.03))}))
        now += 90.0
        start = reached - 50 if gains else 400
        reached = reached + 100 if gains else 450 - rng.randint(attempt, 15)
    curve = Curve(name, "synthetic", "crash", "", rows, "loss", shape="gains" if gains else "loop")
    if gains:
        curve.healthy, curve.begin = True, begins[1]
    else:
        # Three attempts without a new highest step make a loop: known when the third of them ends.
        curve.events.append(
            curve.event("crash loop", "loss", begins[3], len(rows), tolerance=begins[5] - begins[3], families={"crash"})
        )
        curve.begin = begins[1]
    return curve
