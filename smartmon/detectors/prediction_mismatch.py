"""`prediction_mismatch`: samples whose answers and losses do not belong together."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from smartmon import stats
from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Json, Severity, StatusReport
from smartmon.text import number

SEEN = 60
"""Samples that are recognised when a status tells them again."""
SIDE = 3
"""Right and wrong answers there must be to compare them."""
CLEAR = 1.25
"""Times as high as the wrong ones' the loss of the right ones must be."""
OVER_Z = 1.0


class PredictionMismatch(Params):
    """Fires when, over the last `samples` golden samples of the status (10 at least), right answers have higher losses
    than wrong ones: by the rank sum of Mann and Whitney (1947), `z = (U - n1 n2 / 2) / sqrt(n1 n2 (n + 1) / 12)`, at
    least `sigmas`, and by a quarter in the median. Or when nearly all are right at a median loss above `high`, or
    nearly all wrong at one below `low`. Or when more than half of the wrong answers differ from the golden one in
    space, case or final dot only. All of these hint at the prompt template, the labels, or the comparison.

    Info; a warning when the first rule still says so with a whole new set of samples. The loss is the sample's own
    where `recent_examples` tell it, else the run's at that moment, which is that of a whole batch and says less. Gets
    wrong: a loss taken over long prompts is high for right answers too.
    """

    enabled: bool = Field(True, description="Whether to compare the answers to golden samples with their losses.")
    samples: int = Field(20, ge=10, le=50, description="Samples that are looked at together.")
    sigmas: float = Field(
        2.5, ge=1, le=10, description="Deviations by which right answers must rank above wrong ones in their loss."
    )
    high: float = Field(3.0, gt=0, description="Loss above which right answers are a surprise.")
    low: float = Field(0.05, gt=0, description="Loss below which wrong answers are a surprise.")


class Mismatch(Detector):
    """The state of `prediction_mismatch`: the last samples, and which were seen."""

    kind: ClassVar[str] = "prediction_mismatch"
    Params = PredictionMismatch
    # No row concerns it: it goes by what the status reports.
    metrics = frozenset({"answer_matches"})

    def __init__(self, params: PredictionMismatch) -> None:
        super().__init__(params)
        self.samples: list[list[float]] = []
        """Right (1 or 0), loss, and whether it is wrong by spelling only."""
        self.seen: list[str] = []
        self.new = 0
        """Samples since the first rule began to hold."""
        self.told: list[str] = []
        """The rules that were told and hold still; `warning` among them."""

    def report(self, status: StatusReport, moment: Moment) -> Iterable[Outcome]:
        """Take the samples of a status that were not seen yet, and judge them."""
        if "answer_matches" not in status.extras and "recent_examples" not in status.extras:
            return ()
        fresh = [sample for sample in _samples(status, moment) if self._first_sight(sample[0])]
        if not fresh:
            return ()
        found: list[Outcome] = []
        for _, right, loss, spelling in fresh:
            self.samples = [*self.samples[1 - self.params.samples :], [float(right), loss, float(spelling)]]
            self.new += 1
            found += self._judge(moment)
        return found

    def _first_sight(self, key: str) -> bool:
        if key in self.seen:
            return False
        self.seen = [*self.seen[1 - SEEN :], key]
        return True

    def _judge(self, moment: Moment) -> list[Outcome]:
        if len(self.samples) < 10:
            return []
        right = [loss for matches, loss, _ in self.samples if matches]
        wrong = [loss for matches, loss, _ in self.samples if not matches]
        z = _rank_z(right, wrong) if min(len(right), len(wrong)) >= SIDE else 0.0
        found = self._turned(moment, right, wrong, z)
        found += self._flat(moment, right, wrong)
        found += self._spelling(moment, wrong)
        return found

    def _turned(self, moment: Moment, right: list[float], wrong: list[float], z: float) -> list[Outcome]:
        """Judge whether right answers have the higher losses."""
        if z < OVER_Z:
            gone, self.told = "warning" in self.told, [rule for rule in self.told if rule not in ("turned", "warning")]
            return [Over(self.kind, "right answers no longer have the higher losses")] if gone else []
        there = bool(right and wrong) and stats.median(right) >= CLEAR * stats.median(wrong)
        if z < self.params.sigmas or not there:
            return []
        severity = Severity.INFO
        if "turned" not in self.told:
            self.told, self.new = [*self.told, "turned"], 0
        elif self.new >= self.params.samples and "warning" not in self.told:
            self.told, severity = [*self.told, "warning"], Severity.WARNING
        else:
            return []
        text = (
            f"right answers have the higher losses: median {number(stats.median(right))} for {len(right)} right ones, "
            f"{number(stats.median(wrong))} for {len(wrong)} wrong ones ({z:.1f} deviations) by step {moment.step:,}: "
            "labels, prompt template and evaluation may not belong together."
        )
        reason = "prediction_mismatch_turned"
        return [self._firing(stats.median(right), stats.median(wrong), severity, reason, text)]

    def _flat(self, moment: Moment, right: list[float], wrong: list[float]) -> list[Outcome]:
        """Judge whether nearly all are right at a high loss, or wrong at a low one."""
        nearly = 0.9 * len(self.samples)
        surprised = len(right) >= nearly and stats.median(right) > self.params.high
        certain = len(wrong) >= nearly and stats.median(wrong) < self.params.low
        for rule, holds, losses, word in (("high", surprised, right, "right"), ("low", certain, wrong, "wrong")):
            if not holds:
                self.told = [name for name in self.told if name != rule]
            elif rule not in self.told:
                self.told = [*self.told, rule]
                meaning = (
                    "the loss may be taken over the prompt too, or on other data than these samples"
                    if word == "right"
                    else "these samples may be asked with another template than the one that is trained on"
                )
                text = (
                    f"{len(losses)} of the last {len(self.samples)} answers are {word} at a median loss of "
                    f"{number(stats.median(losses))} by step {moment.step:,}: {meaning}."
                )
                reason = f"prediction_mismatch_{word}_at_{rule}_loss"
                limit = self.params.high if word == "right" else self.params.low
                return [self._firing(stats.median(losses), limit, Severity.INFO, reason, text)]
        return []

    def _spelling(self, moment: Moment, wrong: list[float]) -> list[Outcome]:
        """Judge whether the comparison counts answers as wrong that are right but for their spelling."""
        spelt = sum(spelling > 0 for _, _, spelling in self.samples)
        if spelt < SIDE or 2 * spelt <= len(wrong):
            self.told = [name for name in self.told if name != "spelling"]
            return []
        if "spelling" in self.told:
            return []
        self.told = [*self.told, "spelling"]
        text = (
            f"{spelt} of {len(wrong)} wrong answers by step {moment.step:,} differ from the golden one in space, case "
            "or final dot only: they may well be right, and the accuracy higher than it is logged."
        )
        return [self._firing(float(spelt), float(len(wrong)), Severity.INFO, "prediction_mismatch_spelling", text)]

    def _firing(self, value: float, expected: float, severity: Severity, reason: str, text: str) -> Firing:
        evidence = {"samples": [list(row) for row in self.samples]}
        return Firing(self.kind, "answer_matches", value, expected, None, severity, reason, text, evidence=evidence)

    def resume(self, step: int) -> None:  # noqa: ARG002
        """The run went back: its samples are told again, by other weights."""
        self.samples, self.seen, self.told, self.new = [], [], [], 0

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
        self.samples = [list(row) for row in self.samples]


