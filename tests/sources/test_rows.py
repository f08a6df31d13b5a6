from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartmon.records import SourceRank
from smartmon.sources import SourceSpec
from smartmon.sources.aliases import CANONICAL, run_state
from smartmon.sources.rows import MAX_METRICS, MAX_NAMES, RowReader, bounded, is_point, is_summary, storable


def values(**record: object) -> dict[str, float]:
    return RowReader().read(record).values


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("train_loss", "loss"),
        ("validation_loss", "eval_loss"),
        ("val_loss", "eval_loss"),
        ("lr", "learning_rate"),
        ("Learning_Rate", "learning_rate"),
        ("mean_token_accuracy", "accuracy"),
        ("token_accuracy", "accuracy"),
        ("max_steps", "total_steps"),
        ("ppl", "perplexity"),
        ("throughput", "tokens_per_sec"),
        ("remaining_time", "eta_seconds"),
        ("train/loss", "loss"),
    ],
)
def test_aliases_become_canonical(key: str, name: str):
    assert values(**{key: 2.5}) == {name: 2.5}


@pytest.mark.parametrize("key", ["step", "current_step", "current_steps", "global_step", "iteration"])
def test_every_name_of_the_step_is_known(key: str):
    assert RowReader().read({key: 12}).step == 12


def test_no_name_stands_for_two_things():
    names = [name for line in CANONICAL.values() for name in line.split(" | ")]
    assert len(names) == len(set(names))


def test_other_numbers_keep_their_names():
    assert values(rewards_margin=0.4, count=3) == {"rewards_margin": 0.4, "count": 3.0}


@pytest.mark.parametrize("order", [1, -1])
def test_the_better_name_wins_and_the_other_keeps_its_own(order: int):
    record = dict([("loss", 1.0), ("train_loss", 2.0), ("lm_loss", 3.0)][::order])
    assert values(**record) == {"loss": 1.0, "train_loss": 2.0, "lm_loss": 3.0}


@pytest.mark.parametrize("order", [1, -1])
def test_an_accuracy_in_percent_wins_over_one_of_unknown_unit(order: int):
    row = RowReader().read(dict([("accuracy", 0.85), ("accuracy_percent", 85.0)][::order]))
    assert row.values == {"accuracy": 85.0}
    assert row.percent == {"accuracy"}


def test_percent_and_unknown_unit_in_one_row_are_told_apart():
    row = RowReader().read({"step": 3, "accuracy_percent": 0.8, "eval_accuracy": 0.5, "loss": 1.0})
    found = list(row.observations(SourceSpec("s", "status", Path("s"), SourceRank.STATUS), 1.0, True))
    assert [(o.percent, dict(o.values)) for o in found] == [
        (True, {"accuracy": 0.8}),
        (False, {"eval_accuracy": 0.5, "loss": 1.0}),
    ]


@pytest.mark.parametrize("value", [True, [0.5], {}, "high", {"a": 1}])
def test_what_is_no_number_is_no_metric(value: object):
    assert values(loss=value, other=value) == {}


def test_quoted_numbers_count_where_the_key_is_known():
    assert values(loss="0.5", run_id="20251112") == {"loss": 0.5}
    assert math.isnan(values(reward="NaN")["reward"])


def test_nulls_are_recorded():
    row = RowReader().read({"step": 1, "validation_loss": None, "kl": None, "loss": 1.0, "train_loss": None})
    assert row.nulls == ["eval_loss", "kl"]


def test_ten_thousand_keys_are_bounded_and_the_loss_is_not_lost():
    reader = RowReader()
    row = reader.read({f"key_{n}": 1.0 for n in range(10_000)} | {"loss": 2.0})
    assert len(row.values) == MAX_METRICS + 1
    assert row.values["loss"] == 2.0


def test_new_names_at_every_step_are_bounded_too():
    reader = RowReader()
    names = {name for step in range(2 * MAX_NAMES) for name in reader.read({f"step_{step}": 1.0}).values}
    assert len(names) == MAX_NAMES
    assert reader.full


