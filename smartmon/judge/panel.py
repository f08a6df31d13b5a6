"""The panel: the detectors that are all asked alike, each with the parameters that the settings hold for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from smartmon.detectors.base import Detector, Moment, Outcome
from smartmon.detectors.registry import PANEL, installed
from smartmon.detectors.settings import JudgeSettings
from smartmon.detectors.signal import Firing
from smartmon.judge.tracks import AVERAGES, GradTrack, LossTrack
from smartmon.records import HostSample, RunState, Severity, StatusReport


class _Run(Protocol):
    """What a moment takes from the judge."""

    settings: JudgeSettings
    latest: dict[str, float]
    total_steps: int | None

    @property
    def run_state(self) -> RunState: ...


def moment(
    run: _Run,
    loss: LossTrack,
    grad: GradTrack,
    *,
    step: int,
    at: float,
    fresh: Mapping[str, float],
    rewards: bool,
    timed: bool = True,
    historic: bool = False,
) -> Moment:
    """Return a row, or what is known without one, as the detectors see it."""
    return Moment(
        step=step,
        at=at,
        timed=timed,
        historic=historic,
        fresh=fresh,
        latest=run.latest,
        total_steps=run.total_steps,
        state=run.run_state,
        guard=run.settings.noise_guard,
        held=loss.hold > 0,
        rewards=rewards,
        loss=loss.score if math.isfinite(fresh.get("loss", math.nan)) else None,
        loss_level=loss.level,
        grad=grad.score if math.isfinite(fresh.get("grad_norm", math.nan)) else None,
        grad_level=grad.level,
        loss_open=loss.shift.open,
        averaged=loss.cadence.usual >= AVERAGES,
    )


class Panel:
    """The detectors of one run."""

    def __init__(self, settings: JudgeSettings) -> None:
        self._detectors = _made(settings, PANEL)
        self._readers = [detector for detector in self._detectors if detector.sees_rows]
        self._others = _made(settings, installed().detectors.values())

    @property
    def outlives(self) -> frozenset[str]:
        """The kinds whose open incidents stay open over a resume."""
        return frozenset(detector.kind for detector in (*self._detectors, *self._others) if detector.outlives)

    def observe(self, moment: Moment) -> Iterator[Outcome]:
        """Yield what the detectors say of one row."""
        for detector in self._readers:
            if not detector.metrics or not detector.metrics.isdisjoint(moment.fresh):
                yield from detector.observe(moment)
        yield from self._guests(lambda guest: guest.observe(moment), set(moment.fresh))

    def report(self, status: StatusReport, moment: Moment) -> Iterator[Outcome]:
        """Yield what the detectors say of what the run says of itself."""
        for detector in self._detectors:
            yield from detector.report(status, moment)
        yield from self._guests(lambda guest: guest.report(status, moment))

    def host(self, sample: HostSample, moment: Moment) -> Iterator[Outcome]:
        """Yield what the detectors say of the machine."""
        for detector in self._detectors:
            yield from detector.host(sample, moment)
        yield from self._guests(lambda guest: guest.host(sample, moment))

    def _guests(
        self, ask: Callable[[Detector], Iterable[Outcome]], fresh: Collection[str] | None = None
    ) -> Iterator[Outcome]:
        """Ask the detectors of other packages. One that fails leaves the panel, and the run's events say so."""
        for guest in list(self._others):
            if fresh is not None and guest.metrics and guest.metrics.isdisjoint(fresh):
                continue
            try:
                outcomes = list(ask(guest))
            except Exception as error:  # noqa: BLE001 - somebody else's code must not stop the watch
                self._others.remove(guest)
                text = f"the detector {guest.kind} failed ({error!r:.300}); it is off until smartmon starts again"
                yield Firing(guest.kind, "", None, None, None, Severity.INFO, f"{guest.kind}_failed", text)
            else:
                yield from outcomes

    def resume(self, step: int) -> None:
        """The run went back to a step."""
        for detector in (*self._detectors, *self._others):
            detector.resume(step)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {detector.kind: detector.state() for detector in (*self._detectors, *self._others)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`; a detector that the state does not know begins anew."""
        for detector in (*self._detectors, *self._others):
            if detector.kind in state:
                detector.restore(state[detector.kind])


def _made(settings: JudgeSettings, kinds: Iterable[type[Detector]]) -> list[Detector]:
    """Return the detectors that are switched on, with their parameters: the given ones, else the defaults."""
    with_params = ((kind, settings.detectors.section(kind.kind) or kind.Params()) for kind in kinds)
    return [kind(params) for kind, params in with_params if getattr(params, "enabled", True)]
