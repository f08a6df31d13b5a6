"""Everything that decides a verdict, as config sections; and the named sets of it that `--profile` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from smartmon.detectors import registry
from smartmon.detectors.accuracy_drop import AccuracyDrop
from smartmon.detectors.best_model import BestModel
from smartmon.detectors.collapse import Collapse
from smartmon.detectors.crashed import Crashed
from smartmon.detectors.dead_expert import DeadExpert
from smartmon.detectors.disk_full_soon import DiskFullSoon
from smartmon.detectors.divergence import Divergence
from smartmon.detectors.frozen_metric import FrozenMetric
from smartmon.detectors.gpu_hot import GpuHot
from smartmon.detectors.grad_explosion import GradExplosion
from smartmon.detectors.grad_vanish import GradVanish
from smartmon.detectors.loss_spike import LossSpike
from smartmon.detectors.lr_jump import LrJump
from smartmon.detectors.memory_low import MemoryLow
from smartmon.detectors.nonfinite import NonFinite
from smartmon.detectors.overfit import Overfit
from smartmon.detectors.plateau import Plateau
from smartmon.detectors.prediction_mismatch import PredictionMismatch
from smartmon.detectors.resume_regression import ResumeRegression
from smartmon.detectors.slow_divergence import SlowDivergence
from smartmon.detectors.stalled import Stalled
from smartmon.detectors.throughput_drop import ThroughputDrop
from smartmon.params import Duration, Params


class Detectors(Params):
    """One section for each detector."""

    loss_spike: LossSpike = Field(LossSpike(), description="A loss far above the mean of the last ones.")
    accuracy_drop: AccuracyDrop = Field(AccuracyDrop(), description="An accuracy far below the mean of the last ones.")
    best_model: BestModel = Field(BestModel(), description="A new lowest loss.")
    divergence: Divergence = Field(Divergence(), description="A loss that keeps rising, stays up, or runs away.")
    slow_divergence: SlowDivergence = Field(
        SlowDivergence(), description="A loss that drifts away from its best level too slowly to stand out."
    )
    nonfinite: NonFinite = Field(NonFinite(), description="NaN, infinity, and NaN hidden by the trainer's log.")
    collapse: Collapse = Field(
        Collapse(), description="A loss that drops to about 0, or rewards that teach nothing any more."
    )
    overfit: Overfit = Field(Overfit(), description="An evaluation loss that gets worse while training gets better.")
    resume_regression: ResumeRegression = Field(
        ResumeRegression(), description="A loss that is worse after a resume than it was at the same steps."
    )
    plateau: Plateau = Field(Plateau(), description="A loss that falls no more.")
    frozen_metric: FrozenMetric = Field(FrozenMetric(), description="A metric that repeats one old value.")
    grad_explosion: GradExplosion = Field(GradExplosion(), description="A gradient norm far above its level.")
    grad_vanish: GradVanish = Field(GradVanish(), description="A gradient norm of almost nothing, or of exactly 0.")
    lr_jump: LrJump = Field(LrJump(), description="A learning rate that jumps, or is 0 before the schedule is over.")
    throughput_drop: ThroughputDrop = Field(ThroughputDrop(), description="Steps that take much longer than before.")
    stalled: Stalled = Field(Stalled(), description="No new step for far longer than the run's own pace.")
    crashed: Crashed = Field(Crashed(), description="The run says that it died, or keeps starting over.")
    dead_expert: DeadExpert = Field(DeadExpert(), description="Experts of a mixture that get no tokens any more.")
    prediction_mismatch: PredictionMismatch = Field(
        PredictionMismatch(), description="Right answers with high losses, wrong ones with low."
    )
    disk_full_soon: DiskFullSoon = Field(DiskFullSoon(), description="The trainer's disk is full, or soon will be.")
    memory_low: MemoryLow = Field(MemoryLow(), description="The machine runs out of memory.")
    gpu_hot: GpuHot = Field(GpuHot(), description="A GPU so hot that it slows itself down.")

    _installed: dict[str, Params] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _with_installed(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Take the sections of detectors that other packages bring out, and let their own models read them."""
        found: dict[str, Params] = {}
        if isinstance(data, Mapping):
            for kind in [name for name in data if name not in cls.model_fields]:
                try:
                    params = registry.section(kind, data[kind])
                except ValidationError as error:
                    first = error.errors(include_url=False, include_input=False)[0]
                    where = ".".join(map(str, (kind, *first["loc"])))
                    raise ValueError(f"{where}: {first['msg']}") from None
                if params is not None:
                    found[kind] = params
            data = {name: value for name, value in data.items() if name not in found}
        made = handler(data)
        made._installed.update(found)
        return made

    @model_serializer(mode="wrap")
    def _all_sections(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        shown: dict[str, Any] = handler(self)
        return shown | {kind: params.model_dump(mode="json") for kind, params in self._installed.items()}

    @property
    def installed(self) -> Mapping[str, Params]:
        """The sections of detectors from other packages that were given."""
        return self._installed

    def section(self, kind: str) -> Params | None:
        """Return the section of a detector; None for one of another package that was given none."""
        found = getattr(self, kind, None) if kind in type(self).model_fields else self._installed.get(kind)
        return found if isinstance(found, Params) else None


class Phase(Params):
    """Other thresholds for the first part of a run."""

    until_step: int = Field(gt=0, description="Last step of this phase; it begins after the phase before it.")
    loss_spike_threshold: float | None = Field(None, gt=0, le=1000, description="In place of loss_spike.threshold.")
    accuracy_drop_threshold: float | None = Field(
        None, gt=0, le=100, description="In place of accuracy_drop.threshold."
    )
    min_steps_between_saves: int | None = Field(None, ge=0, description="In place of min_steps_between_saves.")


SNAPSHOT_KINDS = (
    *("loss_spike", "accuracy_drop", "best_model", "divergence", "nonfinite"),
    *("slow_divergence", "grad_explosion", "overfit", "collapse", "resume_regression"),
)
"""Kinds of anomaly that ask for a snapshot: those where a checkpoint is worth keeping."""


class JudgeSettings(Params):
    """Everything that decides what is an anomaly, how much it matters, and who hears of it."""

    loss_window: int = Field(
        10,
        ge=3,
        le=1000,
        description="Losses that divergence looks at, and refusals in a row after which a level is normal.",
    )
    noise_guard: bool = Field(
        True,
        description="Whether the run's own noise decides severity; off: spikes and drops warn, divergence is critical.",
    )
    min_steps_between_saves: int = Field(
        500, ge=0, description="Steps between two snapshots of one kind in one attempt; the first is always kept."
    )
    phases: tuple[Phase, ...] = Field(
        (), description="Other thresholds for the first part of a run, in order of steps."
    )
    detectors: Detectors = Field(Detectors(), description="One section for each detector.")
    reminder: Duration = Field(14400.0, gt=0, description="Time between reminders while an incident is critical.")
    accuracy_unit: Literal["auto", "percent", "fraction"] = Field(
        "auto", description='Unit of logged accuracies; "auto": fractions until one exceeds 1.'
    )
    snapshot_kinds: tuple[str, ...] = Field(SNAPSHOT_KINDS, description="Kinds of anomaly that ask for a snapshot.")

    @model_validator(mode="after")
    def _phases_follow_each_other(self) -> Self:
        ends = [phase.until_step for phase in self.phases]
        if ends != sorted(set(ends)):
            raise ValueError("phases must be in order, each with a later until_step than the one before")
        return self

    def phase(self, step: int) -> Phase | None:
        """Return the phase that a step falls into, if any."""
        return next((phase for phase in self.phases if step <= phase.until_step), None)


PROFILES: dict[str, dict[str, Any]] = {
    "conservative": {"loss_spike_threshold": 0.1, "accuracy_drop_threshold": 5.0, "min_steps_between_saves": 250},
    "moderate": {},
    "aggressive": {"loss_spike_threshold": 0.5, "accuracy_drop_threshold": 20.0, "min_steps_between_saves": 1000},
    "early": {"phases": [{"until_step": 5000, "loss_spike_threshold": 0.5, "accuracy_drop_threshold": 5.0}]},
    "stable": {"loss_spike_threshold": 0.3, "accuracy_drop_threshold": 10.0},
    "fine-tune": {"loss_spike_threshold": 0.1, "min_steps_between_saves": 1000},
}
"""What each profile sets, in the words of the command line."""


def apply_profile(name: str) -> dict[str, Any]:
    """Return what a profile sets as a partial `JudgeSettings` (nested); raise KeyError for an unknown name."""
    wanted = PROFILES[name]
    partial: dict[str, Any] = {key: wanted[key] for key in ("min_steps_between_saves", "phases") if key in wanted}
    sections = {
        kind: {"threshold": wanted[f"{kind}_threshold"]}
        for kind in ("loss_spike", "accuracy_drop")
        if f"{kind}_threshold" in wanted
    }
    return partial | ({"detectors": sections} if sections else {})
