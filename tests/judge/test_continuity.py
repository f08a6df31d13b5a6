"""The same rows give the same findings, however they are cut and wherever the state is stored between."""

from __future__ import annotations

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Observation, RunState, SourceRank, StatusReport

LOSSES = st.one_of(
    st.floats(0.5, 1.5), st.floats(-2, 12), st.just(0.0), st.just(math.nan), st.just(math.inf), st.just(1e300)
)
ROWS = st.fixed_dictionaries(
    {"loss": LOSSES},
    optional={
        "grad_norm": st.one_of(st.floats(0.1, 2), st.just(math.nan), st.just(50.0)),
        "accuracy": st.one_of(st.floats(0, 1), st.floats(0, 100)),
        "eval_loss": st.one_of(st.floats(0.5, 1.5), st.just(math.nan)),
        "epoch": st.floats(0, 3),
    },
)
MOVES = st.tuples(st.sampled_from([1, 1, 1, 1, 10, 0, -30]), st.sampled_from(["log", "log", "status"]), ROWS)


def _observations(moves: list[tuple[int, str, dict[str, float]]]) -> list[Observation]:
    found, step = [], 50
    for i, (move, source, values) in enumerate(moves):
        step = max(0, step + move)
        rank = SourceRank.STREAM if source == "log" else SourceRank.STATUS
        found.append(Observation(step, 1000.0 + 10 * i, values, source, rank, timed=i % 7 != 3))
    return found


def _story(observations: list[Observation], stored_after: set[int]) -> list[str]:
    config = JudgeSettings(loss_window=5)
    judge = Judge(config)
    story = []
    for i, obs in enumerate(observations):
        if i in stored_after:
            judge = Judge(config, json.loads(json.dumps(judge.state(), allow_nan=False)))
        story.append(repr(judge.observe(obs)))
        if i % 11 == 10:
            story.append(repr(judge.tick(obs.at + 500)))
        if i % 40 == 39:
            story.append(repr(judge.report(StatusReport(obs.at, RunState.RUNNING))))
    return [*story, repr(judge.state())]


@given(st.lists(MOVES, min_size=1, max_size=150), st.data())
@settings(max_examples=60, deadline=None)
def test_storing_the_state_anywhere_changes_nothing(
    moves: list[tuple[int, str, dict[str, float]]], data: st.DataObject
) -> None:
    observations = _observations(moves)
    cuts = data.draw(st.sets(st.integers(0, len(moves) - 1), max_size=6))
    assert _story(observations, cuts) == _story(observations, set())


def test_a_long_run_with_trouble_continues_exactly_from_its_state() -> None:
    losses = [2 - i / 300 + 0.05 * ((i * 7919) % 13) / 13 for i in range(300)]
    losses[150:152], losses[200], losses[250:] = [5.0, 5.0], math.nan, [9.0] * 50
    rows = [Observation(i, 1000.0 + i, {"loss": x, "grad_norm": 0.5}, "log") for i, x in enumerate(losses)]
    assert _story(rows, set(range(0, 300, 3))) == _story(rows, set())


def test_a_state_of_another_version_is_not_relied_on() -> None:
    assert Judge(JudgeSettings(), {"version": 0, "latest": "?"}).latest == {}


def test_an_upgrade_forgets_no_run_s_place() -> None:
    judge = Judge(JudgeSettings())
    for obs in _observations([(1, "log", {"loss": 1.0})] * 30 + [(-20, "log", {"loss": 1.0})] * 1):
        judge.observe(obs)
    old = json.loads(json.dumps(judge.state())) | {"version": 1, "loss": "of another shape"}
    again = Judge(JudgeSettings(), old)
    place = ("attempt", "latest", "latest_step", "last_step_at", "total_steps", "run_state")
    assert [getattr(again, name) for name in place] == [getattr(judge, name) for name in place]
    assert again.attempt == 2


def test_the_state_is_strict_json_though_the_last_loss_is_nan() -> None:
    judge = Judge(JudgeSettings())
    judge.observe(Observation(1, 0.0, {"loss": math.nan, "grad_norm": -math.inf}, "log"))
    copy = Judge(JudgeSettings(), json.loads(json.dumps(judge.state(), allow_nan=False)))
    assert math.isnan(copy.latest["loss"])
    assert copy.latest["grad_norm"] == -math.inf
