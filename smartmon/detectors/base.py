"""What a detector is: a section of parameters, a small state, and an answer to each row that concerns it.

The seven that the judge calls by hand (spikes, drops, divergence, ...) share levels and order; every other detector,
ours or of another package, is a `Detector` that the judge's panel calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from smartmon.detectors.noise import Level, Score
from smartmon.detectors.signal import Firing, Trace, Verdict
from smartmon.params import Params
from smartmon.records import HostSample, RunState, Severity, StatusReport


@dataclass(frozen=True, slots=True)
class Over:
    """What a detector had fired on is over: its open incident resolves."""

    kind: str
    text: str
    """Why, for a person: `back at 12,000 tokens/s`."""


Outcome = Firing | Over


@dataclass(slots=True)
class Moment:
    """One row as a detector sees it, with what the judge knows around it. Nothing in it may be kept or changed."""

    step: int
    at: float
    timed: bool
    """Whether `at` is a real time; an estimate is no ground for judging pace."""
    historic: bool
    fresh: Mapping[str, float]
    """What the row says that was not known: canonical name -> value. May hold NaN and infinities."""
    latest: Mapping[str, float]
    """The newest value of every metric of the run, this row's included."""
    total_steps: int | None
    state: RunState
    guard: bool
    """Whether the run's own noise decides severity (`--no-noise-guard` switches that off)."""
    held: bool
    """Whether statistical judgement rests, shortly after a resume or at the turn of an epoch."""
    rewards: bool
    """Whether the run is reinforcement learning: its loss means little, and may be zero or negative."""
    loss: Score | None
    """Where the row's loss stands against the level before it; None where it has no finite loss."""
    loss_level: Level
    """The level and noise of the loss, this row's included."""
    grad: Score | None
    """Where the row's gradient norm stands; None where it has no finite one."""
    grad_level: Level
    loss_open: Severity | None
    """The severity of the open divergence of the loss, if there is one."""
    averaged: bool
    """Whether one observation stands for ten steps or more."""
    trace: Trace = None

    def said(
        self, kind: str, metric: str, firing: Firing | None, text: str, *, expected: float | None = None,
        limit: float | None = None,
    ) -> None:  # fmt: skip
        """Leave a verdict for `smartmon why`, if somebody asks; `text` says what was seen where nothing fired."""
        if self.trace is None:
            return
        if firing is not None:
            expected, limit, text = firing.expected, firing.limit, firing.message
        severity = None if firing is None else firing.severity
        value = self.fresh.get(metric, self.latest.get(metric))
        self.trace.append(Verdict(kind, metric, value, expected, limit, firing is not None, severity, text))


class Detector:
    """The base of every detector on the panel. All attributes but `params` are its state and must be plain JSON.

    NaN and the infinities are allowed in the state; tuples come back as lists. A detector never raises for bad data,
    reads no clock, and keeps its state bounded.
    """

    kind: ClassVar[str]
    Params: ClassVar[type[Params]]
    metrics: ClassVar[frozenset[str]] = frozenset()
    """Rows with none of these metrics are not shown to it. Empty: it sees every row."""
    sees_rows: ClassVar[bool] = True
    """Whether it judges rows at all, and not only the machine or what the run says of itself."""
    outlives: ClassVar[bool] = False
    """Whether its open incident stays open over a resume of the run."""

    def __init__(self, params: Any) -> None:
        self.params = params

    def observe(self, moment: Moment) -> Iterable[Outcome]:  # noqa: ARG002
        """Judge one row and learn it."""
        return ()

    def report(self, status: StatusReport, moment: Moment) -> Iterable[Outcome]:  # noqa: ARG002
        """Judge what the run says of itself; `moment` has no fresh metrics."""
        return ()

    def host(self, sample: HostSample, moment: Moment) -> Iterable[Outcome]:  # noqa: ARG002
        """Judge the machine: live only, some times a minute; `moment` has no fresh metrics."""
        return ()

    def resume(self, step: int) -> None:
        """Note that the run went back to a step, which is going to be told again."""

    def state(self) -> dict[str, Any]:
        """Return everything but the parameters."""
        return {name: value for name, value in vars(self).items() if name != "params"}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
