"""Text for people: one spelling of each thing, everywhere."""

from __future__ import annotations

import math

import pytest

from smartmon import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (0.63214, "0.6321"),
        (17500.0, "17,500"),
        (-12006.0, "-12,010"),
        (2.5e12, "2.5e+12"),
    ],
)
def test_a_number_has_four_digits_and_nan_one_spelling(value: float | None, shown: str) -> None:
    assert text.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0 B"), (999, "999 B"), (4_100_000_000, "4.1 GB"), (2e15, "2000.0 TB")]
)
def test_a_size_is_in_powers_of_ten(value: float, shown: str) -> None:
    assert text.size(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (42, "42s"), (425, "7m 05s"), (12_000, "3h 20m"), (187_200, "2d 4h"), (-5, "0s")],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_a_count_has_separators() -> None:
    assert (text.count(17500), text.count(None)) == ("17,500", "-")


def test_what_a_terminal_would_obey_is_spelled_out() -> None:
    assert text.clean("a\x1b[2J\u202eb\n") == r"a\x1b[2J\u202eb\x0a"
