"""The accuracies of one run: each judged against its own past, and the one incident that they share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from smartmon.detectors.settings import JudgeSettings
from smartmon.detectors.signal import Firing, Trace
from smartmon.incidents import Incidents
from smartmon.judge.calm import calm_accuracy
from smartmon.judge.intake import ACCURACIES
from smartmon.judge.tracks import AccuracyTrack
from smartmon.records import IncidentChange, Observation

KIND = "accuracy_drop"


class Accuracies:
    """What is known of each accuracy."""

    def __init__(self) -> None:
        self.tracks: dict[str, AccuracyTrack] = {}

    def judge(
        self,
        settings: JudgeSettings,
        incidents: Incidents,
        obs: Observation,
        fresh: Mapping[str, float],
        trace: Trace,
    ) -> tuple[list[Firing], list[IncidentChange]]:
        """Test the accuracies of a row; return what fired, and what of their incident is over."""
        firings: list[Firing] = []
        changes: list[IncidentChange] = []
        for metric in ACCURACIES:
            value = fresh.get(metric)
            if value is None or not math.isfinite(value):
                continue
            if "loss" not in fresh:
                incidents.points += 1
            track = self.tracks.setdefault(metric, AccuracyTrack())
            firing = track.judge(settings, metric, obs.step, value, trace=trace)
            firings += [firing] if firing is not None else []
            incident = incidents.open(KIND)
            if incident is not None and incident.metric == metric:
                changes += calm_accuracy(incidents, obs, value, settings.detectors.accuracy_drop.threshold, track)
        return firings, changes

    def rescale(self, incidents: Incidents, metric: str, obs: Observation) -> tuple[bool, list[IncidentChange]]:
        """Forget an accuracy that was known in the wrong unit; return whether it was, and the end of its incident."""
        known = self.tracks.pop(metric, None) is not None
        incident = incidents.open(KIND)
        if incident is None or incident.metric != metric:
            return known, []
        return known, incidents.resolve(KIND, obs.at, obs.step, f"{metric} turned out to be in percent")

    def resume(self, step: int) -> None:
        """The run went back to a step."""
        for track in self.tracks.values():
            track.resume(step)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {metric: track.state() for metric, track in self.tracks.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        for metric, row in state.items():
            self.tracks[metric] = AccuracyTrack()
            self.tracks[metric].restore(row)
