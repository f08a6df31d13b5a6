"""`grad_explosion`: a gradient norm far above its own level, for a point or for good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.earlier import deviations
from smartmon.detectors.noise import Score
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.stats import median
from smartmon.text import number

CLIP, SLACK, CUSUM = 4.0, 0.75, 12.0
"""As `divergence` sums: `S = max(0, S + clip(z, -4, 4) - 0.75) >= 12`."""
LAST = 5
FEW = 3
"""Points for which a rise as high as a spike must last; a lower one 5, or 10 in a per-step log."""
FIRST = 20
SUDDEN = 0.75
"""Share of `lasting` that a rise must reach above the short baseline, too: norms that grow slowly are no explosion."""
FALLS = -1.0
"""Deviations below its level at which a loss falls."""
NEAR_FIRST = 0.1
"""Share of the first norms below which a rise is none to be sent."""
CALM_Z, CALM_SUM, CALM_POINTS = 2.0, 3.0, 20
"""Back to normal: so few deviations, so small a sum, for so many points."""
QUIET = 20
"""Points after a spike in which a next one is told only if it is twice as high."""
BLOCK = 100
CLIP_NAMES = ("max_grad_norm", "clip_grad_norm")
CLIPPED = (0.05, 3.0)
"""Share of the last 300 norms above the clipping limit that is news, and times the share before."""


class GradExplosion(Params):
    """Fires on a gradient norm at least `sigmas` deviations out and `spike` times its level, or on a lasting rise.

    One spike is info. A warning when the sum `S = max(0, S + clip(z, -4, 4) - 0.75)` reaches 12 while the median of
    the last five is `lasting` times the level of the last 100, 0.75 times that above the last 30 and a tenth of the
    first 20: for 3 points from `spike` times the level on, else for 10 (5 where one averages ten steps) and only if the
    loss does not fall. Critical from `exploded` times the level and not below the first 20, for two points of a
    per-step log or together with a loss that stands out. Info while a divergence of the loss is open that is as
    grave. Where the clipping limit is known (`clip`, or logged as `max_grad_norm`), info when over 5 %
    of the last 300 norms are above it and that is three times the share before.
    Gets wrong: an explosion so slow that it becomes the level.
    """

    enabled: bool = Field(True, description="Whether to look for exploding gradients.")
    sigmas: float = Field(8.0, ge=2, le=100, description="Deviations of the norm's own noise that make a spike.")
    spike: float = Field(5.0, gt=1, le=1000, description="Times the level that a spike must reach.")
    lasting: float = Field(2.0, gt=1, le=1000, description="Times the level that is sent when it lasts.")
    exploded: float = Field(100.0, gt=1, le=1e9, description="Times the level that is critical.")
    clip: float | None = Field(None, gt=0, description="Norm at which the trainer clips, if it does not log it.")


class GradExplosions(Detector):
    """The gradient norm against its own level; the judge keeps level and noise."""

    kind: ClassVar[str] = "grad_explosion"
    Params = GradExplosion
    metrics = frozenset({"grad_norm"})

    params: GradExplosion

    def __init__(self, params: GradExplosion) -> None:
        super().__init__(params)
        self.sum = 0.0
        self.first: list[float] = []
        """The first norms of the run: what is far below them has not exploded."""
        self.last: list[float] = []
        self.losses: list[float] = []
        """Deviations of the last losses from their level."""
        self.onset: int | None = None
        self.up = 0
        """Points in a row at which the level was up."""
        self.huge = 0
        """Points in a row at which the norm was `exploded` times its level."""
        self.open = -1
        """The rank of the severity that is open; below 0 for none."""
        self.expected = 0.0
        self.calm = 0
        self.told = 0.0
        """The highest spike told of lately."""
        self.since = QUIET
        """Points since a spike was told of."""
        self.clipped: list[int] = [0]
        """Norms above the clipping limit in each of the last blocks, the one under way last."""
        self.seen = 0
        self.above = 0
        self.clip_told = False

    def observe(self, moment: Moment) -> Iterator[Outcome]:
        """Judge one norm. One that is no finite number is `nonfinite`'s."""
        score = moment.grad
        if score is None:
            return
        value = moment.fresh["grad_norm"]
        self.last.append(value)
        if len(self.last) > LAST:
            del self.last[0]
        if moment.loss is not None:
            self.losses = [*self.losses[1 - LAST :], moment.loss.z_long]
        if len(self.first) < FIRST:
            self.first.append(value)
        self.since += 1
        firing = None
        if score.known and not moment.held:
            firing = self._spiked(moment, value, score)
            lasting = self._lasting(moment, value, score)
            if lasting is not None and (firing is None or lasting.severity.rank > firing.severity.rank):
                firing = lasting
        clipping = self._clipping(moment, value)
        firing = firing or clipping
        if firing is not None:
            yield firing
        if moment.trace is not None:
            text = f"{deviations(score.z)} from its level; summed excess {self.sum:.1f} of {CUSUM:g}"
            moment.said(self.kind, "grad_norm", firing, text, expected=score.center, limit=None)
        if self.open >= 0 and self._over(score):
            yield Over(self.kind, self._settled())

    def _spiked(self, moment: Moment, value: float, score: Score) -> Firing | None:
        params = self.params
        if score.z < params.sigmas + score.allowance or not score.exceeds(params.sigmas, params.spike):
            self.huge = 0
            return None
        times = value / score.center if score.center > 0 else score.ratio_long
        exploded = times >= params.exploded and value >= median(self.first)
        self.huge = self.huge + 1 if exploded else 0
        with_loss = moment.loss is not None and moment.loss.z >= CLIP
        proven = self.huge >= 2 or (self.huge and (moment.averaged or with_loss))
        severity = Severity.CRITICAL if proven and not _told(moment, Severity.CRITICAL) else Severity.INFO
        # What is open tells it already, unless this is far more.
        lately = self.open >= 0 or self.since < QUIET
        if severity.rank <= max(self.open, 0) and lately and value < 2 * self.told:
            return None
        if severity.rank <= self.open:
            severity = Severity.INFO
        self.since, self.told = 0, value
        text = f"grad_norm {number(value)} at step {moment.step:,} is {number(times, 3)} times its level"
        text += f" ({number(score.center)})."
        reason = f"grad_spike_{times:.3g}x"
        return self._firing(score, params.spike, severity, reason=reason, text=text, onset=moment.step)

    def _lasting(self, moment: Moment, value: float, score: Score) -> Firing | None:
        params = self.params
        before = self.sum
        # Bounded above, so that a level that came back is forgotten as quickly as it was noticed.
        self.sum = min(2 * CUSUM, max(0.0, before + max(-CLIP, min(CLIP, score.z_long)) - SLACK))
        if self.sum <= 0:
            self.onset, self.up = None, 0
            return None
        if before <= 0 or self.onset is None:
            self.onset = moment.step
        if self.sum < CUSUM or len(self.last) < LAST:
            self.up = 0
            return None
        level = moment.grad_level
        lift = level.lift(self.last)
        up = lift >= params.lasting and level.lift(self.last, short=True) >= SUDDEN * params.lasting
        up = up and median(self.last) >= NEAR_FIRST * median(self.first)
        # Norms grow in many a run that learns well: a moderate rise counts where the loss does not fall meanwhile.
        up = up and (lift >= params.spike or not self.losses or median(self.losses) > FALLS)
        self.up = self.up + 1 if up else 0
        needed = FEW if lift >= params.spike else LAST if moment.averaged else 2 * LAST
        if self.up < needed or self.open >= Severity.WARNING.rank or _told(moment, Severity.WARNING):
            return None
        text = (
            f"grad_norm stays at {lift:.1f} times its level of {number(score.center)} since step {self.onset:,} "
            f"({number(value)} at step {moment.step:,})."
        )
        self.since, self.told = 0, max(self.last)
        reason = f"grad_explosion_{lift:.3g}x"
        return self._firing(score, params.lasting, Severity.WARNING, reason=reason, text=text, onset=self.onset)

    def _firing(self, score: Score, times: float, severity: Severity, *, reason: str, text: str, onset: int) -> Firing:
        if severity.rank > max(self.open, 0):
            if self.open < 0:
                self.expected = score.center
            self.open, self.calm = severity.rank, 0
        value, good = self.last[-1], max(0, onset - max(10, onset // 100))
        evidence = {"z": score.z, "ratio": score.ratio_long}
        return Firing(
            self.kind, "grad_norm", value, score.center, score.center * times, severity, reason, text, onset, good,
            evidence,
        )  # fmt: skip

    def _over(self, score: Score) -> bool:
        quiet = score.z < CALM_Z and self.sum < CALM_SUM
        self.calm = self.calm + 1 if quiet else 0
        if self.calm < CALM_POINTS:
            return False
        self.open, self.calm, self.up = -1, 0, 0
        return True

    def _settled(self) -> str:
        now = median(self.last)
        if self.expected > 0 and now >= self.params.lasting * self.expected:
            return f"grad_norm stays at {number(now)}, which is its level now"
        return f"grad_norm is back at {number(now)}"

    def _clipping(self, moment: Moment, value: float) -> Firing | None:
        """Count the norms above the clipping limit, in blocks of 100."""
        limit = self.params.clip
        if limit is None:
            limit = moment.latest.get(CLIP_NAMES[0]) or moment.latest.get(CLIP_NAMES[1])
            if limit is None or not limit > 0:
                return None
        self.seen += 1
        self.clipped[-1] += value > limit
        if self.seen % BLOCK:
            return None
        recent, length = sum(self.clipped[-3:]), BLOCK * min(3, len(self.clipped))
        before = self.seen - length
        share = recent / length
        earlier = self.above / before if before else share
        if len(self.clipped) == 3:
            self.above += self.clipped.pop(0)
        self.clipped.append(0)
        least, times = CLIPPED
        news = share > least and share > times * earlier and before >= 3 * BLOCK
        told, self.clip_told = self.clip_told, news
        if not news or told:
            return None
        text = (
            f"{100 * share:.0f} % of the last {length} gradient norms are above the clipping limit {number(limit)}; "
            f"{100 * earlier:.1f} % were before."
        )
        evidence = {"share": share, "share_before": earlier}
        return Firing(
            self.kind, "grad_norm", value, limit, limit, Severity.INFO, "grad_clipping", text, evidence=evidence
        )

    def resume(self, step: int) -> None:  # noqa: ARG002
        """Forget the sums: what was open is over, and the first norms after a resume are no news."""
        self.sum, self.onset, self.up, self.huge = 0.0, None, 0, 0
        self.open, self.calm, self.last, self.losses = -1, 0, [], []

    def state(self) -> dict[str, Any]:
        """Return everything but the parameters."""
        return super().state() | {
            "first": list(self.first),
            "last": list(self.last),
            "losses": list(self.losses),
            "clipped": list(self.clipped),
        }


def _told(moment: Moment, severity: Severity) -> bool:
    """Whether the open divergence of the loss says as much already: the gradients are part of it."""
    return moment.loss_open is not None and moment.loss_open.rank >= severity.rank
