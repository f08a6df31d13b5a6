"""`dead_expert`: experts that get no tokens, layers that one expert takes over."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged
from tests.judge.feed import row

KIND = "dead_expert"


def usage(step: int, layers: Mapping[int, list[float]], name: str = "expert_usage/layer_{}/expert_{}") -> Observation:
    """One row of shares; the loss comes in rows of its own."""
    values = {name.format(layer, i): share for layer, shares in layers.items() for i, share in enumerate(shares)}
    return row(step, source="expert_usage_log.jsonl", **values)


EVEN = [12.0, 13.0, 12.5, 12.5, 11.0, 14.0, 12.0, 13.0]
POOR = [16.0, 16.0, 16.0, 17.0, 17.0, 0.4, 17.0, 0.6]


def run(*rows: Mapping[int, list[float]]) -> list[Observation]:
    return [usage(100 * (i + 1), layers) for i, layers in enumerate(rows)]


def test_experts_without_tokens_are_named_after_three_rows() -> None:
    found = judged(run({0: EVEN, 3: EVEN}, *[{0: EVEN, 3: POOR}] * 6))
    assert incidents(found, KIND) == [(400, "opened", "warning")]
    (told,) = anomalies(found, KIND)
    assert "layer 3: experts 5, 7 get less than 10 % of their fair share" in told.message
    assert told.reason == "dead_expert_2"


def test_even_and_uneven_layers_are_quiet() -> None:
    uneven = [30.0, 25.0, 20.0, 10.0, 6.0, 4.0, 3.0, 2.0]
    assert anomalies(judged(run(*[{0: EVEN, 1: uneven}] * 20)), KIND) == []


def test_a_router_may_take_its_time_to_settle_and_one_row_is_none() -> None:
    early = [usage(10 * i, {0: POOR}) for i in range(1, 29)]
    assert anomalies(judged(early), KIND) == []
    assert anomalies(judged(run(*[{0: EVEN}, {0: POOR}] * 8)), KIND) == []


def test_another_expert_is_news_and_the_same_ones_are_not() -> None:
    more = [20.0, 20.0, 20.0, 0.1, 19.0, 0.4, 20.0, 0.5]
    found = judged(run(*[{0: POOR}] * 6, *[{0: more}] * 6))
    assert [a.step for a in anomalies(found, KIND)] == [300, 900]
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened"]


def test_it_is_over_when_all_are_back_with_room_to_spare() -> None:
    nearly = [16.0, 16.0, 16.0, 17.0, 17.0, 1.5, 15.0, 1.5]
    found = judged(run(*[{0: POOR}] * 4, *[{0: nearly}] * 4, {0: EVEN}))
    assert [(step, change) for step, change, _ in incidents(found, KIND)] == [(300, "opened"), (900, "resolved")]


def test_one_expert_that_takes_a_layer_over_is_critical() -> None:
    found = judged(run(*[{2: [97.0, 1.0, 1.0, 1.0]}] * 4))
    assert incidents(found, KIND) == [(300, "opened", "critical")]
    assert "one expert gets over 90 % of layer 2" in anomalies(found, KIND)[0].message


def test_two_experts_may_share_as_they_like() -> None:
    assert [a.severity.value for a in anomalies(judged(run(*[{0: [97.0, 3.0]}] * 6)), KIND)] == ["warning"]
    assert anomalies(judged(run(*[{0: [90.0, 10.0]}] * 6)), KIND) == []


@pytest.mark.parametrize("factor", [0.01, 1.0, 4096.0])
@pytest.mark.parametrize(
    "name", ["expert_usage/layer_{}/expert_{}", "train/TokensPercentage/layer{}/expert{}"]
)  # fmt: skip
def test_shares_counts_and_other_names_are_read_alike(name: str, factor: float) -> None:
    rows = [usage(100 * (i + 1), {1: [value * factor for value in POOR]}, name) for i in range(4)]
    assert incidents(judged(rows), KIND) == [(300, "opened", "warning")]


def test_an_expert_that_the_row_leaves_out_got_nothing() -> None:
    without = [{f"expert_usage/layer_0/expert_{i}": 100 / 7 for i in range(8) if i != 4}] * 4
    rows = [row(100 * (i + 1), **values) for i, values in enumerate([dict.fromkeys(without[0], 12.5), *without])]
    assert "layer 0: expert 4 get" in anomalies(judged(rows), KIND)[0].message


def test_a_log_that_tells_one_expert_at_a_time_says_no_shares() -> None:
    rows = [row(100 + 100 * i, **{f"expert_usage/layer_0/expert_{i % 8}": 12.5}) for i in range(40)]
    assert anomalies(judged(rows), KIND) == []


def test_many_layers_are_named_shortly() -> None:
    found = judged(run(*[dict.fromkeys(range(48), POOR)] * 4))
    message = anomalies(found, KIND)[0].message
    assert "layer 7: experts 5, 7; 40 more layers" in message
    assert len(message) < 400


def test_a_resume_counts_anew() -> None:
    again = [usage(400, {0: POOR}), usage(500, {0: POOR}), usage(600, {0: EVEN})]
    found = judged([*run(*[{0: POOR}] * 5), *again])
    assert [(step, change) for step, change, _ in incidents(found, KIND)] == [(300, "opened"), (400, "resolved")]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -5.0])
def test_odd_values_raise_nothing(odd: float) -> None:
    assert anomalies(judged(run(*[{0: [odd, *EVEN[1:]], 1: [0.0] * 8, 2: [odd]}] * 2)), KIND) == []


def test_a_state_stored_after_every_row_gives_the_same() -> None:
    rows = run(*[{0: POOR, 1: [97.0, 1.0, 1.0, 1.0]}] * 5, *[{0: EVEN, 1: EVEN[:4]}] * 3)
    assert judged(rows, every=1) == judged(rows)
