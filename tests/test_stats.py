"""Robust statistics against their definitions."""

from __future__ import annotations

import json
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmon import stats

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(VALUES)
def test_the_median_is_the_median(values: list[float]) -> None:
    assert stats.median(values) == statistics.median(values)


@given(VALUES)
def test_the_deviation_is_the_median_of_the_distances(values: list[float]) -> None:
    center = stats.median(values)
    expected = statistics.median(abs(v - center) for v in values)
    assert math.isclose(stats.deviation(sorted(values), center), expected, rel_tol=1e-9, abs_tol=1e-9)


@given(VALUES, st.data())
def test_an_ordered_multiset_stays_ordered(values: list[float], data: st.DataObject) -> None:
    ordered = stats.Ordered()
    for value in values:
        ordered.add(value)
    gone = data.draw(st.sampled_from(values))
    ordered.remove(gone)
    values.remove(gone)
    assert ordered.values == sorted(values)


def test_a_sample_of_a_long_series_stays_small_and_even() -> None:
    sample = stats.Sample(size=64)
    for i in range(10_000):
        sample.add(float(i))
    assert 32 <= len(sample.values) <= 64
    assert len({b - a for a, b in zip(sample.values, sample.values[1:])}) == 1
    assert abs(sample.quartile_range() - 5000) < 400


@given(st.recursive(st.floats() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_any_number_survives_strict_json(value: object) -> None:
    back = stats.decode(json.loads(json.dumps(stats.encode(value), allow_nan=False)))
    assert repr(back) == repr(value)


def test_the_spread_of_huge_values_overflows_to_no_error() -> None:
    assert stats.spread([1e308, -1e308]) == math.inf
    assert stats.spread([1.0]) == 0


def test_a_sample_shows_every_face_of_a_series_with_a_period() -> None:
    sample = stats.Sample(size=64)
    for i in range(10_000):
        sample.add(float(i % 2))
    assert sum(sample.values) == pytest.approx(len(sample.values) / 2, abs=1)
    assert len(sample.values) <= 64
