"""Sources that come and go: what a lost log owned goes to the next one, and its steps go on from there."""

from __future__ import annotations

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import AttemptStarted, SourceRank
from tests.judge.feed import T0, feed, rows


def test_a_new_log_takes_up_where_the_lost_one_ended() -> None:
    judge = Judge(JudgeSettings())
    judge.keep_sources(["a.log"])
    feed(rows("loss", [2.0] * 20, source="a.log"), judge)
    judge.keep_sources(["b.log"])
    found = feed(rows("loss", [1.9] * 5, first=21, source="b.log", at=T0 + 100), judge)
    assert [f for f in found if isinstance(f, AttemptStarted)] == []
    assert (judge.attempt, judge.latest["loss"], judge.latest_step) == (1, 1.9, 25)


def test_a_new_log_whose_steps_go_back_is_a_new_attempt() -> None:
    judge = Judge(JudgeSettings())
    judge.keep_sources(["a.log"])
    feed(rows("loss", [2.0 - i / 50 for i in range(60)], source="a.log"), judge)
    judge.keep_sources(["b.log"])
    found = feed(rows("loss", [1.4, 1.39, 1.38], first=31, source="b.log", at=T0 + 100), judge)
    (started,) = [f for f in found if isinstance(f, AttemptStarted)]
    assert (started.attempt, started.step, started.previous_step, started.reset) == (2, 31, 60, False)
    assert judge.latest["loss"] == 1.38


def test_while_both_are_there_the_first_keeps_what_it_owns() -> None:
    judge = Judge(JudgeSettings())
    judge.keep_sources(["a.log", "b.log"])
    feed(rows("loss", [2.0] * 5, source="a.log"), judge)
    feed(rows("loss", [7.0] * 5, first=6, source="b.log"), judge)
    assert judge.latest["loss"] == 2.0


def test_a_better_source_takes_over_from_what_was_printed() -> None:
    judge = Judge(JudgeSettings())
    judge.keep_sources(["train.out", "log.jsonl"])
    feed(rows("loss", [2.0] * 5, source="train.out", rank=SourceRank.TEXT), judge)
    feed(rows("loss", [1.9] * 5, first=6, source="log.jsonl"), judge)
    feed(rows("loss", [2.5] * 5, first=11, source="train.out", rank=SourceRank.TEXT), judge)
    assert judge.latest["loss"] == 1.9


def test_a_log_that_is_gone_for_a_moment_starts_nothing_when_it_is_back() -> None:
    judge = Judge(JudgeSettings())
    judge.keep_sources(["a.log", "status"])
    feed(rows("loss", [2.0] * 5, source="a.log"), judge)
    judge.keep_sources(["status"])
    judge.keep_sources(["a.log", "status"])
    feed(rows("loss", [1.5] * 5, first=6, source="a.log"), judge)
    assert (judge.attempt, judge.latest["loss"]) == (1, 1.5)
