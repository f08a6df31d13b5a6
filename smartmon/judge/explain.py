"""Why a step was judged as it was: what each detector saw there."""

from __future__ import annotations

from collections.abc import Iterable

from smartmon.detectors.settings import JudgeSettings
from smartmon.detectors.signal import Verdict
from smartmon.judge.core import Judge
from smartmon.records import Observation


def explain(observations: Iterable[Observation], settings: JudgeSettings, step: int) -> list[Verdict]:
    """Judge a run from its start and return the verdicts at a step, those of its last attempt that had it.

    Nothing is stored and nobody is told. The list is empty when no observation has that step.
    """
    judge = Judge(settings)
    verdicts: list[Verdict] = []
    attempt = 1
    for obs in observations:
        judged = judge.observe(obs, trace=obs.step == step)
        if judged.verdicts:
            if judged.attempt != attempt:
                verdicts = []
            attempt = judged.attempt
            verdicts += judged.verdicts
    return verdicts
