"""`grad_explosion`: spikes are recorded, what lasts is sent, what is gone for good is critical."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged
from tests.judge.feed import brief, feed, row

KIND = "grad_explosion"


def run(levels: Sequence[float], *, sd: float = 0.2, every: int = 1, seed: int = 3, **more: Any) -> list[Observation]:
    """A healthy loss beside gradient norms around the levels."""
    chance = random.Random(seed)
    found = []
    for i, level in enumerate(levels):
        loss = 2.0 * chance.lognormvariate(0, 0.02)
        found.append(row((i + 1) * every, loss=loss, grad_norm=level * chance.lognormvariate(0, sd), **more))
    return found


CALM = [1.0] * 150


@pytest.mark.parametrize("sd", [0.02, 0.2, 0.5])
def test_healthy_noise_is_silent(sd: float) -> None:
    decay = [4 / (1 + i / 50) + 0.5 for i in range(1500)]
    assert anomalies(judged(run(decay, sd=sd)), KIND) == []


def test_one_spike_is_recorded_and_nobody_is_woken() -> None:
    found = judged(run([*CALM, 20.0, *CALM]))
    assert [a.severity.value for a in anomalies(found, KIND)] == ["info"]
    assert incidents(found, KIND) == []


@pytest.mark.parametrize(("level", "at"), [(8.0, 156), (2.8, 163)])
def test_a_rise_that_lasts_is_sent_once_and_over_when_it_is_back(level: float, at: int) -> None:
    found = judged(run([*CALM, *[level] * 60, *CALM], sd=0.1))
    assert incidents(found, KIND)[0][1:] == ("opened", "warning")
    assert abs(incidents(found, KIND)[0][0] - at) <= 4
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]
    told = anomalies(found, KIND)[-1]
    assert told.onset_step is not None
    assert 149 <= told.onset_step <= 152
    assert told.last_good_step == told.onset_step - 10


def test_norms_that_grow_while_the_loss_falls_are_none() -> None:
    chance = random.Random(5)
    norms = [1.0] * 100 + [math.exp(min(1.6, i / 100)) for i in range(400)]
    rows = [
        row(i + 1, loss=2 * math.exp(-i / 400), grad_norm=norm * chance.lognormvariate(0, 0.3))
        for i, norm in enumerate(norms)
    ]
    assert incidents(judged(rows), KIND) == []


def test_a_hundred_times_the_level_is_critical_when_it_comes_again() -> None:
    found = judged(run([*CALM, 500.0, *CALM, 500.0, 700.0, *CALM]))
    assert incidents(found, KIND)[0] == (303, "opened", "critical")
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]


def test_a_hundred_times_the_level_is_critical_at_once_where_a_point_averages_many_steps() -> None:
    found = judged(run([*CALM, 500.0], every=50))
    assert incidents(found, KIND) == [(151 * 50, "opened", "critical")]


def test_a_hundred_times_almost_nothing_is_no_explosion() -> None:
    found = judged(run([*[1.0] * 40, *[1.0 * 0.97**i for i in range(200)], *[0.002] * 100, 0.4, *[0.002] * 40]))
    assert incidents(found, KIND) == []


def test_an_open_divergence_of_the_loss_tells_it_already() -> None:
    chance = random.Random(2)
    rows = run(CALM, sd=0.1)
    for i in range(60):
        rows.append(row(151 + i, loss=6.0 * chance.lognormvariate(0, 0.02), grad_norm=9.0 + i % 3))
    found = judged(rows)
    assert incidents(found, "divergence")[0][1] == "opened"
    assert incidents(found, KIND) == []


def test_a_storm_of_spikes_is_told_of_now_and_then() -> None:
    levels = [20.0 if i > 150 and i % 4 == 0 else 1.0 for i in range(400)]
    assert 1 <= len(anomalies(judged(run(levels)), KIND)) <= 16


def test_more_norms_above_the_clipping_limit_than_ever_are_recorded() -> None:
    levels = [0.5] * 700 + [0.9] * 300
    told = [a for a in anomalies(judged(run(levels, sd=0.25, max_grad_norm=1.0)), KIND) if a.reason == "grad_clipping"]
    assert [(a.severity.value, a.step) for a in told] == [("info", 800)]
    assert "clipping limit 1;" in told[0].message


def test_values_that_are_no_norms_change_nothing() -> None:
    rows = run([*CALM, *[8.0] * 60])
    odd = [row(o.step, **{**o.values, "grad_norm": value}) for o, value in zip(rows, [math.nan, -1.0, 0.0, math.inf])]
    missing = [row(o.step, loss=o.values["loss"]) for o in rows[4:10]]
    found = judged([*odd, *missing, *rows[10:]])
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened"]


def test_a_resume_begins_without_what_was_open() -> None:
    rows = run([*CALM, *[8.0] * 20])
    again = run([1.0] * 200, seed=9)[100:]
    found = judged([*rows, *again])
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]


def test_a_stored_state_continues_exactly() -> None:
    rows = run([*CALM, 500.0, *[8.0] * 30, *CALM], max_grad_norm=1.0)
    assert repr(judged(rows, every=7)) == repr(judged(rows))


def test_without_the_noise_guard_the_rules_are_the_same() -> None:
    rows = run([*CALM, *[8.0] * 30])
    assert brief(feed(rows, noise_guard=False), KIND) == brief(feed(rows), KIND) != []
