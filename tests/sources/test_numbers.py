from __future__ import annotations

import math
from datetime import datetime

import pytest

from smartmon.sources.numbers import duration, megabytes, moment, number, progress, whole


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 0.5), (3, 3.0), ("0.5", 0.5), (" 2e-05 ", 2e-5), (2**63, float(2**63)), (10**400, math.inf)],
)
def test_numbers_are_read_however_they_are_written(value: object, expected: float):
    assert number(value) == expected


def test_a_negative_giant_is_minus_infinity():
    assert number(-(10**400)) == -math.inf


@pytest.mark.parametrize("value", ["nan", "NaN", "-nan", float("nan")])
def test_nan_is_a_value(value: object):
    found = number(value)
    assert found is not None
    assert math.isnan(found)


@pytest.mark.parametrize("value", [True, False, None, [0.5], {}, "", "abc", "1_000", "0.5" * 100, b"1"])
def test_what_is_no_number_is_none(value: object):
    assert number(value) is None


def test_a_label_of_digits_is_no_number_where_quotes_do_not_count():
    assert number("20251112", quoted=False) is None
    assert number("inf", quoted=False) == math.inf


@pytest.mark.parametrize(("value", "expected"), [(12, 12), (12.0, 12), ("12", 12), (0, 0)])
def test_steps_are_whole(value: object, expected: int):
    assert whole(value) == expected


@pytest.mark.parametrize("value", [-1, 1.5, math.nan, math.inf, True, 2**63, 10**400, "x", None, [1]])
def test_what_counts_nothing_is_no_step(value: object):
    assert whole(value) is None


def test_progress_gives_step_and_total():
    assert progress("37/1000") == (37, 1000)
    assert progress(37) == (37, None)
    assert progress("1/2/3") == (None, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("19.43GB", 19.43 * 1024), ("512 MiB", 512.0), ("2048kb", 2.0), (300, 300.0), ("12", 12.0)],
)
def test_gpu_memory_is_megabytes(value: object, expected: float):
    assert megabytes(value) == pytest.approx(expected)


@pytest.mark.parametrize("value", ["", "GB", "..GB", "19.43 apples", [1], True])
def test_what_is_no_memory_is_none(value: object):
    assert megabytes(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0:32:48", 1968.0),
        ("9 days, 21:39:23", 855563.0),
        ("1 day, 0:00:01", 86401.0),
        ("05:10", 310.0),
        (12, 12.0),
        ("29m 5s", 1745.0),
        ("1d 2h 3m 4s", 93784.0),
        ("2h", 7200.0),
        ("0.5s", 0.5),
    ],
)
def test_durations_are_seconds(value: object, expected: float):
    assert duration(value) == expected


def test_a_moment_without_zone_is_local_time():
    local = datetime(2025, 11, 12, 14, 30, 22).astimezone()
    assert moment("2025-11-12T14:30:22") == local.timestamp()


@pytest.mark.parametrize(
    "value", [1762957822.5, 1762957822500, "1762957822.5", "2025-11-12T14:30:22.5Z", "2025-11-12T16:30:22.5+02:00"]
)
def test_moments_are_seconds_since_the_epoch(value: object):
    assert moment(value) == 1762957822.5


@pytest.mark.parametrize("value", ["yesterday", "", 12.5, -1, math.nan, math.inf, 10**30, None, True, [], "9999-99-99"])
def test_nonsense_is_no_moment(value: object):
    assert moment(value) is None
