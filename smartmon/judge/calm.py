"""When an incident is over: how calm its metric has been since."""

from __future__ import annotations

import math

from smartmon.incidents import Incidents
from smartmon.judge.tracks import AccuracyTrack, LossTrack
from smartmon.records import IncidentChange, Observation

CALM = 20
"""Calm observations after which an incident of the loss, or a non-finite one, is over."""
CALM_ACCURACY = 3
ALIVE_AGAIN = 20
"""Observations after a crash that say the run is well again."""


def calm_loss(
    incidents: Incidents, track: LossTrack, obs: Observation, loss: float, *, hidden: bool, moving: bool
) -> list[IncidentChange]:
    """Count one loss towards the end of each open incident that the loss decides.

    `hidden` says that NaN may still hide behind zeros or in the gradients; `moving` that the run does not rest.
    """
    found: list[IncidentChange] = []
    if not incidents.by_kind:
        return found
    for kind in ("loss_spike", "divergence"):
        incident = incidents.open(kind)
        if incident is not None and incidents.calm(kind, CALM, calm=track.calm):
            settled = track.settled(incident.expected)
            text = settled or f"recovered after {obs.step - incident.start_step:,} steps"
            found += incidents.resolve(kind, obs.at, obs.step, text)
    incident = incidents.open("nonfinite")
    # A non-finite evaluation loss is over when the next one is finite, another loss when its own detector says so.
    if incident is not None and incident.metric in ("loss", "grad_norm"):
        bad = not math.isfinite(loss) or hidden
        if incidents.calm("nonfinite", CALM, calm=not bad):
            text = f"finite again after {obs.step - incident.start_step:,} steps"
            found += incidents.resolve("nonfinite", obs.at, obs.step, text)
    if moving and incidents.calm("crashed", ALIVE_AGAIN, calm=True):
        found += incidents.resolve("crashed", obs.at, obs.step, f"training again at step {obs.step:,}")
    return found


def calm_accuracy(
    incidents: Incidents, obs: Observation, value: float, threshold: float, track: AccuracyTrack
) -> list[IncidentChange]:
    """Count one accuracy towards the end of its open drop: back within half the margin, or calm on a new level."""
    incident = incidents.open("accuracy_drop")
    if incident is None:
        return []
    back = not track.drops.down and (incident.expected is None or value >= incident.expected - threshold / 2)
    if not incidents.calm("accuracy_drop", CALM_ACCURACY, calm=back or track.in_noise):
        return []
    text = f"{'back' if back else 'settled'} at {value:.1f} %"
    return incidents.resolve("accuracy_drop", obs.at, obs.step, text)
