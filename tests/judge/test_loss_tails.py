"""Runs whose single losses are wild: what a run does all the time is not worth waking for."""

from __future__ import annotations

import math
import random

import pytest

from smartmon.detectors.loss_spike import LossSpike, Spikes
from smartmon.detectors.noise import Level
from smartmon.detectors.signal import Point
from smartmon.records import Change

from .feed import anomalies, changes, feed, rows


def heavy(scale: float, count: int, seed: int) -> list[float]:
    """Losses around 2 whose logarithm is Student's t with 4 degrees of freedom."""
    rng = random.Random(seed)
    return [2 * math.exp(scale * rng.gauss(0, 1) / math.sqrt(rng.gammavariate(2, 2) / 4)) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.1, 0.2, 0.3])
def test_heavy_tails_wake_a_person_at_most_thrice_in_ten_thousand_points(scale: float) -> None:
    found = feed(rows("loss", heavy(scale, 10_000, 3)))
    assert len(anomalies(found, "loss_spike")) > 300
    assert len(changes(found, Change.OPENED)) <= 3


def bar(losses: list[float]) -> float:
    """How far out a single value must be after these losses."""
    spikes, level = Spikes(), Level(floor=0.02)
    for step, value in enumerate(losses):
        score = level.score(value)
        spikes.judge(LossSpike(), 0.3, 10, Point("loss", step, value), score)
        level.learn(step, value, score)
    return spikes.single_bar


def test_a_gaussian_run_asks_for_no_more_than_the_rule() -> None:
    rng = random.Random(4)
    assert bar([math.exp(rng.gauss(0, 0.1)) for _ in range(5000)]) < 5


def test_a_heavy_tailed_run_asks_for_more_the_longer_it_is_known() -> None:
    losses = heavy(0.2, 4000, 5)
    assert 5 < bar(losses[:1000]) < bar(losses) <= 15


def test_a_spike_that_is_huge_for_this_run_is_told_all_the_same() -> None:
    losses = heavy(0.05, 3000, 6)
    found = feed(rows("loss", [*losses, 9.0]))
    assert (anomalies(found, "loss_spike")[-1].step, anomalies(found, "loss_spike")[-1].severity) == (3001, "warning")


def test_a_minority_of_harder_data_belongs_to_the_noise() -> None:
    rng = random.Random(7)
    easy = Level(floor=0.02)
    for step in range(200):
        value = math.exp(rng.gauss(0, 0.02)) * (1.3 if step % 6 == 0 else 1.0)
        easy.learn(step, value, easy.score(value))
    assert easy.score(1.32).z < 2
    assert easy.score(1.8).z > 3
