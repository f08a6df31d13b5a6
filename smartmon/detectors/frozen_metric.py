"""`frozen_metric`: a metric that repeats one value to its last digit although it never did so before."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import Field

from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.stats import median
from smartmon.text import number

BLOCK = 30
"""Values of which half must differ from all others, before their metric can be told to be frozen."""
ENOUGH = 20
EVALS = 10
"""Evaluations that are remembered."""
KNOWN_EVALS = 4
TRAIN, EVAL, DISCRETE = "train", "eval", "discrete"
"""What repeats by chance only in a long time; evaluations; and those that count, which repeat once all is learned."""
MOST = {TRAIN: 4, EVAL: 6, DISCRETE: 4}
"""Metrics of each sort that are looked at: those that come first."""
DIGITS = 10.0
"""Times its last digit by which a metric must have moved: what moves less is rounded to the same value."""
DECAYED = 0.01
"""Share of the peak learning rate below which nothing has to change."""

_EVAL = re.compile(r"^(eval|val|valid|validation|test|metrics)(?=[_/. ])|/val(?=[_/])")
_DISCRETE = re.compile(r"acc|precision|recall|f1|exact|match|correct|win|success|auc|bleu|wer|cer|rouge")
_CONTINUOUS = re.compile(r"loss|perplexity|ppl|map|nll|bpb|entropy|reward")


class FrozenMetric(Params):
    """Fires when a metric has the same value to its last digit `times` times (evaluations: `eval_times`) in a row.

    Only where that is new: at least half of the values before, in blocks of 30, must all have been different (of
    evaluations: all but one of the last ten, at least four), and have moved by ten times their last digit. Warning:
    the log repeats an old value, or the weights no longer change. Watched: loss, gradient norm, losses and scores of
    evaluations, at most 14 metrics; never settings, counters, rates, times. Not told: 0, what repeats once the learning
    rate is below 1 % of its peak, and a score that counts (accuracy, F1), which may rest while a loss of its kind moves
    (alone it must repeat twice as often as others). Gets wrong: an evaluation of weights that are frozen on purpose.
    """

    enabled: bool = Field(True, description="Whether to look for metrics that stopped changing.")
    times: int = Field(10, ge=3, le=10_000, description="Equal values in a row of a training metric that are sent.")
    eval_times: int = Field(3, ge=2, le=1000, description="Equal values in a row of an evaluation that are sent.")


class Repeats:
    """One metric: its last value, how often that came, and how varied it was before."""

    def __init__(self) -> None:
        self.value = math.nan
        self.same = 0
        self.since = 0
        """The step at which the value first came."""
        self.before: list[float] = []
        """Training: the different values of the block under way. Evaluations: the last ones that were not repeats."""
        self.counted = 0
        """Values in the block under way."""
        self.repeated: list[int] = []
        """Evaluations: whether each of the last ones was seen among those before it."""
        self.varied: bool | None = None
        """Whether the last full block was varied; None before the first."""
        self.told = False

    def change(self, value: float, step: int, *, block: bool) -> None:
        """Take another value: what came so often until now belongs to what is known."""
        if self.same:
            self._remember(block=block)
        self.value, self.same, self.since, self.told = value, 1, step, False

    def _remember(self, *, block: bool) -> None:
        if not block:
            self.repeated = [*self.repeated, int(self.value in self.before), *[1] * min(EVALS, self.same - 1)][-EVALS:]
            self.before = [*self.before[1 - EVALS :], self.value]
            return
        self.counted += self.same
        if self.value not in self.before:
            self.before.append(self.value)
        if self.counted >= BLOCK:
            self.varied = self._block_varied()
            self.before, self.counted = [], 0

    @property
    def known(self) -> bool:
        """Whether enough came to say whether it is varied."""
        return self.varied is not None or len(self.repeated) >= KNOWN_EVALS

    def was_varied(self) -> bool:
        """Whether the values of a training metric before this one were mostly different, and not by rounding alone."""
        if self.counted >= ENOUGH:
            return self.varied is not False and self._block_varied()
        return self.varied is True

    def _block_varied(self) -> bool:
        return 2 * len(self.before) >= self.counted and _moves(self.before)

    def was_moving(self) -> bool:
        """Whether the evaluations before this value were different, and by more than their last digit."""
        if len(self.repeated) < KNOWN_EVALS or sum(self.repeated) > 1 or self.value in self.before:
            return False
        return _moves(self.before)


class FrozenMetrics(Detector):
    """The metrics of a run that have to change from one observation to the next."""

    kind: ClassVar[str] = "frozen_metric"
    Params = FrozenMetric

    params: FrozenMetric

    def __init__(self, params: FrozenMetric) -> None:
        super().__init__(params)
        self.tracks: dict[str, Repeats] = {}
        self.sorts: dict[str, int] = {}
        """How many metrics of each sort there are."""
        self.peak_rate = 0.0

    def observe(self, moment: Moment) -> Iterator[Outcome]:
        """Judge each metric of the row that is watched."""
        rate = moment.fresh.get("learning_rate", 0.0)
        if rate > self.peak_rate and rate < math.inf:
            self.peak_rate = rate
        thawed = False
        for name, value in moment.fresh.items():
            what = sort_of(name)
            if not what or not math.isfinite(value):
                continue
            repeats = self.tracks.get(name) or self._new(name, what)
            if repeats is None:
                continue
            firing = None
            if value != repeats.value:
                thawed = thawed or repeats.told
                repeats.change(value, moment.step, block=what == TRAIN)
            else:
                repeats.same += 1
                firing = self._frozen(repeats, name, what, moment)
            if firing is not None:
                yield firing
            if moment.trace is not None and repeats.known:
                text = "it changed" if repeats.same == 1 else f"the same value {repeats.same} times in a row"
                moment.said(self.kind, name, firing, text)
        if thawed and not any(repeats.told for repeats in self.tracks.values()):
            yield Over(self.kind, "it changes again")

    def _new(self, name: str, what: str) -> Repeats | None:
        count = self.sorts.get(what, 0)
        if count >= MOST[what]:
            return None
        self.sorts[what] = count + 1
        self.tracks[name] = Repeats()
        return self.tracks[name]

    def _frozen(self, repeats: Repeats, name: str, what: str, moment: Moment) -> Firing | None:
        """The value came again: return what is to be told of that."""
        params = self.params
        if repeats.told or repeats.same < (params.times if what == TRAIN else params.eval_times):
            return None
        if not (repeats.was_varied() if what == TRAIN else repeats.was_moving()):
            return None
        if repeats.value == 0 or self._decayed(moment) or (what == DISCRETE and not self._rests(repeats)):
            return None
        repeats.told = True
        return self._firing(repeats, name)

    def _rests(self, repeats: Repeats) -> bool:
        """Whether a score that counts is frozen, not merely learned: no loss of an evaluation moved meanwhile."""
        if repeats.value in (1, 100):
            return False
        others = [other for key, other in self.tracks.items() if sort_of(key) == EVAL and other.same]
        if not others:
            return repeats.same >= 2 * self.params.eval_times
        return all(other.since <= repeats.since for other in others)

    def _decayed(self, moment: Moment) -> bool:
        return self.peak_rate > 0 and moment.latest.get("learning_rate", math.inf) < DECAYED * self.peak_rate

    def _firing(self, repeats: Repeats, name: str) -> Firing:
        text = (
            f"{name} is {number(repeats.value, 8)}, {repeats.same} times in a row since step {repeats.since:,}, and "
            "never repeated itself before: the log repeats an old value, or the weights no longer change."
        )
        good = max(0, repeats.since - 1)
        return Firing(
            self.kind, name, repeats.value, None, None, Severity.WARNING, f"frozen_{name}", text, repeats.since, good,
            {"times": repeats.same},
        )  # fmt: skip

    def resume(self, step: int) -> None:  # noqa: ARG002
        """Forget the last values: what was open is over, and the redone steps repeat what was."""
        for repeats in self.tracks.values():
            repeats.value, repeats.same, repeats.told = math.nan, 0, False

    def state(self) -> dict[str, Any]:
        """Return everything but the parameters."""
        seen = {}
        for name, repeats in self.tracks.items():
            lists = {"before": list(repeats.before), "repeated": list(repeats.repeated)}
            seen[name] = vars(repeats) | lists
        return super().state() | {"tracks": seen, "sorts": dict(self.sorts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.sorts, self.peak_rate = dict(state["sorts"]), state["peak_rate"]
        self.tracks = {}
        for name, values in state["tracks"].items():
            self.tracks[name] = Repeats()
            vars(self.tracks[name]).update(values)


@lru_cache(maxsize=1024)
def sort_of(name: str) -> str:
    """Return the sort of a metric; empty for one that is not watched."""
    low = name.lower()
    if low in ("loss", "grad_norm", "perplexity"):
        return TRAIN
    if low == "accuracy":
        return ""
    if not _EVAL.search(low):
        return TRAIN if low.endswith("loss") else ""
    if _DISCRETE.search(low):
        return DISCRETE
    if _CONTINUOUS.search(low):
        return EVAL
    return ""


def _moves(values: Sequence[float]) -> bool:
    """Whether successive values lie so many units of their last digit apart that rounding makes none the same."""
    moves = [abs(b - a) for a, b in pairwise(values)]
    return bool(moves) and median(moves) >= DIGITS * min(_last_digit(value) for value in values[-EVALS:])


def _last_digit(value: float) -> float:
    """Return what one unit of the last printed digit is worth."""
    digits, _, exponent = repr(value).partition("e")
    _, _, decimals = digits.partition(".")
    places = 0 if decimals == "0" else len(decimals)
    return float(10.0 ** (int(exponent or 0) - places))
