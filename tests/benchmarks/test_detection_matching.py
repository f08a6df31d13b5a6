"""The matching: which alarms are right, and what the rest of them cost."""

from __future__ import annotations

from benchmarks.detection import scores
from benchmarks.detection.curves import Alarm, Curve, Row, Span
from benchmarks.detection.matching import match


def curve(points: int = 400) -> Curve:
    rows = [Row(step, 10.0 * step, {"loss": 1.0}) for step in range(points)]
    return Curve("c", "s", "corpus", "dev", rows, "loss")


def spiked(start: int = 200, end: int = 210, tolerance: int = 20) -> Curve:
    made = curve()
    made.events.append(made.event("spike", "loss", start, end, tolerance=tolerance))
    return made


def loss(*rows: int) -> list[Alarm]:
    return [Alarm(row, frozenset({"loss"}), "loss_spike", "warning", "loss") for row in rows]


def test_an_alarm_in_the_window_is_a_hit_with_its_delay_in_points():
    found = match("x", spiked(), loss(203))
    assert [hit.delay for hit in found.hits] == [3]
    assert (found.misses, found.false, found.repeats) == ([], [], 0)


def test_two_points_before_the_onset_count_and_three_do_not():
    assert match("x", spiked(), loss(198)).hits[0].delay == 0
    early = match("x", spiked(), loss(197))
    assert (len(early.hits), len(early.misses), len(early.false)) == (0, 1, 1)


def test_an_alarm_after_the_window_but_during_the_event_is_a_miss_and_no_false_alarm():
    found = match("x", spiked(end=300), loss(230))
    assert found.misses[0].note == "loss_spike 30 points after the onset, late"
    assert (found.false, found.repeats) == ([], 1)


def test_further_alarms_of_an_event_are_repeats_as_long_as_they_follow_closely():
    found = match("x", spiked(), loss(200, 205, 250, 299))
    assert (len(found.hits), found.repeats, found.false) == (1, 3, [])


def test_an_alarm_long_after_the_event_is_false():
    assert [seen.step for seen in match("x", spiked(), loss(200, 261)).false] == [261]


def test_false_alarms_close_together_are_one_episode_and_many_raw_ones():
    found = match("x", curve(), loss(10, 60, 110, 161))
    assert [seen.step for seen in found.false] == [10, 161]
    assert found.raw_false == 4


def test_false_alarms_of_two_families_are_two_episodes():
    stall = Alarm(12, frozenset({"stall"}), "stalled")
    assert len(match("x", curve(), [*loss(10), stall]).false) == 2


def test_an_alarm_of_another_family_finds_nothing_and_is_no_false_alarm_inside_the_event():
    found = match("x", spiked(), [Alarm(201, frozenset({"eval"}), "overfit")])
    assert found.misses[0].note == "overfit 1 points after the onset, of another family"
    assert found.false == []


def test_what_was_only_recorded_is_told_of_a_miss():
    assert match("x", spiked(), [], loss(201)).misses[0].note == "only info: loss_spike"


def test_an_alarm_in_an_arguable_span_is_neither_right_nor_wrong_and_its_points_do_not_count():
    made = curve()
    made.spans.append(Span(100, 199))
    found = match("x", made, loss(150))
    assert (found.false, found.raw_false, found.points) == ([], 0, 300)


def test_where_a_clear_event_and_an_arguable_span_overlap_the_event_wins():
    made = spiked()
    made.spans.append(Span(0, 399))
    assert len(match("x", made, loss(200)).hits) == 1
    assert len(match("x", made, []).misses) == 1


def test_one_alarm_pays_for_one_event_only():
    made = spiked()
    made.events.append(made.event("divergence", "loss", 201, 300, tolerance=50))
    found = match("x", made, loss(201))
    assert (len(found.hits), len(found.misses)) == (1, 1)


def test_nothing_is_judged_before_the_point_where_an_injected_curve_begins():
    made = spiked()
    made.begin = 198
    assert match("x", made, loss(50, 200)).false == []


def test_windows_of_an_evaluation_are_counted_in_evaluations():
    rows = [Row(step, 0.0, {"loss": 1.0} | ({"eval_loss": 1.0} if step % 20 == 0 else {})) for step in range(400)]
    made = Curve("c", "s", "corpus", "dev", rows, "loss")
    made.events.append(made.event("overfit", "eval_loss", 5, 19, tolerance=3))
    late = Alarm(180, frozenset({"eval"}), "overfit")
    assert [hit.delay for hit in match("x", made, [Alarm(160, frozenset({"eval"}))]).hits] == [3]
    assert len(match("x", made, [late]).misses) == 1


def test_scores_weigh_kinds_and_sources_alike():
    one, other, third = spiked(), spiked(), spiked()
    other.source = "t"
    third.events = [third.event("divergence", "loss", 200, 300, tolerance=50)]
    outcomes = [match("x", one, loss(200)), match("x", other, loss(200)), match("x", third, loss(50))]
    score = scores.score("x", outcomes)
    assert score.kinds == {"spike": (2, 2), "divergence": (0, 1)}
    assert score.macro == 0.5
    assert score.macro_source == 0.75
    assert score.precision == score.recall == score.f1 == 2 / 3
    assert score.per_10k == 10_000 / 1200


def test_an_interval_of_few_sources_is_not_claimed():
    assert scores.interval("x", [match("x", spiked(), loss(200))], "macro") is None
