"""Retention's promises: invariants first, then the rules one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmon.errors import ConfigError
from smartmon.records import Snapshot, SnapshotState
from smartmon.retention import Action, Policy, created, plan
from smartmon.snapshots import upkeep

DAY = 86400.0
NOW = 1_760_000_000.0
WITHIN = {"loss_spike": 7 * DAY, "default": 30 * DAY}


def snapshot(days: float, *triggers: str, run: str = "run", **more: Any) -> Snapshot:
    """A snapshot made so many days ago."""
    at = NOW - days * DAY
    triggers = triggers or ("accuracy_drop_13.0pct",)
    name = more.pop("name", f"anomaly_{at:.0f}_{'_'.join(triggers)}")
    plain: dict[str, Any] = {
        "created_at": datetime.fromtimestamp(at, UTC).isoformat(),
        "reason": "_".join(triggers),
        "step": 1,
        "loss": 1.0,
        "accuracy": None,
        "checkpoint_step": 1,
        "bytes": 100,
        "pinned": False,
        "state": SnapshotState.OK,
    }
    return Snapshot(name=name, path=Path("/s") / run / name, run=run, triggers=triggers, **(plain | more))


def policy(**more: Any) -> Policy:
    return Policy(**({"keep_last": 0, "keep_within": WITHIN} | more))


def actions(snapshots: list[Snapshot], rule: Policy, **more: Any) -> list[str]:
    return [verdict.action.value for verdict in plan(snapshots, rule, NOW, **more)]


any_snapshot = st.builds(
    lambda days, trigger, run, pinned, bytes, damaged, number: snapshot(
        days,
        trigger,
        run=run,
        pinned=pinned,
        bytes=bytes,
        name=f"anomaly_{number}",
        state=SnapshotState.DAMAGED if damaged else SnapshotState.OK,
    ),
    st.floats(-10, 400),
    st.sampled_from(["loss_spike_40.7pct", "divergence_detected", "best_model_loss_0.6", "best_model_eval_loss_nan"]),
    st.sampled_from(["a", "b"]),
    st.booleans(),
    st.integers(0, 10**12),
    st.integers(0, 9).map(lambda value: value == 0),
    st.integers(0, 10**9),
)
any_policy = st.builds(
    Policy,
    keep_best=st.none() | st.integers(1, 5),
    keep_best_weights=st.integers(1, 4),
    keep_last=st.integers(0, 6),
    keep_within=st.dictionaries(st.sampled_from(["loss_spike", "default"]), st.floats(0, 90 * DAY)),
    max_bytes=st.none() | st.integers(0, 10**13),
)


@given(st.lists(any_snapshot, max_size=30, unique_by=lambda one: one.path), any_policy, st.integers(0, 10**12))
def test_what_holds_for_every_plan(snapshots: list[Snapshot], rule: Policy, incoming: int):
    verdicts = plan(snapshots, rule, NOW, incoming=incoming)
    assert [verdict.snapshot for verdict in verdicts] == snapshots
    assert all(verdict.reasons for verdict in verdicts)
    for verdict in verdicts:
        one = verdict.snapshot
        if one.pinned or one.state is SnapshotState.DAMAGED or created(one) > NOW:
            assert verdict.action is Action.KEEP
    for run in ("a", "b"):
        whole = [one for one in snapshots if one.run == run and one.state is not SnapshotState.DAMAGED]
        past = [one for one in whole if created(one) <= NOW]
        kept = {verdict.snapshot.path for verdict in verdicts if verdict.action is Action.KEEP}
        assert not past or max(past, key=lambda one: (created(one), one.name)).path in kept
    assert plan(snapshots, rule, NOW, incoming=incoming) == verdicts


@given(st.lists(any_snapshot, max_size=20, unique_by=lambda one: one.path), any_policy)
def test_one_run_s_plan_does_not_depend_on_another_s(snapshots: list[Snapshot], rule: Policy):
    alone = [one for one in snapshots if one.run == "a"]
    rule = Policy(rule.keep_best, rule.keep_best_weights, rule.keep_last, rule.keep_within, None)
    together = [verdict for verdict in plan(snapshots, rule, NOW) if verdict.snapshot.run == "a"]
    assert plan(alone, rule, NOW) == together


def test_a_policy_that_keeps_nothing_is_refused():
    with pytest.raises(ConfigError, match="keeps nothing"):
        plan([], Policy(keep_best=0, keep_last=0, keep_within={"default": 0.0}), NOW)


def test_each_kind_has_its_own_time_counted_from_the_newest():
    spikes = [snapshot(days, "loss_spike_40.7pct") for days in (100, 94, 92)]
    drop = snapshot(121)
    assert actions([*spikes, drop], policy()) == ["remove", "keep", "keep", "keep"]


def test_several_triggers_keep_it_for_the_longest_time():
    both = snapshot(20, "loss_spike_40.7pct", "accuracy_drop_13.0pct")
    assert actions([both, snapshot(0)], policy()) == ["keep", "keep"]


def test_the_newest_few_stay_whatever_their_age():
    old = [snapshot(days) for days in (300, 200, 100, 0)]
    assert actions(old, policy(keep_last=2)) == ["remove", "remove", "keep", "keep"]


def test_a_clock_that_was_ahead_removes_nothing():
    """One dated in the future is never removed, and the age of the others does not count from it."""
    assert actions([snapshot(6, "loss_spike_1pct"), snapshot(0), snapshot(-300)], policy()) == ["keep"] * 3


def test_pinned_and_cited_ones_stay():
    pinned, cited = snapshot(300, pinned=True), snapshot(200)
    assert actions([pinned, cited, snapshot(0)], policy(), cited={cited.name}) == ["keep", "keep", "keep"]


def test_best_models_stay_as_history_and_the_best_three_keep_their_weights():
    best = [snapshot(50 - index, f"best_model_loss_0.{9 - index}") for index in range(6)]
    assert actions([*best, snapshot(0)], policy()) == ["slim"] * 3 + ["keep"] * 3 + ["keep"]


def test_best_models_of_the_metric_in_use_come_first():
    old = [snapshot(50 - index, f"best_model_loss_0.{2 - index}") for index in range(2)]
    new = [snapshot(40 - index, f"best_model_eval_loss_0.{9 - index}") for index in range(3)]
    assert actions([*old, *new, snapshot(0)], policy()) == ["slim", "slim", "keep", "keep", "keep", "keep"]


def test_slimmed_ones_are_not_slimmed_again():
    slim = snapshot(50, "best_model_loss_0.9", has_weights=False)
    best = [snapshot(40 - index, f"best_model_loss_0.{8 - index}") for index in range(3)]
    assert actions([slim, *best, snapshot(0)], policy()) == ["keep"] * 5


def test_the_oldest_give_way_to_max_bytes_and_best_models_last():
    best, *others = [snapshot(9, "best_model_loss_0.5"), snapshot(8), snapshot(7), snapshot(0)]
    assert actions([best, *others], policy(max_bytes=200)) == ["keep", "remove", "remove", "keep"]
    assert actions([best, *others], policy(max_bytes=200), incoming=100) == ["slim", "remove", "remove", "keep"]


def test_a_cap_below_one_snapshot_keeps_the_newest():
    assert actions([snapshot(1), snapshot(0)], policy(max_bytes=1)) == ["remove", "keep"]


def test_of_equal_age_the_lower_name_is_older():
    twins = [snapshot(0, name="anomaly_b"), snapshot(0, name="anomaly_a")]
    assert actions(twins, policy(max_bytes=100)) == ["keep", "remove"]


def test_bytes_that_others_share_are_not_freed():
    snapshots = [snapshot(3), snapshot(2), snapshot(0)]
    shared = {snapshots[0].name: 0, snapshots[1].name: 100, snapshots[2].name: 100}
    assert actions(snapshots, policy(max_bytes=200), sizes=shared) == ["keep", "keep", "keep"]


def test_the_newest_checkpoint_stays_when_later_ones_are_records_only():
    """A disk that was full leaves records without a checkpoint: the last real one must not go for them."""
    real = snapshot(9, "loss_spike_40.7pct")
    records = [snapshot(days, checkpoint_step=None, has_weights=False) for days in (1, 0)]
    assert actions([snapshot(10), real, *records], policy(max_bytes=1)) == ["remove", "keep", "keep", "keep"]


def test_an_open_incident_cites_its_first_checkpoint_and_its_newest_snapshot():
    """A storm of weeks must not fill the room that the next snapshot needs."""
    storm = [snapshot(days, metadata={"incident_keys": ["k"]}) for days in (9, 8, 7, 6)]
    storm[0] = replace(storm[0], checkpoint_step=None, has_weights=False)
    other = snapshot(5, metadata={"incident_keys": ["closed"]})
    assert upkeep.cited([*storm, other], {"run": {"k"}}) == {storm[1].name, storm[3].name}
    assert upkeep.cited([*storm, other], None) == {storm[1].name, storm[3].name, other.name}
