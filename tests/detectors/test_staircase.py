"""The shape that a loss repeats in every epoch is found where two epochs agree, and taken out of the judgement."""

from __future__ import annotations

import json
import math
import random

import pytest

from smartmon.detectors.staircase import Season
from smartmon.records import Change, Observation
from tests.judge.feed import anomalies, changes, feed, row

POINTS = 80


def learned(shapes: list[list[float]]) -> Season:
    """A season that saw epochs of such logarithms of the loss."""
    season = Season()
    for shape in shapes:
        for i, u in enumerate(shape):
            season.learn(i / len(shape), math.exp(u))
        season.turn()
    return season


RISING = [i / 40 for i in range(40)]


def test_what_two_epochs_have_in_common_is_usual() -> None:
    season = learned([[u - 1 for u in RISING], RISING])
    assert season.usual(0.9) - season.usual(0.1) == pytest.approx(0.8, abs=0.01)


def test_what_was_there_once_is_not() -> None:
    assert learned([RISING]).shape is None
    assert learned([RISING[::-1], RISING]).shape is None
    assert learned([[0.0] * 40, RISING]).shape is None


def test_an_epoch_with_too_few_values_has_no_shape() -> None:
    assert learned([RISING, RISING, [0.0, 1.0] * 4]).shape is None


def test_the_state_is_json_and_continues() -> None:
    season, copy = learned([RISING, RISING]), Season()
    copy.restore(json.loads(json.dumps(season.state())))
    copy.learn(0.5, 2.0)
    assert season.counts == [0] * 10
    assert copy.usual(0.3) == season.usual(0.3)


def fine_tune(epochs: int, *, damage: float = 1.0, at: float = 99.0) -> list[Observation]:
    """Losses that drop by two thirds at each epoch's turn and rise threefold within the epoch; damaged from `at` on."""
    rng, rows = random.Random(3), []
    for i in range(epochs * POINTS):
        epoch, place = divmod(i, POINTS)
        u = 1.0 - 0.15 * epoch + 1.1 * (place / POINTS if epoch else 1.0)
        hurt = damage if i >= at * POINTS else 1.0
        rows.append(row((i + 1) * 10, loss=math.exp(u + rng.gauss(0, 0.05)) * hurt, epoch=(i + 1) / POINTS))
    return rows


def test_a_rise_that_comes_in_every_epoch_is_no_news_from_the_fourth_on() -> None:
    opened = changes(feed(fine_tune(12)), Change.OPENED, Change.ESCALATED)
    assert [c.step for c in opened if c.step > 3 * POINTS * 10] == []


@pytest.mark.parametrize("damage", [1.5, 3.0])
def test_damage_within_such_an_epoch_is(damage: float) -> None:
    told = [a.step for a in anomalies(feed(fine_tune(9, damage=damage, at=6.4))) if a.severity != "info"]
    first = min(step for step in told if step > 3 * POINTS * 10)
    assert 0 <= first - int(6.4 * POINTS) * 10 <= 400
