"""`throughput_drop`: a run that became slow is told in time; clocks, evaluations, pauses and longer data are not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest

from smartmon.detectors.pace import Blocks
from smartmon.detectors.throughput_drop import ThroughputDrop
from smartmon.records import Observation
from tests.detectors.streams import anomalies, incidents, judged
from tests.judge.feed import T0, feed, row

KIND = "throughput_drop"


def run(
    times: Sequence[float], *, sd: float = 0.1, every: int = 1, first: int = 1, clock: Callable[[float], float] = float,
    seed: int = 3, at: float = T0, **rates: Callable[[float], float],
) -> list[Observation]:  # fmt: skip
    """Rows that each took about so many seconds; `rates` say what the trainer logs of each, given its true seconds."""
    chance, found = random.Random(seed), []
    for i, seconds in enumerate(times):
        took = seconds * chance.lognormvariate(0, sd)
        at += took
        logged = {name: rate(took) for name, rate in rates.items()}
        found.append(row(first + i * every, at=clock(at), loss=2.0 + 0.01 * (i % 7), **logged))
    return found


def opened(rows: Sequence[Observation]) -> list[tuple[int, str]]:
    return [(step, severity) for step, change, severity in incidents(judged(rows), KIND) if change == "opened"]


USUAL = [1.0] * 200


@pytest.mark.parametrize("sd", [0.0, 0.1, 0.5])
def test_a_steady_run_is_silent(sd: float) -> None:
    assert anomalies(judged(run([1.0] * 2000, sd=sd)), KIND) == []


@pytest.mark.parametrize("factor", [1.5, 2.0, 2.5])
@pytest.mark.parametrize("seconds", [1.0, 10.0, 300.0])
def test_a_slow_run_is_told_within_sixty_points(seconds: float, factor: float) -> None:
    rows = run([seconds * t for t in [*USUAL, *[factor] * 100]], sd=0.2)
    ((step, severity),) = opened(rows)
    assert severity == "warning"
    assert 220 <= step <= 260
    (told, *_) = anomalies(judged(rows), KIND)
    assert told.onset_step is not None
    assert 185 <= told.onset_step <= 215
    assert told.expected == pytest.approx(1 / seconds, rel=0.15)


def test_four_times_slower_is_critical() -> None:
    found = judged(run([*USUAL, *[4.0] * 100]))
    assert incidents(found, KIND)[-1][2] == "critical"
    assert len(anomalies(found, KIND)) <= 2


def test_it_is_over_when_steps_are_as_quick_as_before() -> None:
    found = judged(run([*USUAL, *[2.0] * 100, *USUAL]))
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]
    assert 315 <= incidents(found, KIND)[-1][0] <= 345


def test_what_stays_slow_becomes_the_pace() -> None:
    found = judged(run([*USUAL, *[2.0] * 1000]))
    assert [change for _, change, _ in incidents(found, KIND)] == ["opened", "resolved"]


def test_a_slow_half_minute_is_not_worth_a_word() -> None:
    assert anomalies(judged(run([*USUAL, *[3.0] * 20, *USUAL])), KIND) == []
    assert anomalies(judged(run([0.1 * t for t in [*USUAL, *[3.0] * 100, *USUAL]])), KIND) == []


@pytest.mark.parametrize("every", [7, 25, 100])
def test_evaluations_checkpoints_and_a_night_of_sleep_are_no_slow_steps(every: int) -> None:
    times = [30.0 if i % every == every - 1 else 1.0 for i in range(1500)]
    times[700] = 30_000.0
    rows = [
        row(o.step, at=o.at, **o.values, **({"eval_loss": 2.0 - i / 9999} if times[i] > 1 and i > 750 else {}))
        for i, o in enumerate(run(times))
    ]
    assert anomalies(judged(rows), KIND) == []


def test_evaluations_that_begin_late_are_no_slow_steps() -> None:
    rows: list[Observation] = []
    for i, o in enumerate(run([1.0] * 600)):
        late = 20.0 * max(0, (i - 300) // 3)
        rows.append(row(o.step, at=o.at + late, **o.values))
        if i >= 302 and i % 3 == 2:
            rows.append(row(o.step, at=o.at + late + 19.0, eval_loss=2.0 - i / 9999))
    assert anomalies(judged(rows), KIND) == []


@pytest.mark.parametrize("tick", [1.0, 10.0])
def test_a_coarse_clock_neither_hides_nor_invents(tick: float) -> None:
    def clock(at: float) -> float:
        return math.floor(at / tick) * tick

    long = 1000 + 240 * int(tick)
    slow = [0.3 * t for t in [*[1.0] * long, *[2.0] * (long // 2)]]
    assert anomalies(judged(run(slow[:long], clock=clock)), KIND) == []
    assert [severity for _, severity in opened(run(slow, clock=clock))] == ["warning"]


def test_another_logging_interval_is_another_number_of_steps() -> None:
    quick = run([1.0] * 300)
    coarse = run([10.0] * 300, every=10, first=310, at=quick[-1].at)
    assert anomalies(judged([*quick, *coarse]), KIND) == []


def test_without_times_of_its_own_a_run_is_judged_by_the_rate_it_logs() -> None:
    rows = run([*USUAL, *[2.0] * 100], tokens_per_sec=lambda took: 4096 / took)
    untimed = [row(o.step, timed=False, **o.values) for o in rows]
    (told,) = anomalies(judged(untimed), KIND)
    assert (told.metric, told.severity.value) == ("tokens_per_sec", "warning")
    assert told.value == pytest.approx(2048, rel=0.1)
    assert "before 4" in told.message


def test_longer_sequences_take_longer_and_that_is_all() -> None:
    times = [*USUAL, *[2.0] * 200]
    (told,) = anomalies(judged(run(times, tokens_per_sec=lambda took: 4096.0)), KIND)
    assert told.severity.value == "info"
    assert "another sequence length" in told.message


def test_rate_and_clock_together_tell_once() -> None:
    found = judged(run([*USUAL, *[2.0] * 200], steps_per_sec=lambda took: 1 / took))
    assert [a.severity.value for a in anomalies(found, KIND)] == ["warning"]


def test_a_run_that_is_slow_time_and_again_is_told_of_twice() -> None:
    times = [2.0 if 200 < i % 400 < 280 else 1.0 for i in range(2500)]
    told = [a.severity.value for a in anomalies(judged(run(times)), KIND)]
    assert told.count("warning") <= 2


def test_after_a_resume_the_pace_is_learned_anew() -> None:
    before = run([1.0] * 300)
    after = run([*[20.0] * 5, *[2.0] * 200], first=250, at=before[-1].at + 500)
    found = judged([*before, *after])
    assert anomalies(found, KIND) == []


@pytest.mark.parametrize("rate", [math.nan, math.inf, -5.0, 0.0, 1e-300, 1e300])
def test_rates_that_are_none_change_nothing(rate: float) -> None:
    rows = run([*USUAL, *[2.0] * 100], tokens_per_sec=lambda took: rate)
    assert [severity for _, severity in opened(rows)] == ["warning"]


def test_clocks_that_go_back_and_rows_without_a_rate_change_nothing() -> None:
    rows = run([*USUAL, *[2.0] * 100])
    rows = [row(o.step, at=o.at - (7200 if o.step > 90 else 0), **o.values) for o in rows]
    assert [severity for _, severity in opened(rows)] == ["warning"]


def test_a_stored_state_continues_exactly() -> None:
    rows = run([*USUAL, *[2.0] * 100, *USUAL], sd=0.2, tokens_per_sec=lambda took: 4096 / took)
    assert repr(judged(rows, every=7)) == repr(judged(rows))


def test_what_is_remembered_stays_small() -> None:
    blocks = Blocks()
    for step in range(5000):
        blocks.gap(step, 1.0, 1, 10, 15.0)
        blocks.value(step, 1.0, float(step), 10, 15.0)
    assert sum(len(part) for part in blocks.state().values() if isinstance(part, list)) < 100


def test_the_message_says_since_when_and_how_long_it_was() -> None:
    (told, *_) = anomalies(judged(run([*USUAL, *[2.0] * 100], sd=0.0)), KIND)
    assert told.message.startswith("each step takes 2 times as long since about step 20")
    assert told.message.endswith("2 s a step, before 1 s a step.")


def test_settings_decide_how_slow_is_slow() -> None:
    lenient = {KIND: ThroughputDrop(slower=3.0).model_dump()}
    assert anomalies(feed(run([*USUAL, *[2.0] * 100]), detectors=lenient), KIND) == []
