"""Observations: what is appended is read back, whether it lies in the tail, in a chunk, or came late."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartmon.store import RunRow, Store
from smartmon.store.chunks import CHUNK


def fill(store: Store, run: RunRow, count: int, *, start: int = 0, attempt: int = 1, metric: str = "loss") -> None:
    with store.transaction():
        for step in range(start, start + count):
            store.append(run.id, attempt, step, 1000.0 + step, {metric: float(step)})


def stored(store: Store, run: RunRow) -> dict[tuple[int, int], float]:
    return {(row.attempt, row.step): row.values["loss"] for row in store.rows(run.id) if "loss" in row.values}


def sealed(store: Store) -> list[int]:
    return [row[0] for row in store._all("SELECT count FROM chunks ORDER BY series_id, first_step")]


def test_full_tails_are_sealed_into_chunks(store: Store, run: RunRow):
    fill(store, run, 2 * CHUNK + 5)
    assert sealed(store) == [CHUNK, CHUNK]
    assert store._one("SELECT count(*) FROM tail") == (5,)
    assert stored(store, run) == {(1, step): float(step) for step in range(2 * CHUNK + 5)}


def test_nan_and_infinity_come_back_as_they_were(store: Store, run: RunRow):
    store.append(run.id, 1, 1, 1.0, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 10**400})
    (row,) = store.rows(run.id)
    assert math.isnan(row.values["a"])
    assert (row.values["b"], row.values["c"], row.values["d"]) == (math.inf, -math.inf, math.inf)


def test_numbers_too_large_for_the_database_are_held_at_its_edge(store: Store, run: RunRow):
    store.append(run.id, 1, 2**70, 1e300, {"loss": 1.0})
    assert [row.step for row in store.rows(run.id)] == [2**63 - 1]


def test_a_step_in_a_sealed_chunk_can_be_replaced(store: Store, run: RunRow):
    fill(store, run, CHUNK + 1)
    store.append(run.id, 1, 100, 5.0, {"loss": -1.0})
    assert stored(store, run)[1, 100] == -1.0
    assert store.series(run.id, "loss", start=100, end=100).points[0].last == -1.0
    assert store.series(run.id, "loss").count == CHUNK + 1
    assert min(point.min for point in store.series(run.id, "loss", max_points=3).points) == -1.0


def test_late_rows_are_worked_into_their_chunks_when_the_tail_is_full(store: Store, run: RunRow):
    fill(store, run, CHUNK, start=CHUNK)
    fill(store, run, CHUNK)
    assert store._one("SELECT count(*) FROM tail") == (0,)
    assert stored(store, run) == {(1, step): float(step) for step in range(2 * CHUNK)}


def test_a_backfill_before_many_chunks_keeps_chunks_of_a_sound_size(store: Store, run: RunRow):
    fill(store, run, 2 * CHUNK, start=10 * CHUNK)
    fill(store, run, 3 * CHUNK)
    assert all(1 <= size <= 2 * CHUNK for size in sealed(store))
    assert len(stored(store, run)) == 5 * CHUNK


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(1, 60), st.booleans()),
        min_size=1,
        max_size=12,
        unique_by=lambda x: x,
    )
)
def test_any_order_of_appends_reads_like_a_dict(tmp_path_factory, monkeypatch, stretches: list[tuple[int, int, bool]]):
    """With chunks of 16 points: stretches of steps in any order, overlapping, forwards or backwards."""
    monkeypatch.setattr("smartmon.store.observations.CHUNK", 16)
    path: Path = tmp_path_factory.mktemp("db") / "smartmon.db"
    expected: dict[tuple[int, int], float] = {}
    with Store.open(path) as store:
        store._execute("PRAGMA synchronous = OFF")
        run = store.ensure_run("r", path, path, 1.0)
        with store.transaction():
            for number, (start, length, backwards) in enumerate(stretches):
                for step in range(start, start + length)[:: -1 if backwards else 1]:
                    value = number * 1000.0 + step
                    store.append(run.id, 1, step, value, {"loss": value})
                    expected[1, step] = value
        assert stored(store, run) == dict(sorted(expected.items()))
        assert store.last_values(run.id, "loss", 50) == [expected[key] for key in sorted(expected)][-50:]
        series = store.series(run.id, "loss", max_points=7)
        assert series.count == len(expected)
        assert max(point.max for point in series.points) == max(expected.values())
        assert store._one("SELECT count(*) FROM tail")[0] < 16


def test_a_spike_of_one_step_is_never_lost(store: Store, run: RunRow):
    fill(store, run, 3 * CHUNK)
    for step in (5, CHUNK + 77, 3 * CHUNK - 1):
        store.append(run.id, 1, step, 1.0, {"loss": 1e9 + step})
    for most in (2, 10, 100, 4000):
        points = store.series(run.id, "loss", max_points=most).points
        assert len(points) <= most
        assert max(point.max for point in points) == 1e9 + 3 * CHUNK - 1
        assert any(point.max >= 1e9 + 5 for point in points if point.step < 3 * CHUNK // 2)


@pytest.mark.parametrize("most", [1, 2, 3, 63, 64, 65, 1000, 4000, 100_000])
def test_never_more_points_than_asked_for(store: Store, run: RunRow, most: int):
    for attempt in (1, 2, 3):
        fill(store, run, CHUNK + 100, attempt=attempt)
    series = store.series(run.id, "loss", max_points=most)
    assert len(series.points) <= most
    assert series.points[-1].step == CHUNK + 99
    assert series.points[-1].last == CHUNK + 99


def test_a_range_holds_exactly_its_steps(store: Store, run: RunRow):
    fill(store, run, 2 * CHUNK + 10)
    series = store.series(run.id, "loss", start=CHUNK - 3, end=CHUNK + 3)
    assert [point.step for point in series.points] == list(range(CHUNK - 3, CHUNK + 4))
    assert store.series(run.id, "loss", start=10**9).points == []


def test_where_values_are_not_finite_is_listed_and_the_line_goes_on(store: Store, run: RunRow):
    fill(store, run, CHUNK)
    for step in (10, 11, CHUNK + 1):
        store.append(run.id, 1, step, 1.0, {"loss": math.nan})
    series = store.series(run.id, "loss", max_points=5)
    assert [bad.step for bad in series.nonfinite] == [10, 11, CHUNK + 1]
    assert series.nonfinite_count == 3
    assert all(math.isfinite(point.last) for point in series.points)


def test_the_list_of_nonfinite_steps_is_bounded(store: Store, run: RunRow):
    with store.transaction():
        for step in range(3000):
            store.append(run.id, 1, step, 1.0, {"loss": math.nan})
    series = store.series(run.id, "loss")
    assert (len(series.nonfinite), series.nonfinite_count) == (1000, 3000)


def test_rescaling_reaches_tail_and_chunks(store: Store, run: RunRow):
    fill(store, run, CHUNK + 10, metric="accuracy")
    store.rescale(run.id, 1, "accuracy", 100.0)
    assert [row.values["accuracy"] for row in store.rows(run.id)] == [step * 100.0 for step in range(CHUNK + 10)]
    assert store.series(run.id, "accuracy", max_points=2).points[-1].max == (CHUNK + 9) * 100.0


def test_rows_join_the_metrics_of_a_step_and_stop_where_asked(store: Store, run: RunRow):
    store.append(run.id, 1, 5, 1.0, {"loss": 1.0})
    store.append(run.id, 1, 5, 1.0, {"accuracy": 50.0})
    store.append(run.id, 1, 6, 2.0, {"loss": 2.0})
    store.append(run.id, 2, 3, 3.0, {"loss": 3.0})
    rows = list(store.rows(run.id, upto=(1, 5)))
    assert rows == [(1, 5, 1.0, {"loss": 1.0, "accuracy": 50.0})]
    assert [(row.attempt, row.step) for row in store.rows(run.id)] == [(1, 5), (1, 6), (2, 3)]


def test_rows_may_be_written_while_they_are_read(store: Store, run: RunRow):
    fill(store, run, CHUNK - 1)
    seen = []
    for row in store.rows(run.id):
        seen.append(row.step)
        if row.step == 10:
            fill(store, run, 50, start=CHUNK - 1)
    assert seen[: CHUNK - 1] == list(range(CHUNK - 1))


def test_last_values_span_attempts_and_chunks(store: Store, run: RunRow):
    fill(store, run, CHUNK + 3)
    fill(store, run, 2, attempt=2)
    assert store.last_values(run.id, "loss", 4) == [CHUNK + 1.0, CHUNK + 2.0, 0.0, 1.0]
    assert len(store.last_values(run.id, "loss", 10**6)) == CHUNK + 5
    assert store.last_values(run.id, "unknown", 5) == []


def test_a_rollback_forgets_new_series_too(store: Store, run: RunRow):
    def fail() -> None:
        with store.transaction():
            store.append(run.id, 1, 1, 1.0, {"loss": 1.0})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    store.append(run.id, 1, 2, 1.0, {"loss": 2.0})
    assert stored(store, run) == {(1, 2): 2.0}


def test_metric_names_of_any_kind_survive(store: Store, run: RunRow):
    names = ["loss", "Größe", "nul\0in", "lone\udcff", "x'); DROP TABLE tail; --"]
    store.append(run.id, 1, 1, 1.0, dict.fromkeys(names, 1.0))
    assert store.metrics(run.id) == sorted(names)
    assert all(store.last_values(run.id, name, 1) == [1.0] for name in names)
