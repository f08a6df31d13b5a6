"""When smartmon itself looked, and by whose clock: so that sleep or a clock that was set looks like no stall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartmon.detectors.stalled import Pace
from smartmon.stats import median

LATE_CLOCK = 600.0
"""Seconds by which a row may be older than its first sight before its clock is not trusted for a stall."""
LOOKS = 3
"""Gaps between looks from which it is known how often smartmon looks."""
SHORT_SLEEP = 60.0


class Watch:
    """When smartmon itself looked: what it slept through, or a clock that was set, is no silence of the run."""

    def __init__(self) -> None:
        self.looked: float | None = None
        self.gaps: list[float] = []
        self.seen: tuple[int, float] | None = None
        """The newest step that a look saw, and how old it was then by its own clock."""

    def missed(self, since: float, now: float) -> float:
        """Return how much of the time from `since` to `now` passed without a look, though looks are frequent."""
        if self.looked is None or len(self.gaps) < LOOKS:
            return 0.0
        usual = max(SHORT_SLEEP, 6 * median(self.gaps))
        unseen = now - max(self.looked, since)
        return unseen if unseen > usual and since <= self.looked + usual else 0.0

    def look(self, pace: Pace, now: float) -> float:
        """Note a look; return the time as the rows' own clock has it, which may be wrong by hours."""
        since = pace.since
        if since is not None:
            pace.slept += self.missed(since, now)
        before, self.looked = self.looked, now
        if before is not None and now > before:
            self.gaps = [*self.gaps[1 - 5 :], now - before]
        elif before is not None and since is not None and since > now:
            # The clock was set back: the silence goes on from where it was.
            pace.slept += now - before
        if pace.last_at is None or pace.last_step is None:
            return now
        if self.seen is None or self.seen[0] != pace.last_step:
            self.seen = (pace.last_step, now - pace.last_at - pace.slept)
        lag = self.seen[1]
        return now - lag if lag > LATE_CLOCK else now

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {"looked": self.looked, "gaps": list(self.gaps), "seen": self.seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.looked, self.gaps = state["looked"], list(state["gaps"])
        self.seen = None if state["seen"] is None else (state["seen"][0], state["seen"][1])
