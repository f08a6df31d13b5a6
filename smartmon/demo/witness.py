"""Keeps what was provoked, what the daemon made of it, and when each was known, on one clock: ours."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Trouble:
    """Something that was provoked, and what came of it until the next thing was."""

    step: int
    what: str
    at: float
    """Seconds since the epoch, like all times here."""
    incidents: list[tuple[float, int, str]] = field(default_factory=list)
    """When we heard of each, its step and its kind."""
    alerts: list[float] = field(default_factory=list)
    """When each arrived."""


class Witness:
    """Writes down what it is told. Several threads tell it; each list has one of them."""

    def __init__(self) -> None:
        self.troubles: list[Trouble] = []
        self.titles: list[str] = []

    def provoked(self, what: str, step: int, at: float) -> None:
        """Take down that a trouble begins."""
        self.troubles.append(Trouble(step, what, at))

    def event(self, event: Mapping[str, Any]) -> None:
        """Take down an event of the daemon, under the trouble that came before its step."""
        if event["kind"] != "incident_opened":
            return
        before = [trouble for trouble in self.troubles if trouble.step <= event["step"]]
        if before:
            before[-1].incidents.append((time.time(), event["step"], event["data"]["kind"]))

    def alert(self, title: str) -> None:
        """Take down an alert, under the newest trouble."""
        self.titles.append(title)
        if self.troubles:
            self.troubles[-1].alerts.append(time.time())
