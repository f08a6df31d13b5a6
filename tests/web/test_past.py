"""What a dashboard remembers of the machine: long enough to tell when a disk is full, in few points."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from smartmon.host import Host
from smartmon.web.past import MOST, Past, Series


def test_days_of_looks_stay_few_points_evenly_apart() -> None:
    series = Series()
    for look in range(10_000):
        series.add(30.0 * look, float(look))
    assert len(series.points) <= MOST
    assert series.points[0][0] < 3000
    assert series.points[-1][0] > 290_000
    apart = [later[0] - earlier[0] for earlier, later in pairwise(series.points)]
    assert max(apart) <= 2.1 * min(apart)


def test_a_disk_is_full_when_its_lowest_points_say_so_whatever_checkpoints_come_and_go() -> None:
    filling, level = Series(), Series()
    for look in range(120):
        checkpoint = 30.0 * (look % 7)
        filling.add(30.0 * look, 1000.0 - look - checkpoint)
        level.add(30.0 * look, 1000.0 - checkpoint)
    left = filling.empty_in(3600.0)
    assert left is not None
    assert 0.7 * 24_000 < left < 1.3 * 30_000
    assert level.empty_in(3600.0) is None


def test_two_looks_in_a_row_tell_no_trend() -> None:
    series = Series([(0.0, 100.0), (30.0, 90.0), (60.0, 80.0)])
    assert series.empty_in(60.0) is None


def test_what_the_daemon_saw_before_is_where_a_disk_begins(tmp_path: Path) -> None:
    clock = iter(range(1000, 2000))
    past = Past(Host(3600.0), lambda: float(next(clock)))
    try:
        past.look(tmp_path, lambda: [(400.0, 7.0)])
        past.look(tmp_path, lambda: [(500.0, 8.0)])
        series = past.series(tmp_path)
    finally:
        past.stop()
    assert series["disk_free"][0] == (400.0, 7.0)
    assert len(series["disk_free"]) == 2
    assert len(series["memory_available"]) == 1
