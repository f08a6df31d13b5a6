"""The peers' rules, each on a series small enough to work out by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import pytest

from benchmarks.detection import peers, peers_clock
from benchmarks.detection.curves import Curve, Row
from benchmarks.detection.peers import Series
from benchmarks.detection.roster import PEERS, SWEEP, alarms

NAN = math.nan


def series(values: Iterable[float], grads: list[float | None] | None = None, first: int = 0) -> Series:
    known = list(values)
    return Series(known, list(range(first, first + len(known))), None, grads)


def ripple(points: int, level: float = 1.0) -> list[float]:
    """Return a level with a ripple of one per cent."""
    return [level * (1.01 if point % 2 else 0.99) for point in range(points)]


@pytest.mark.parametrize(
    ("rule", "before", "just_under", "over"),
    [
        (peers.fix30, [1.0] * 5, 1.3, 1.31),
        (peers.lightning, [1.0] * 10, 2.99, 3.0),
        (peers.trainpulse, [1.0] * 50, 5.0, 5.01),
        (peers.olmo_core, ripple(128), 1.0599, 1.0601),
        (peers.olmo_score, ripple(200), 1.0699, 1.0701),
        (peers.intern_evo, [1.0], 1.5, 1.51),
        (peers.megatron, [1.0] * 100, 9.99, 10.0),
        (peers.metaseq, [1.0] * 9, 1.3, 1.31),
        (peers.p0, ripple(250), math.exp(8 / 0.6745 * 0.01) * 0.99, math.exp(8 / 0.6745 * 0.01) * 1.02),
    ],
)
def test_a_rule_fires_just_above_its_limit_and_not_below(
    rule: Callable[[Series], Iterable[int]], before: list[float], just_under: float, over: float
):
    assert list(rule(series([*before, just_under]))) == []
    assert list(rule(series([*before, over]))) == [len(before)]


def test_fix30_needs_five_values():
    assert list(peers.fix30(series([1, 1, 1, 1, 9]))) == []


def test_lightning_takes_what_is_not_finite_for_a_spike_and_learns_nothing_from_a_spike():
    assert list(peers.lightning(series([1.0, 1.0, NAN, 9.0, 9.0, 1.0]))) == [2, 3, 4]


def test_kill_loss_spike_wants_five_in_a_row():
    assert list(peers.kill_loss_spike(series([1.0] * 100 + [2.5] * 4 + [1.0]))) == []
    assert list(peers.kill_loss_spike(series([1.0] * 100 + [2.5] * 5))) == [104]


def test_kill_loss_spike_tells_a_loss_that_stays_above_its_first_window():
    assert next(iter(peers.kill_loss_spike(series([1.0] * 100 + [1.5] * 101)))) == 200


@pytest.mark.parametrize(
    ("rule", "window"), [(peers.trainpulse, 50), (peers.olmo_core, 128), (peers.kill_loss_spike, 100), (peers.p0, 100)]
)
def test_one_nan_blinds_a_rolling_window_until_it_leaves(rule: Callable[[Series], Iterable[int]], window: int):
    blind = [*ripple(300), NAN, *ripple(window - 6), *[20.0] * 6]
    assert list(rule(series(blind))) == []
    assert list(rule(series([*ripple(300), NAN, *ripple(window), *[20.0] * 6])))


def test_skip_step_skips_everything_while_a_nan_is_in_its_window():
    rule = next(peer.rule for peer in PEERS if peer.name == "F4b skip-step")
    assert len(list(rule(series([*ripple(200), NAN, *ripple(200)])))) == 129


def test_llm_c_is_dead_after_one_nan():
    assert list(peers.llm_c(series([*ripple(200), 20.0]))) == [200]
    assert list(peers.llm_c(series([*ripple(200), NAN, *ripple(300), 20.0]))) == []


def test_zclip_learns_the_clipped_value():
    assert list(peers.zclip(series([*ripple(25), 20.0, 20.0]))) == [25, 26]


def test_the_cusum_sums_small_excesses_and_begins_anew_after_an_alarm():
    rng = random.Random(1)
    noise = [rng.gauss(1, 0.01) for _ in range(200)]
    assert list(peers.trainscope(series(noise))) == []
    # Each lies about three deviations up, two above the slack: three or four of them make an alarm.
    fired = list(peers.trainscope(series([*noise, *[1.03] * 9])))
    assert len(fired) >= 2
    assert 201 <= fired[0] <= 204


def test_the_z_score_of_weights_and_biases_looks_at_the_last_thirty():
    rule = next(peer.rule for peer in PEERS if peer.name == "F11 W&B z")
    assert list(rule(series([5.0, *ripple(30), 1.04]))) == [31]
    assert list(rule(series([*ripple(30), 1.02]))) == []


def test_p0_fires_on_a_smaller_rise_where_the_gradient_rises_too():
    rise = math.exp(7 / 0.6745 * 0.01)
    values = [*ripple(250), rise]
    assert list(peers.p0(series(values, [*ripple(250), 1.0]))) == []
    assert list(peers.p0(series(values, [*ripple(250), rise]))) == [250]


def test_axolotl_counts_three_in_a_row():
    assert list(peers.axolotl(series([1.0] * 20 + [1.6, 1.6, 1.0, 1.6, 1.6, 1.6]))) == [25]


def test_trackio_fires_on_nan_and_on_an_average_that_doubles():
    assert list(peers.trackio(series([1.0] * 40 + [12.0, 1.0]))) == [40]
    assert next(iter(peers.trackio(series([1.0, NAN])))) == 1


def test_marin_waits_until_five_points_in_a_row_lie_a_whole_unit_higher():
    assert list(peers_clock.marin(series([*ripple(100), *[2.5] * 4, *ripple(20)]))) == []
    assert next(iter(peers_clock.marin(series([*ripple(100), *[2.5] * 5])))) == 104


def test_marin_is_blind_to_a_step_that_widens_its_own_band_before_five_minutes_are_over():
    assert list(peers_clock.marin(series([*ripple(100), *[1.5] * 40]))) == []


def test_marin_tells_at_once_what_is_not_finite():
    assert next(iter(peers_clock.marin(series([1.0, 1.0, NAN])))) == 2


def test_marin_goes_by_the_clock_where_there_is_one():
    values = [*ripple(100), *[1.5] * 40]
    slow = Series(values, list(range(140)), [120.0 * point for point in range(140)])
    assert list(peers_clock.marin(slow)) == []


def test_page_hinkley_adds_up_a_shift():
    fired = list(peers_clock.page_hinkley(series([1.0] * 100 + [3.0] * 60)))
    assert fired
    assert 120 < fired[0] < 140


def test_adwin_cuts_at_a_shift_up_and_tells_no_shift_down():
    rng = random.Random(1)
    level = [rng.gauss(1, 0.1) for _ in range(600)]
    assert list(peers_clock.adwin(series(level))) == []
    fired = list(peers_clock.adwin(series([*level, *(x + 1 for x in level)])))
    assert fired
    assert 600 < fired[0] < 680
    assert list(peers_clock.adwin(series([*(x + 1 for x in level), *level]))) == []


def test_adwin_keeps_at_most_five_buckets_of_a_size():
    window = peers_clock._Adwin(0.002)
    for _ in range(1000):
        window.add(1.0)
    sizes = [count for count, _, _ in window.buckets]
    assert sum(sizes) == 1000
    assert max(sizes.count(size) for size in sizes) <= 5
    assert sizes == sorted(sizes, reverse=True)


def test_patience_counts_evaluations_without_a_new_best():
    assert list(peers_clock.early_stopping([3, 2, 2, 2, 2, 1, 1], 3)) == [4]
    assert list(peers_clock.early_stopping([0.5, 0.4, 0.4], 2, higher=True)) == [2]


def test_sagemaker_compares_with_the_training_loss_since_the_last_evaluation():
    assert list(peers_clock.sagemaker_overfit(series([2.0, 2.0, 1.0, 1.0]), [(2, 2.1), (4, 1.2)])) == [1]


def test_stall_rules_go_by_the_gap():
    at = [10.0 * point for point in range(10)] + [90.0 + 700.0]
    assert list(peers_clock.gaps(at, 600.0)) == [10]
    assert list(peers_clock.gaps(at, 900.0)) == []
    assert list(peers_clock.nvrx(at)) == [10]
    assert list(peers_clock.portos(at)) == [10]


def test_slow_rules_go_by_the_step_times():
    steady = [10.0 * point for point in range(100)]
    slower = steady + [990.0 + 20.0 * point for point in range(1, 60)]
    assert list(peers_clock.slow_p0(steady)) == []
    assert list(peers_clock.slow_p0(slower))
    assert list(peers_clock.slow_trainpulse([*steady, 1025.0])) == [100]


def test_every_peer_runs_on_a_curve_without_values_and_on_one_of_nothing_but_nan():
    empty = Curve("e", "s", "corpus", "dev", [], "loss")
    rows = [Row(step, 1.0 * step, {"loss": NAN, "eval_loss": NAN, "grad_norm": NAN}) for step in range(300)]
    for peer in (*PEERS, *SWEEP):
        assert alarms(peer, empty) == []
        assert all(0 <= alarm.row < 300 for alarm in alarms(peer, Curve("n", "s", "corpus", "dev", rows, "loss")))


def test_no_stall_is_seen_where_the_log_has_no_clock():
    rows = [Row(step, 5000.0 * step, {"loss": 1.0}, timed=False) for step in range(300)]
    made = Curve("c", "s", "corpus", "dev", rows, "loss")
    assert all(alarms(peer, made) == [] for peer in PEERS if peer.looks_at == "clock")