def _samples(status: StatusReport, moment: Moment) -> Iterator[tuple[str, bool, float, bool]]:
    """Yield each sample of a status that tells what is needed: its key, right or not, its loss, and spelling."""
    extras = status.extras
    examples = extras.get("recent_examples")
    own = [example for example in examples if isinstance(example, Mapping)] if isinstance(examples, list) else []
    usable = [sample for example in own if (sample := _example(example)) is not None]
    if usable:
        yield from usable
        return
    said = {"golden": extras.get("golden_answer"), "answer": extras.get("model_answer")}
    sample = _sample(
        status.step, extras.get("current_prompt"), said, extras.get("answer_matches"), moment.latest.get("loss")
    )
    if sample is not None:
        yield sample


def _example(example: Mapping[str, Json]) -> tuple[str, bool, float, bool] | None:
    said = {"golden": example.get("golden"), "answer": example.get("model_output", example.get("predicted"))}
    return _sample(example.get("step"), example.get("prompt"), said, example.get("matches"), example.get("loss"))


def _sample(
    step: Json, prompt: Json, said: Mapping[str, Json], matches: Json, loss: Json
) -> tuple[str, bool, float, bool] | None:
    if not isinstance(matches, bool) or isinstance(loss, bool) or not isinstance(loss, int | float):
        return None
    if not math.isfinite(loss):
        return None
    golden, answer = said["golden"], said["answer"]
    told = repr((step, prompt, golden, answer))
    key = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    spelling = not matches and isinstance(golden, str) and isinstance(answer, str) and _plain(golden) == _plain(answer)
    return key, matches, float(loss), spelling


def _plain(text: str) -> str:
    """Return a text without what a person would not call a difference."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".").casefold()


def _rank_z(right: list[float], wrong: list[float]) -> float:
    """Return how many deviations the right ones rank above the wrong ones; ties count half."""
    n1, n2 = len(right), len(wrong)
    above = sum((r > w) + 0.5 * (r == w) for r in right for w in wrong)
    return (above - n1 * n2 / 2) / math.sqrt(n1 * n2 * (n1 + n2 + 1) / 12)
