"""`disk_full_soon`, `memory_low` and `gpu_hot`: quiet on a healthy machine, heard in time, over when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Change, Gpu, HostSample, IncidentChange, RunState, StatusReport
from tests.judge.feed import T0, anomalies, changes, feed, row

GB = 10**9
TOTAL = 1000 * GB


def judge(**settings: Any) -> Judge:
    """A judge of a run that moves."""
    made = Judge(JudgeSettings(**settings))
    feed([row(step, loss=2.0) for step in range(5)], made)
    return made


def disk(at: float, free: float, **more: Any) -> HostSample:
    return HostSample(T0 + at, "/data", int(free), TOTAL, **more)


def heard(watching: Judge, samples: Iterable[HostSample]) -> list[tuple[float, str, str]]:
    """When which change of an incident was told, and how grave it was."""
    found = [(s.at - T0, c) for s in samples for c in watching.host(s) if isinstance(c, IncidentChange)]
    return [(at, c.change.value, c.severity.value) for at, c in found if c.notify]


def test_a_disk_that_fills_steadily_is_told_before_it_is_full() -> None:
    # 100 GB an hour: 300 GB last three hours, and two hours before the end somebody is told.
    samples = [disk(at, 300 * GB - at * 100 * GB / 3600) for at in range(0, 7200, 30)]
    told = heard(judge(), samples)
    assert [(change, severity) for _, change, severity in told] == [("opened", "warning")]
    assert 3000 < told[0][0] < 4000


def test_checkpoints_that_come_and_go_fill_nothing() -> None:
    samples = [disk(at, (300 - 40 * (at // 600 % 2)) * GB) for at in range(0, 20_000, 30)]
    assert heard(judge(), samples) == []


def test_a_full_disk_is_critical_at_once_and_over_when_there_is_room() -> None:
    watching = judge()
    assert heard(watching, [disk(0, 5 * GB)]) == [(0, "opened", "critical")]
    assert heard(watching, [disk(30, 4 * GB), disk(60, 11 * GB)]) == []
    assert heard(watching, [disk(90, 400 * GB)]) == [(90, "resolved", "critical")]


def test_a_small_disk_is_not_full_for_being_small() -> None:
    samples = [HostSample(T0 + at, "/data", 2 * 10**8, 10**9) for at in range(0, 3000, 30)]
    assert heard(judge(), samples) == []


def test_a_clock_set_back_fills_no_disk() -> None:
    samples = [
        disk(at, 300 * GB - i * GB / 5) for i, at in enumerate([*range(0, 900, 30), *range(-90_000, -89_100, 30)])
    ]
    assert heard(judge(), samples) == []


def memory(at: float, percent: float, **more: Any) -> HostSample:
    return HostSample(T0 + at, memory_available=int(percent * GB), memory_total=100 * GB, **more)


def test_memory_must_be_low_three_times_in_a_row() -> None:
    assert heard(judge(), [memory(i, p) for i, p in enumerate([2, 2, 50, 2, 2, 40])]) == []
    told = heard(judge(), [memory(i, p) for i, p in enumerate([2, 2, 2, 2, 0.5, 0.5, 0.5, 4, 40])])
    assert told == [(2, "opened", "warning"), (6, "escalated", "critical"), (8, "resolved", "critical")]


def gpu(at: float, celsius: float | None, throttled: str = "", **more: Any) -> HostSample:
    card = Gpu(0, "H200", temperature=celsius, temperature_limit=87.0, throttled=throttled)
    return HostSample(T0 + at, gpus=(card,), **more)


def test_heat_is_told_when_it_lasts_and_over_three_degrees_below() -> None:
    watching = judge()
    told = heard(watching, [gpu(i, c) for i, c in enumerate([86, 88, 88, 86, 85, 83, 88, 88, 88, 90, 86, 85, 84])])
    assert told == [(8, "opened", "warning"), (12, "resolved", "warning")]


def test_slowed_by_heat_counts_whatever_the_degrees_and_by_power_never() -> None:
    assert heard(judge(), [gpu(i, 70, "heat") for i in range(3)]) == [(2, "opened", "warning")]
    assert heard(judge(), [gpu(i, None, "a hardware limit") for i in range(9)]) == []


def test_of_all_runs_only_one_tells_of_what_they_share() -> None:
    watching = judge()
    assert heard(watching, [memory(i, 1.5, answers=False) for i in range(9)]) == []
    assert heard(watching, [disk(20, 5 * GB, answers=False)]) == [(20, "opened", "critical")]


def test_a_run_that_rests_is_not_told_of_its_machine() -> None:
    watching = judge()
    watching.report(StatusReport(T0 + 5, RunState.PAUSED, "paused", 5))
    assert heard(watching, [disk(9, 5 * GB)]) == []


def test_what_still_holds_is_told_again_to_the_next_attempt() -> None:
    watching = judge()
    assert heard(watching, [disk(0, 5 * GB)])
    watching.report(StatusReport(T0 + 10, RunState.STOPPED, "stopped", 5))
    assert watching.open_incidents == []
    watching.report(StatusReport(T0 + 1000, RunState.RUNNING, "training", 3))
    feed([row(step, loss=2.0, at=T0 + 1000 + step) for step in range(3, 6)], watching)
    assert heard(watching, [disk(1010, 5 * GB)]) == [(1010, "opened", "critical")]


@pytest.mark.parametrize(
    "samples", [[disk(0, 5 * GB)], [memory(i, 2) for i in range(2)], [gpu(i, 99) for i in range(2)]]
)
def test_a_restart_in_the_middle_changes_nothing(samples: list[HostSample]) -> None:
    first, rest = judge(), [memory(9, 2), gpu(10, 99), gpu(11, 99), disk(40, 400 * GB)]
    for sample in samples:
        first.host(sample)
    second = Judge(JudgeSettings(), json.loads(json.dumps(first.state())))
    assert [second.host(s) for s in rest] == [first.host(s) for s in rest]


def test_nothing_known_is_nothing_told() -> None:
    watching = judge()
    assert watching.host(HostSample(T0)) == ()
    assert not anomalies(watching.host(HostSample(T0, gpus=(Gpu(0, "x"),))))
    assert not changes(watching.host(HostSample(T0, "/data", 0, 0)), Change.OPENED)
