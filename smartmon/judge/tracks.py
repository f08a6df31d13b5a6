"""One metric's detectors with the level they share: the loss, an accuracy, the gradient norm."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from smartmon.detectors.accuracy_drop import Drops
from smartmon.detectors.divergence import Shift
from smartmon.detectors.loss_spike import Spikes
from smartmon.detectors.noise import Level, Score
from smartmon.detectors.settings import JudgeSettings
from smartmon.detectors.signal import Firing, Point, Trace
from smartmon.detectors.staircase import Season
from smartmon.stats import median

AVERAGES = 10
"""Steps between observations from which one observation is an average, and alone evidence."""
EPOCH_HOLD, EPOCH_KEEPS = 5, 20
RESUME_HOLD = 10
LOSS_PARTS = ("level", "spikes", "shift", "cadence", "season")
CO_SPIKE_Z, CO_SPIKE_POINTS = 6.0, 3


class Cadence:
    """How many steps lie between a metric's observations."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.diffs: list[int] = []
        self.usual = 0.0

    def move(self, step: int) -> tuple[int, float]:
        """Note an observation; return its distance, and old over new usual distance when that changed (else 1)."""
        diff = 0 if self.last is None else step - self.last
        self.last = step
        if diff <= 0:
            return 0, 1.0
        self.diffs.append(diff)
        if len(self.diffs) > 20:
            del self.diffs[0]
        if diff == self.usual:
            return diff, 1.0
        recent = median(self.diffs[-5:])
        before = self.usual
        if before and len(self.diffs) >= 5 and not before / 2 < recent < before * 2:
            self.diffs = self.diffs[-5:]
            self.usual = recent
            return diff, before / recent
        self.usual = median(self.diffs)
        return diff, 1.0

    def averaged(self, diff: int) -> bool:
        """Whether one observation stands for ten steps or more."""
        return self.usual >= AVERAGES and diff >= AVERAGES

    def narrower(self, diff: int) -> float:
        """Return the factor by which an observation over fewer steps than usual is noisier."""
        return math.sqrt(self.usual / diff) if 0 < diff <= self.usual / 2 else 1.0

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return vars(self) | {"diffs": list(self.diffs)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)


class LossTrack:
    """The loss with its level and noise: `loss_spike` and `divergence`."""

    def __init__(self) -> None:
        self.level = Level(floor=0.02)
        self.spikes = Spikes()
        self.shift = Shift()
        self.cadence = Cadence()
        self.season = Season()
        self.hold = 0
        self.epoch: float | None = None
        self.since_epoch = 0
        self.calm = True
        """Whether the last value stood within the run's noise and nothing fired on it."""
        self.score: Score | None = None
        """Where the value judged last stood; no part of the state."""

    def judge(
        self, settings: JudgeSettings, step: int, value: float, *, grad_spike: bool, trace: Trace = None
    ) -> list[Firing]:
        """Test one finite loss with both detectors, then learn it."""
        diff, factor = self.cadence.move(step)
        if factor != 1.0:
            self.level.interval_changed(factor)
            self.shift.rest()
        self.since_epoch += 1
        levelled = self._levelled(value)
        score = self.score = self.level.score(levelled, self.cadence.narrower(diff))
        averaged = self.cadence.averaged(diff)
        point = Point("loss", step, value, settings.noise_guard, averaged, self.hold > 0, grad_spike=grad_spike)
        point.levelled = levelled
        detectors, window = settings.detectors, settings.loss_window
        firings = []
        rising = self.shift.judge(detectors.divergence, window, point, score, self.level, trace=trace)
        point.up = self.shift.open_critical
        if detectors.loss_spike.enabled:
            phase = settings.phase(step) if settings.phases else None
            threshold = (phase and phase.loss_spike_threshold) or detectors.loss_spike.threshold
            linear = self.level.seen > 0 and not self.level.log
            spike = self.spikes.judge(detectors.loss_spike, threshold, window, point, score, linear=linear, trace=trace)
            firings += [spike] if spike is not None else []
        firings += [rising] if rising is not None else []
        # From half the sum that fires on: what is being watched must not teach what it is measured by.
        self.level.watch(2 * max(self.shift.sums) / detectors.divergence.cusum)
        if self.level.learn(step, levelled, score):
            self.shift.rest()
        self.hold = max(0, self.hold - 1)
        in_noise = not settings.noise_guard or (score.z < 2 and self.shift.quiet)
        self.calm = in_noise and not firings
        return firings

    def _levelled(self, value: float) -> float:
        """Return a loss without what is usual at this place of an epoch, and learn that."""
        if self.epoch is None or value <= 0:
            return value
        place = self.epoch - math.floor(self.epoch)
        usual = self.season.usual(place)
        self.season.learn(place, value)
        return min(value * math.exp(-usual), sys.float_info.max) if usual else value

    def new_epoch(self, epoch: float) -> None:
        """Note the epoch. At an integer's crossing the level steps down: most of what was known is dropped."""
        before, self.epoch = self.epoch, epoch
        if before is None or math.floor(epoch) <= math.floor(before) or self.since_epoch < EPOCH_KEEPS:
            return
        self.since_epoch = 0
        self.hold = max(self.hold, EPOCH_HOLD)
        self.season.turn()
        self.level.cut(last=EPOCH_KEEPS)
        self.shift.rest()

    def resume(self, step: int) -> None:
        """The run went back to a step: forget what lies after it, and judge gently for a while."""
        self.level.cut(before=step)
        self.spikes.waiting = None
        self.spikes.earlier.go_back(zip(self.level.steps, self.level.raw))
        self.shift.cut(step)
        self.cadence.last = None
        self.hold, self.epoch = RESUME_HOLD, None
        self.season = Season()

    def settled(self, expected: float | None) -> str:
        """Say where the loss came to rest, against what was expected when trouble began."""
        if expected is None or expected <= 0 or not self.level.raw:
            return ""
        share = median(list(self.level.raw)[-10:]) / expected - 1
        return f"settled {100 * share:.0f} % higher" if share >= 0.05 else ""

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        plain = {name: getattr(self, name) for name in ("hold", "epoch", "since_epoch", "calm")}
        return plain | {name: getattr(self, name).state() for name in LOSS_PARTS}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        for name in LOSS_PARTS:
            getattr(self, name).restore(state[name])
        for name in ("hold", "epoch", "since_epoch", "calm"):
            setattr(self, name, state[name])