def test_a_key_of_a_megabyte_is_left_out():
    assert values(**{"k" * 1_000_000: 1.0, "": 1.0}) == {}


def test_odd_names_can_be_stored():
    (name,) = values(**{"a\ud800\x00\nb": 1.0})
    assert name.isprintable()
    assert name.encode()


def test_memory_and_times_are_converted():
    found = values(gpu_memory="19.43GB", remaining_time="0:01:40", elapsed_time="0:00:10")
    assert found == {"gpu_memory_mb": pytest.approx(19896.32), "eta_seconds": 100.0, "elapsed_time": 10.0}


def test_a_stopwatch_is_a_metric_and_a_clock_is_not():
    assert values(time=0.7) == {"time": 0.7}
    row = RowReader().read({"time": 1762957822.5, "timestamp": 1762957823.5})
    assert (row.values, row.at) == ({}, 1762957823.5)


def test_progress_text_gives_step_and_total():
    row = RowReader().read({"global_step/max_steps": "37/1000", "loss": 1.0, "memory(GiB)": 2.0})
    assert (row.step, row.values["total_steps"], row.values["gpu_memory_mb"]) == (37, 1000.0, 2048.0)


def test_a_file_of_evaluations_means_evaluations():
    found = RowReader(evaluations=True).read({"loss": 2.0, "perplexity": 7.0, "eval_loss": 1.0}).values
    assert found["eval_loss"] == 1.0
    assert found["eval_perplexity"] == 7.0


def test_summaries_and_bare_progress_are_no_points():
    assert is_summary({"train_runtime": 10.0, "train_loss": 1.0, "step": 5})
    assert not is_summary({"train_runtime": 10.0, "loss": 1.0, "step": 5})
    final = {"current_steps": 10, "total_steps": 10, "epoch": 1.0, "percentage": 100.0, "throughput": 5.0}
    assert not is_point(final, RowReader().read(final))
    assert not is_point({}, RowReader().read({"step": 1, "epoch": 0.5}))


@pytest.mark.parametrize(
    ("word", "state"),
    [("training", "running"), ("Idle", "pending"), ("crashed", "failed"), ("error", "failed"), ("paused", "paused")],
)
def test_state_words_are_understood(word: str, state: str):
    assert run_state(word) == state


@pytest.mark.parametrize("word", ["", "meditating", None, 3, True, ["training"]])
def test_unknown_words_are_no_state(word: object):
    assert run_state(word) is None


def test_bounded_values_are_small_and_plain_json():
    value = {"a": [math.nan, 10**400, "x" * 9000, "\ud800\0"] + [1] * 999, "deep": [[[[[[["no"]]]]]]], "k" * 999: 1}
    found = bounded(value)
    assert found["a"][:2] == [None, None]
    assert len(found["a"]) == 64
    assert len(found["a"][2]) == 4000
    assert found["a"][3] == "\\ud800\\x00"
    assert all(len(key) <= 200 for key in found)


def test_storable_text_is_cut():
    assert storable("abcdef", 4) == "abc…"


KEYS = [
    "step",
    "iteration",
    "loss",
    "train_loss",
    "lr",
    "accuracy_percent",
    "accuracy",
    "timestamp",
    "time",
    "gpu_memory",
]
VALUES = st.floats() | st.integers(-9, 10**12) | st.none() | st.booleans() | st.sampled_from(["nan", "3/9", "1GB", "x"])


@settings(max_examples=300, deadline=None)
@given(record=st.dictionaries(st.sampled_from([*KEYS, "own", "other\n"]), VALUES | st.lists(VALUES, max_size=1)))
def test_a_row_of_a_known_shape_is_read_as_one_of_an_unknown_shape(record: dict[str, object]):
    known = RowReader()
    known.read(dict.fromkeys(record, 1.0))
    found, other = known.read(record), RowReader()._read_slowly(record)
    assert repr(dataclasses.replace(found, nulls=sorted(found.nulls))) == repr(
        dataclasses.replace(other, nulls=sorted(other.nulls))
    )
