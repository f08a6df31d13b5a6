"""A metric's level and noise."""

from __future__ import annotations

import json
import math
import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from smartmon.detectors.noise import Level


def learned(values: list[float], **own: float) -> Level:
    level = Level(**{"floor": 0.02, **own})  # type: ignore[arg-type]
    for step, value in enumerate(values):
        level.learn(step, value, level.score(value))
    return level


def noisy(sigma: float, count: int = 300) -> list[float]:
    chance = random.Random(3)
    return [math.exp(chance.gauss(0, sigma)) for _ in range(count)]


def test_a_value_stands_in_deviations_of_the_runs_own_noise() -> None:
    score = learned(noisy(0.1)).score(math.exp(0.5))
    assert 4 < score.z_long < 6.5
    assert 1.5 < score.ratio_long < 1.8


def test_a_constant_metric_has_two_percent_of_noise() -> None:
    assert round(learned([1.0] * 100).score(1.1).z_long, 1) == round(math.log(1.1) / 0.02, 1)


def test_a_trend_is_not_noise_to_the_short_baseline() -> None:
    falling = [math.exp(-i / 50) for i in range(150)]
    level = learned(falling)
    score = level.score(falling[-1] * 1.6)
    assert score.z_short > 3 * max(score.z_long, 0)


def test_outliers_do_not_teach_it_until_two_hundred_came_in_a_row() -> None:
    level = learned([*noisy(0.05), *[9.0] * 199])
    assert level.score(9.0).z > 20
    assert level.learn(999, 9.0, level.score(9.0))
    assert level.score(9.0).z < 1


def test_values_at_or_below_zero_switch_to_plain_units_and_back() -> None:
    level = learned([*noisy(0.05), -1.0])
    assert not level.log
    for step in range(1000, 1101):
        level.learn(step, 1.0, level.score(1.0))
    assert level.log


def test_a_step_told_again_replaces_its_value() -> None:
    level = learned([1.0] * 50)
    level.learn(50, 1.05, level.score(1.05))
    level.learn(50, 1.0, level.score(1.0))
    assert list(level.raw) == [1.0] * len(level.raw)


def test_what_lies_after_a_resume_is_forgotten() -> None:
    level = learned([float(1 + i / 100) for i in range(60)])
    level.cut(before=40)
    assert max(level.steps) == 39


@given(st.lists(st.one_of(st.floats(-5, 5), st.floats(0.5, 2)), max_size=150))
@settings(max_examples=50, deadline=None)
def test_the_windows_are_those_of_its_values(values: list[float]) -> None:
    level = learned(values)
    us = list(level.us)
    assert level.long.values == sorted(us)
    assert level.short.values == sorted(us[len(us) - level.short_len :])
    assert level.diffs.values == sorted(b - a for a, b in pairwise(us))
    copy = Level(floor=0.02)
    copy.restore(json.loads(json.dumps(level.state())))
    assert copy.score(1.5) == level.score(1.5)


def test_while_a_rise_is_watched_it_does_not_teach_the_level() -> None:
    level = learned(noisy(0.05))
    level.watch(1.0)
    for step in range(300, 340):
        level.learn(step, 1.15, level.score(1.15))
        level.watch(1.0)
    assert level.score(1.15).ratio_long > 1.14
    level.watch(0.0)
    assert level.score(1.15).ratio_short < 1.05


def test_a_rise_that_lasts_is_learned_after_sixty_values() -> None:
    level = learned(noisy(0.05))
    for step in range(300, 400):
        level.watch(1.0)
        level.learn(step, 1.15, level.score(1.15))
    assert level.score(1.15).ratio_long < 1.05


def test_a_run_that_rises_and_comes_back_all_the_time_is_followed() -> None:
    level = learned(noisy(0.05))
    for _ in range(4):
        level.watch(1.0)
        level.watch(0.0)
    level.watch(1.0)
    assert level.frozen is None


def test_values_that_come_and_go_become_part_of_the_noise() -> None:
    level = learned([*noisy(0.02, 100), *[1.0, 1.0, 1.0, 1.3] * 30])
    assert level.score(1.3).z < 2


def test_what_it_knows_survives_a_round_trip_while_it_is_frozen() -> None:
    level, copy = learned(noisy(0.05)), Level(floor=0.02)
    level.watch(1.0)
    copy.restore(json.loads(json.dumps(level.state())))
    assert copy.score(1.2) == level.score(1.2)
    assert copy.frozen == level.frozen
