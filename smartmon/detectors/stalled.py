"""`stalled`: no new step for far longer than the run's own pace."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pydantic import Field

from smartmon.detectors.signal import Firing
from smartmon.params import Duration, Params
from smartmon.records import Severity
from smartmon.stats import median
from smartmon.text import duration

GAPS = 200
WARM_UP = 5
"""First gaps that are left out: compiling and caching."""
ENOUGH = 10


class Stalled(Params):
    """Fires when no new step came for `max(least, 2 g, min(5 g, most))`, `g` being the longest of the last 200 gaps.

    It goes by steps, not by bytes: a heartbeat thread prints while the loop is wedged. Gaps that hold an evaluation or
    a checkpoint are kept apart and count when the next one is due. Until ten gaps are known it waits `first_step`.
    Warning at the limit, critical at twice the limit. Gets wrong: the first evaluation of a fast run. `least` is 5
    minutes because on shared machines healthy runs pause for 3 now and then (4 of 123 real logs).
    """

    enabled: bool = Field(True, description="Whether to look for runs that stopped moving.")
    least: Duration = Field(300.0, gt=0, le=7 * 86400, description="Shortest silence that can count as a stall.")
    most: Duration = Field(
        1800.0, gt=0, le=30 * 86400, description="Silence that always counts, unless the run is usually half as slow."
    )
    first_step: Duration = Field(
        2700.0, gt=0, le=30 * 86400, description="Time given for the first steps: loading, compiling, caching."
    )


class Pace:
    """The state of `stalled` for one attempt: when the last new step came, and how far apart steps are."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.phase_gaps: list[float] = []
        self.phase_steps: list[int] = []
        self.skipped = 0
        self.in_phase = False
        """Whether an evaluation or a checkpoint was seen since the last new step."""
        self.last_at: float | None = None
        """When the last new step came, if that is known for certain."""
        self.last_step: int | None = None
        self.interval = 1
        self.began_at: float | None = None
        self.told = 0
        """What was said of the present silence: 0 nothing, 1 a warning, 2 critical."""
        self.slept = 0.0
        """Seconds of the present silence that nobody was awake for: they say nothing about the run."""

    @property
    def since(self) -> float | None:
        """When the present silence began, if that is known."""
        if self.last_at is None and self.last_step is not None:
            return None
        return self.last_at if self.last_at is not None else self.began_at

    def limit(self, params: Stalled) -> float:
        """Return how long a silence may be now."""
        pool = list(self.gaps)
        if self.phase_gaps and self._phase_due():
            pool += self.phase_gaps
        g = max(pool, default=0.0)
        if len(self.gaps) < ENOUGH:
            return max(params.first_step, 2 * g)
        return max(params.least, 2 * g, min(5 * g, params.most))

    def _phase_due(self) -> bool:
        if self.in_phase or len(self.phase_steps) < 2 or self.last_step is None:
            return True
        every = median([float(b - a) for a, b in pairwise(self.phase_steps)])
        return self.last_step + self.interval >= self.phase_steps[-1] + every

    def check(self, params: Stalled, now: float) -> list[tuple[float, Firing]]:
        """Return what the silence until `now` says that was not said before: moments and firings."""
        if self.since is None or not params.enabled:
            return []
        since = self.since + self.slept
        if now - since < min(params.least, params.first_step):
            return []
        limit = self.limit(params)
        found = []
        for told, factor, severity in ((1, 1, Severity.WARNING), (2, 2, Severity.CRITICAL)):
            if self.told < told and now - since >= factor * limit:
                self.told = told
                found.append((since + factor * limit, self._firing(factor * limit, limit, severity)))
        return found

    def _firing(self, silence: float, limit: float, severity: Severity) -> Firing:
        where = "no first step" if self.last_step is None else f"no new step after step {self.last_step:,}"
        usual = f"; one usually takes {duration(median(self.gaps))}" if self.gaps else ""
        text = f"{where} for {duration(silence)}{usual} (limit {duration(limit)})."
        reason = f"stalled_{round(silence)}s"
        return Firing(
            "stalled", "step", silence, median(self.gaps) if self.gaps else None, limit, severity, reason, text
        )

    def began(self, at: float) -> None:
        """The run says that it is running; the first step may take its time from here."""
        if self.began_at is None and self.last_step is None:
            self.began_at, self.slept = at, 0.0

    def step(self, step: int, at: float, *, timed: bool) -> None:
        """A new highest step came. Only certain times make gaps: estimates would invent a pace."""
        if timed and self.last_at is not None and self.last_step is not None and at >= self.last_at:
            self._gap(max(0.0, at - self.last_at - self.slept))
        if self.last_step is not None:
            self.interval = max(1, step - self.last_step)
        self.last_step = step
        self.last_at = at if timed else None
        self.in_phase = False
        self.told, self.slept = 0, 0.0

    def _gap(self, gap: float) -> None:
        if self.skipped < WARM_UP:
            self.skipped += 1
        elif self.in_phase:
            self.phase_gaps = [*self.phase_gaps[1 - GAPS :], gap]
        elif not self.told:
            # A stall that ended is no pace to get used to.
            self.gaps = [*self.gaps[1 - GAPS :], gap]

    def phase(self, step: int) -> None:
        """An evaluation or a checkpoint of this step was seen: the gap around it is no ordinary one."""
        self.in_phase = True
        if not self.phase_steps or step > self.phase_steps[-1]:
            self.phase_steps = [*self.phase_steps[-9:], step]

    def pause(self) -> None:
        """The run rests on purpose: the silence until the next step means nothing."""
        self.last_at, self.began_at, self.told, self.slept = None, None, 0, 0.0

    def resume(self) -> None:
        """A new attempt: its first steps are slow again, the pace is otherwise the same."""
        self.pause()
        self.skipped, self.in_phase, self.last_step, self.phase_steps = 0, False, None, []

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        lists = {name: list(getattr(self, name)) for name in ("gaps", "phase_gaps", "phase_steps")}
        return vars(self) | lists

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
