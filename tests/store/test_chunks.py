"""Sealed chunks: whatever goes in comes out, bit for bit."""

from __future__ import annotations

import math
import random
import struct

from hypothesis import example, given
from hypothesis import strategies as st

from smartmon.store.chunks import BLOCK, CHUNK, Points, cells_of, decode, encode, merge, read_summary, summarise

ANY = st.floats(width=64)
PRINTED = st.integers(-(10**7), 10**7).map(lambda number: number / 10**4)
NARROW = st.floats(width=32)
steps = st.integers(-(2**63) + 1, 2**63 - 1)
moments = st.integers(-(10**15), 10**15).map(lambda number: number / 1000)


def points(values: list[float]) -> Points:
    return Points.of((step, step * 1.5, value) for step, value in enumerate(values))


def bits(values: Points) -> tuple[bytes, bytes, bytes]:
    return values.steps.tobytes(), values.ats.tobytes(), values.values.tobytes()


@given(st.one_of(st.lists(ANY), st.lists(PRINTED), st.lists(NARROW)))
@example([-0.0, 0.0])
@example([math.inf, -math.inf, 1e300])
def test_every_value_comes_back_bit_for_bit(values: list[float]):
    packed = points(values)
    assert bits(decode(encode(packed))) == bits(packed)


@given(st.dictionaries(steps, moments, min_size=1))
def test_every_step_and_moment_comes_back(rows: dict[int, float]):
    packed = Points.of((step, rows[step], 1.0) for step in sorted(rows))
    assert bits(decode(encode(packed))) == bits(packed)


@given(st.lists(st.one_of(NARROW, st.sampled_from([math.nan, math.inf])), min_size=1, max_size=300))
def test_a_summary_keeps_every_extreme(values: list[float]):
    cells = read_summary(summarise(points(values)))
    assert len(cells) == -(-len(values) // BLOCK)
    for index, (least, most) in enumerate(zip(cells.mins, cells.maxs)):
        finite = [value for value in values[index * BLOCK : (index + 1) * BLOCK] if math.isfinite(value)]
        assert (least, most) == (min(finite), max(finite)) if finite else math.isnan(least) and math.isnan(most)


@given(st.lists(NARROW, max_size=100), st.integers(1, 50))
def test_grouping_loses_no_extreme(values: list[float], size: int):
    finite = [value for value in values if math.isfinite(value)]
    grouped = cells_of(points(values)).grouped(size)
    kept = [value for value in grouped.maxs if not math.isnan(value)]
    assert max(kept, default=None) == max(finite, default=None)


@given(st.dictionaries(st.integers(0, 40), PRINTED), st.dictionaries(st.integers(0, 40), PRINTED))
def test_merging_is_like_a_dict_update(older: dict[int, float], newer: dict[int, float]):
    merged = merge(*(Points.of((step, 0.0, rows[step]) for step in sorted(rows)) for rows in (older, newer)))
    assert list(zip(merged.steps, merged.values)) == sorted({**older, **newer}.items())


def test_the_same_points_give_the_same_bytes_on_every_machine():
    body = encode(points([0.5, 0.25, math.nan]))
    assert body[:8] == struct.pack("<BBBxI", 1, 1, 0, 3)
    assert body == encode(points([0.5, 0.25, math.nan]))


def test_a_point_takes_the_bytes_that_were_promised():
    """Losses of full precision, logged at uneven times, take 8 bytes; those printed with 4 decimals far fewer."""
    noise = random.Random(7)
    uneven = [(step, round(1.7e9 + step * 0.731 + noise.random() / 50, 3)) for step in range(CHUNK)]
    full = Points.of((step, at, 2.0 + noise.gauss(0, 0.1)) for step, at in uneven)
    printed = Points.of((step, at, round(2.0 + noise.gauss(0, 0.1), 4)) for step, at in uneven)
    sizes = [(len(encode(kind)) + len(summarise(kind))) / CHUNK for kind in (full, printed)]
    assert sizes[0] < 8.5
    assert sizes[1] < 3.5
