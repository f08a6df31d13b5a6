"""What goes with an anomaly: the last values, the best one, and whether it asks for a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from smartmon.detectors.settings import JudgeSettings
from smartmon.detectors.signal import Firing
from smartmon.incidents import Incident
from smartmon.judge.around import Around
from smartmon.judge.causes import evidence
from smartmon.records import Anomaly, Json, Keep, Severity

HISTORIES = {"loss": "loss_history", "accuracy": "accuracy_history", "learning_rate": "lr_history"}

KEPT_AS_INFO = ("loss_spike", "accuracy_drop", "best_model", "divergence")
"""Kinds that ask for a snapshot even where nobody is woken."""


class _Run(Protocol):
    """What the evidence asks of the judge."""

    settings: JudgeSettings
    latest: dict[str, float]

    @property
    def attempt(self) -> int: ...
    @property
    def best_loss(self) -> float | None: ...
    @property
    def best_loss_step(self) -> int | None: ...

    @property
    def open_incidents(self) -> Sequence[Incident]: ...


class Evidence:
    """The last values of the metrics that snapshots show, and what of each kind was already kept or fired."""

    def __init__(self) -> None:
        self.histories: dict[str, list[float]] = {name: [] for name in HISTORIES.values()}
        self.steps: dict[str, int] = {}
        self.kept: dict[str, tuple[int, bool]] = {}
        """Kind -> step of the last anomaly that asked for a snapshot in this attempt, and whether it was only info."""
        self.fired: dict[str, tuple[int, int]] = {}
        """Kind and metric -> step and severity of the last anomaly."""
        self.around = Around()

    def remember(self, fresh: Mapping[str, float], step: int, window: int) -> None:
        """Keep the last `window` values; a step told again replaces its value."""
        self.around.remember(fresh, step)
        for metric, name in HISTORIES.items():
            value = fresh.get(metric)
            if value is None:
                continue
            history = self.histories[name]
            if history and self.steps.get(metric) == step:
                history.pop()
            history.append(value)
            if len(history) > window:
                del history[0]
            self.steps[metric] = step

    def anomaly(self, run: _Run, firing: Firing, step: int, at: float, historic: bool) -> Anomaly | None:
        """Return the anomaly of a firing; None when one of its kind was told for that step, unless this is graver."""
        name = f"{firing.kind}/{firing.metric}"
        before, rank = self.fired.get(name, (-1, -1))
        if before == step and rank >= firing.severity.rank:
            return None
        self.fired[name] = (step, firing.severity.rank)
        context: dict[str, Json] = {key: list(values) for key, values in self.histories.items()}
        context |= {"latest": dict(run.latest), "best_loss": run.best_loss, "best_loss_step": run.best_loss_step}
        if firing.severity is not Severity.INFO:
            began = next((one.start_step for one in run.open_incidents if one.kind == firing.kind), None)
            context |= evidence(self.around, firing, step, began)
        return Anomaly(
            kind=firing.kind,
            metric=firing.metric,
            step=step,
            at=at,
            value=firing.value,
            expected=firing.expected,
            limit=firing.limit,
            severity=firing.severity,
            reason=firing.reason,
            message=firing.message,
            attempt=run.attempt,
            historic=historic,
            onset_step=firing.onset_step,
            last_good_step=firing.last_good_step,
            keep=Keep.NO if historic else self._keep(run.settings, firing, step),
            context=context | dict(firing.evidence),
        )

    def _keep(self, settings: JudgeSettings, firing: Firing, step: int) -> Keep:
        kind, info = firing.kind, firing.severity is Severity.INFO
        # Of the other kinds, what wakes nobody is no reason to copy anything: a gradient that a loss scaler skipped.
        if kind not in settings.snapshot_kinds or (info and kind not in KEPT_AS_INFO):
            return Keep.NO
        phase = settings.phase(step)
        interval = settings.min_steps_between_saves
        if phase is not None and phase.min_steps_between_saves is not None:
            interval = phase.min_steps_between_saves
        last, was_info = self.kept.get(kind, (None, info))
        # What wakes nobody must not shut out what does: its snapshot also holds the last good checkpoint.
        if last is None or step - last >= interval or (was_info and not info):
            self.kept[kind] = (step, info)
            return Keep.NOW
        return Keep.HOLD if kind == "best_model" else Keep.NO

    def rescale(self, metric: str, factor: float) -> None:
        """Bring remembered values of a metric to their right unit."""
        name = HISTORIES.get(metric)
        if name is not None:
            self.histories[name] = [value * factor for value in self.histories[name]]

    def resume(self, step: int, previous: int) -> None:
        """A new attempt, from `step` after one that got to `previous`: the first of each kind is kept again."""
        self.kept, self.fired, self.steps = {}, {}, {}
        self.around.resume(step, previous)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "histories": {name: list(values) for name, values in self.histories.items()},
            "steps": dict(self.steps),
            "kept": {kind: list(pair) for kind, pair in self.kept.items()},
            "fired": {name: list(pair) for name, pair in self.fired.items()},
            "around": self.around.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.histories = {name: list(values) for name, values in state["histories"].items()}
        self.steps = dict(state["steps"])
        self.kept = {kind: (step, info) for kind, (step, info) in state["kept"].items()}
        self.fired = {name: (step, rank) for name, (step, rank) in state["fired"].items()}
        self.around.restore(state["around"])