class AccuracyTrack:
    """One accuracy, in percent: `accuracy_drop`."""

    def __init__(self) -> None:
        self.level = Level(floor=1.0, sign=-1, plain=True)
        self.drops = Drops()
        self.cadence = Cadence()
        self.hold = 0
        self.in_noise = False
        """Whether the last value stood within the noise of a known level."""

    def judge(
        self, settings: JudgeSettings, metric: str, step: int, value: float, *, trace: Trace = None
    ) -> Firing | None:
        """Test one finite accuracy, then learn it."""
        diff, factor = self.cadence.move(step)
        if factor != 1.0:
            self.level.interval_changed(factor)
        score = self.level.score(value, self.cadence.narrower(diff))
        averaged = self.cadence.averaged(diff)
        point = Point(metric, step, value, settings.noise_guard, averaged, self.hold > 0)
        params = settings.detectors.accuracy_drop
        phase = settings.phase(step) if settings.phases else None
        threshold = (phase and phase.accuracy_drop_threshold) or params.threshold
        firing = None
        if params.enabled:
            evaluation = averaged or metric.startswith("eval")
            window = settings.loss_window
            firing = self.drops.judge(params, threshold, window, point, evaluation=evaluation, trace=trace)
        self.level.learn(step, value, score)
        self.hold = max(0, self.hold - 1)
        self.in_noise = score.known and score.z < 2 and not self.drops.down
        return firing

    def resume(self, step: int) -> None:
        """The run went back to a step: forget what lies after it, and judge gently for a while."""
        self.level.cut(before=step)
        self.drops.resume(step, zip(self.level.steps, self.level.raw))
        self.cadence.last = None
        self.hold = RESUME_HOLD

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        parts = ("level", "drops", "cadence")
        return vars(self) | {name: getattr(self, name).state() for name in parts}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        for name in ("level", "drops", "cadence"):
            getattr(self, name).restore(state[name])
        self.hold, self.in_noise = state["hold"], state["in_noise"]


class GradTrack:
    """The gradient norm: whether it stands far out with the loss."""

    def __init__(self) -> None:
        self.level = Level(floor=0.05)
        self.since_spike = CO_SPIKE_POINTS + 1
        """Points of the loss since the norm last stood out."""
        self.score: Score | None = None
        """Where the norm judged last stood; no part of the state."""

    def learn(self, step: int, value: float) -> bool:
        """Learn one finite gradient norm; return whether it stands far out."""
        score = self.score = self.level.score(value)
        spiked = score.known and score.z >= CO_SPIKE_Z + score.allowance
        if spiked:
            self.since_spike = -1
        self.level.learn(step, value, score)
        return spiked

    def point(self) -> bool:
        """Count one loss; return whether the norm stood out with it or shortly before."""
        self.since_spike = min(self.since_spike + 1, CO_SPIKE_POINTS + 1)
        return self.since_spike <= CO_SPIKE_POINTS

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {"level": self.level.state(), "since_spike": self.since_spike}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.level.restore(state["level"])
        self.since_spike = state["since_spike"]
