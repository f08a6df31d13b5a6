"""What else happened around an anomaly: what the other metrics did, and which changes came just before it.

Nothing here decides whether something is wrong; it says what a person would look for first. A metric is told of when
it left its own recent level: more than 6 of its deviations (1.4826 x MAD, at least 2 % of the level) and a quarter of
its value away.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from smartmon import stats
from smartmon.records import Gpu, HostSample, Json
from smartmon.stats import MAD_TO_SIGMA

METRICS = 16
"""Metrics that are remembered: the canonical ones, then the first others."""
POINTS = 32
LEAST = 5
"""Values before the onset from which a level is known."""
FAR, SHARE = 6.0, 0.25
POINTS_OF_ACCURACY = 5.0
NEAR = 50
"""Observations of the loss before the onset within which a change is worth telling."""
LR_CHANGE = 1.5
STAGE_KEYS = ("current_file", "stage", "phase", "dataset", "current_dataset", "task", "data_stage")
"""What a status file calls the part of the data that is being trained on."""

_FIRST = (
    *("loss", "eval_loss", "accuracy", "eval_accuracy", "grad_norm", "learning_rate", "aux_loss", "tokens_per_sec"),
    *("samples_per_sec", "steps_per_sec", "gpu_memory_mb", "entropy", "reward", "kl"),
)
_NEVER = frozenset({"epoch", "total_steps", "eta_seconds", "elapsed_time", "num_tokens", "total_flos", "time"})
_ACCURACIES = ("accuracy", "eval_accuracy")


@dataclass(frozen=True, slots=True)
class Move:
    """A metric that left its level around the onset."""

    metric: str
    before: float
    after: float
    """The value farthest from the level, or the first that is no finite number."""
    step: int
    """The first step of the stretch outside that led to it."""
    z: float


class Around:
    """The recent past of one attempt, in a few hundred numbers."""

    def __init__(self) -> None:
        self.recent: dict[str, deque[tuple[int, float]]] = {}
        self.marks: list[tuple[str, int, str, str]] = []
        """What changed, at which step, from what, to what: `epoch`, `stage`, `resumed`, `learning_rate`."""
        self.stages: dict[str, str] = {}
        self.sample: HostSample | None = None

    def remember(self, fresh: Mapping[str, float], step: int) -> None:
        """Keep a row's values; a step told again replaces its value."""
        for metric, value in fresh.items():
            known = self.recent.get(metric)
            if known is None:
                if metric in _NEVER or (metric not in _FIRST and len(self.recent) >= METRICS):
                    continue
                known = self.recent[metric] = deque(maxlen=POINTS)
            elif known[-1][0] >= step:
                if known[-1][0] == step:
                    known[-1] = (step, value)
                continue
            elif metric == "learning_rate":
                self._rate(known[-1][1], value, step)
            known.append((step, value))
        epoch = fresh.get("epoch")
        if epoch is not None and math.isfinite(epoch):
            self._change("epoch", str(math.floor(epoch)), step)

    def _rate(self, before: float, now: float, step: int) -> None:
        """Mark a learning rate that changed in one record by more than a schedule does."""
        if before > 0 and now > 0 and not 1 / LR_CHANGE < now / before < LR_CHANGE:
            self._mark("learning_rate", step, f"{before:.3g}", f"{now:.3g}")

    def stage(self, extras: Mapping[str, Json], step: int) -> None:
        """Note what the run says it trains on."""
        for key in STAGE_KEYS:
            word = extras.get(key)
            if isinstance(word, str) and word:
                self._change(key, word[:100], step)

    def _change(self, what: str, now: str, step: int) -> None:
        before = self.stages.get(what)
        self.stages[what] = now
        if before is not None and before != now:
            self._mark(what, step, before, now)

    def _mark(self, what: str, step: int, before: str, now: str) -> None:
        self.marks = [*self.marks[-15:], (what, step, before, now)]

    def resume(self, step: int, previous: int) -> None:
        """The run went back to a step: what lies after it has not happened yet."""
        for metric in list(self.recent):
            kept = [pair for pair in self.recent[metric] if pair[0] < step]
            self.recent[metric] = deque(kept, maxlen=POINTS)
            if not kept:
                del self.recent[metric]
        self.marks = [mark for mark in self.marks if mark[1] < step]
        self._mark("resumed", step, str(previous), str(step))

    def reaches(self, step: int) -> bool:
        """Whether the losses that are remembered reach back beyond a step."""
        losses = self.recent.get("loss")
        return losses is not None and len(losses) > 0 and losses[0][0] < step

    def moves(self, metric: str, onset: int) -> list[Move]:
        """Return the other metrics that left their level, the farthest first."""
        found = [move for name in self.recent if name != metric if (move := self._move(name, onset)) is not None]
        return sorted(found, key=lambda move: -move.z)

    def _move(self, metric: str, onset: int) -> Move | None:
        pairs = list(self.recent[metric])
        # Causes come first: a metric may have left its level a few observations before the one that fired.
        early = max((step for step, _ in pairs[:-1] if step < onset), default=onset)
        first = next((i for i, (step, _) in enumerate(pairs) if step >= early), len(pairs))
        known = [value for _, value in pairs[max(0, first - 20) : max(0, first - 3)] if math.isfinite(value)]
        later = pairs[max(0, first - 3) :]
        bad = next((i for i, (_, value) in enumerate(pairs) if i >= first - 3 and not math.isfinite(value)), None)
        if len(known) < LEAST or not later:
            return None
        usual = stats.median(known)
        if bad is not None:
            while bad > 0 and not math.isfinite(pairs[bad - 1][1]):
                bad -= 1  # it may have been so for a while: say since when
            return Move(metric, usual, pairs[bad][1], pairs[bad][0], math.inf)
        wide = max(MAD_TO_SIGMA * stats.median([abs(value - usual) for value in known]), 0.02 * abs(usual), 1e-12)
        outside = [_apart(metric, value, usual, wide) for _, value in later]
        if not any(outside):
            return None
        far = max((i for i, out in enumerate(outside) if out), key=lambda i: abs(later[i][1] - usual))
        since = far
        while since > 0 and outside[since - 1]:
            since -= 1  # one that stood out before and came back has nothing to do with it
        return Move(metric, usual, later[far][1], later[since][0], abs(later[far][1] - usual) / wide)

    def near(self, onset: int) -> Iterator[tuple[str, int, str, str]]:
        """Yield the changes shortly before the onset, the latest first."""
        steps = [step for step, _ in self.recent.get("loss", ())]
        gaps = [b - a for a, b in pairwise(steps)]
        reach = NEAR * (stats.median([float(gap) for gap in gaps]) if gaps else 1.0)
        for mark in reversed(self.marks):
            if onset - reach <= mark[1] <= onset:
                yield mark

    def state(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "recent": {name: [[s for s, _ in pairs], [v for _, v in pairs]] for name, pairs in self.recent.items()},
            "marks": [list(mark) for mark in self.marks],
            "stages": dict(self.stages),
            "sample": None if self.sample is None else asdict(self.sample),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.recent = {
            name: deque(((s, v) for s, v in zip(steps, values)), maxlen=POINTS)
            for name, (steps, values) in state["recent"].items()
        }
        self.marks = [(what, step, before, now) for what, step, before, now in state["marks"]]
        self.stages = dict(state["stages"])
        sample = state["sample"]
        self.sample = None
        if sample is not None:
            self.sample = HostSample(**{**sample, "gpus": tuple(Gpu(**gpu) for gpu in sample["gpus"])})


def _apart(metric: str, value: float, usual: float, wide: float) -> bool:
    """Whether a value is far enough from the usual one to be told of."""
    away = abs(value - usual)
    if metric in _ACCURACIES:
        return away >= POINTS_OF_ACCURACY and away >= FAR / 2 * wide
    if metric == "learning_rate":
        return usual > 0 and not 1 / LR_CHANGE < value / usual < LR_CHANGE
    return away >= FAR * wide and away >= SHARE * abs(usual)
