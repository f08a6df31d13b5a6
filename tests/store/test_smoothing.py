"""Smoothing is causal, forgets, and leaves out what is no number."""

from __future__ import annotations

import math
from array import array

import pytest

from smartmon.store import RunRow, Store
from smartmon.store.chunks import CHUNK
from smartmon.store.smoothing import ema, mean


def test_a_mean_is_over_the_last_values_only() -> None:
    values = array("d", [float(n) for n in range(100)])
    smooth = mean(7)(values, 1)
    assert list(smooth) == pytest.approx([sum(values[max(0, n - 6) : n + 1]) / min(7, n + 1) for n in range(100)])


def test_a_mean_forgets_a_value_beyond_all_others() -> None:
    smooth = mean(5)(array("d", [1.0, 1e30, *[1.0] * 20]), 1)
    assert list(smooth[6:]) == [1.0] * 16


def test_nan_is_left_out() -> None:
    values = array("d", [math.nan, 2.0, math.nan, 4.0])
    assert list(mean(4)(values, 1))[1:] == [2.0, 2.0, 3.0]
    assert list(ema(0.5)(values, 1))[1:] == pytest.approx([2.0, 2.0, 10 / 3])
    assert math.isnan(mean(4)(values, 1)[0])
    assert math.isnan(ema(0.5)(values, 1)[0])


def test_no_weight_is_no_smoothing() -> None:
    assert list(ema(0.0)(array("d", [1.0, 5.0, 2.0]), 1)) == [1.0, 5.0, 2.0]


@pytest.mark.parametrize("max_points", [10, 500, 20_000])
def test_smoothed_values_stand_at_the_ends_of_buckets(store: Store, run: RunRow, max_points: int) -> None:
    with store.transaction():
        for step in range(1, 2 * CHUNK + 10):
            store.append(run.id, 1, step, float(step), {"loss": float(step)})
    series = store.series(run.id, "loss", max_points=max_points, smoothers=[ema(0.0), mean(2)])
    assert len(series.smoothed) == 2
    assert series.smoothed[0] == [point.last for point in series.points]
    assert len(series.points) == len(series.smoothed[1]) <= max_points
    assert series.count <= series.bucket * len(series.points)


def test_a_window_of_time_becomes_one_of_steps(store: Store, run: RunRow) -> None:
    with store.transaction():
        for step in range(1, CHUNK + 100):
            store.append(run.id, 1, step, 1000.0 + step / 2, {"loss": 1.0})
    assert store.step_window(run.id, "loss", 1, 1010.0, 1020.0) == (20, 40)
    late = 1000.0 + (CHUNK + 50) / 2
    assert store.step_window(run.id, "loss", 1, late, late) == (CHUNK + 50, CHUNK + 50)
    first, last = store.step_window(run.id, "loss", 1, 1e9, 2e9)
    assert store.series(run.id, "loss", windows={1: (first, last)}).points == []
    assert store.step_window(run.id, "none", 1, 0.0, 1.0) == (1, 0)


def test_the_bounds_of_attempts_are_over_all_metrics(store: Store, run: RunRow) -> None:
    store.append(run.id, 1, 5, 0.0, {"loss": 1.0})
    store.append(run.id, 1, 9, 0.0, {"eval_loss": 1.0})
    store.append(run.id, 2, 7, 0.0, {"loss": 1.0})
    assert store.bounds(run.id) == [(1, 5, 9), (2, 7, 7)]


def test_events_are_paged_backwards_by_their_time(store: Store, run: RunRow) -> None:
    ids = [store.add_event(at=at, kind="warning", message="") for at in (3.0, 1.0, 2.0)]
    assert [one.id for one in store.events(before_id=ids[0])] == [ids[1], ids[2]]
    assert [one.id for one in store.events(before_id=ids[0], limit=1)] == [ids[2]]
    assert store.events(before_id=10**9) == []
