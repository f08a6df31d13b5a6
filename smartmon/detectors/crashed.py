"""`crashed`: the run says that it died, or keeps starting over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from smartmon.detectors.signal import Firing
from smartmon.params import Duration, Params
from smartmon.records import Severity
from smartmon.text import duration

_MEMORY = re.compile(r"out of memory|OutOfMemory|\boom\b|cannot allocate memory", re.IGNORECASE)


class Crashed(Params):
    """Fires when the status says that the run crashed, and when it keeps starting over without getting further.

    A crash loop is `loop_attempts` attempts in a row without a new highest step, or `loop_count` within `loop_window`.
    Always critical. Gets wrong: someone who starts a run by hand again and again looks like a loop.
    """

    enabled: bool = Field(True, description="Whether to report crashes and crash loops.")
    loop_attempts: int = Field(
        3, ge=2, le=1000, description="Attempts without a new highest step that make a crash loop."
    )
    loop_count: int = Field(5, ge=2, le=1000, description="Attempts within loop_window that make a crash loop.")
    loop_window: Duration = Field(
        1800.0, gt=0, le=7 * 86400, description="Time in which loop_count attempts are counted."
    )


class Attempts:
    """The state of the crash loop: how far earlier attempts got, and when they began."""

    def __init__(self) -> None:
        self.highest = -1
        self.fruitless = 0
        self.starts: list[float] = []

    def reached(self, step: int) -> None:
        """Note a step; a new highest one ends every loop."""
        if step > self.highest:
            self.highest = step
            self.fruitless = 0

    def began(self, params: Crashed, at: float, *, timed: bool) -> Firing | None:
        """Note that an attempt after the first began."""
        self.fruitless += 1
        if timed:
            self.starts = [t for t in self.starts if at - t <= params.loop_window] + [at]
            self.starts = self.starts[-params.loop_count :]
        if not params.enabled:
            return None
        if self.fruitless >= params.loop_attempts:
            text = f"the run started over {self.fruitless} times without getting past step {self.highest:,}."
        elif len(self.starts) >= params.loop_count:
            text = f"the run started over {len(self.starts)} times within {duration(params.loop_window)}."
        else:
            return None
        return Firing("crashed", "step", None, None, None, Severity.CRITICAL, "crashed_loop", f"Crash loop: {text}")

    def looping(self, params: Crashed) -> bool:
        """Whether a crash loop is not over: moving is not enough, as it moved before each crash."""
        return self.fruitless >= params.loop_attempts

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return vars(self) | {"starts": list(self.starts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)


def crash(error_type: str, error_message: str, step: int | None) -> Firing:
    """Return the firing for a run that says it died, in its own words."""
    memory = _MEMORY.search(f"{error_type} {error_message}")
    word = "OOM" if memory else re.sub(r"\W+", "_", error_type.rsplit(".", 1)[-1]).strip("_")[:40] or "error"
    lines = [line.strip() for line in error_message.splitlines() if line.strip()]
    # The last line of a traceback says what happened, and the message quotes those before it.
    told = lines[-1] if lines and lines[0].startswith("Traceback") else error_message
    said = ": ".join(part for part in (error_type, told) if part) or "it gave no error"
    where = "" if step is None else f" at step {step:,}"
    text = f"the run crashed{where}: {said[:500]}"
    evidence = {"error_type": error_type, "error_message": error_message[:2000]}
    return Firing("crashed", "step", None, None, None, Severity.CRITICAL, f"crashed_{word}", text, evidence=evidence)
