"""`overfit`: evaluation gets worse while training goes on getting better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import Field

from smartmon import stats
from smartmon.detectors.base import Detector, Moment, Outcome, Over
from smartmon.detectors.earlier import percent_text
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity
from smartmon.text import number

KEPT = 40
TRAIN = 20
"""Training losses just before an evaluation that say where training stood at it."""
ENOUGH = 4
SIGMAS = 3.0
CLEAN = ((3, 0.10, 4.0, 12), (5, 0.0, 3.0, 40))
"""Rises in a row since the best, how far they must lead (as a share, and in sigma), and up to how many evaluations."""
AGAIN = 1.25
"""Times the largest rise that went by itself that the next one must be."""
FLAT = 0.02
"""Rise of the training loss, as a share, up to which it has stayed where it was."""
RISEN = 0.2
"""Share by which the training loss of the last evaluation alone shows that training got worse too."""
BETTER = 0.01
SCORES = {
    **dict.fromkeys(("eval_accuracy", "eval_f1", "eval_rougeL", "eval_bleu", "eval_exact_match"), 1),
    **dict.fromkeys(("eval_wer", "eval_cer"), -1),
}
"""Scores that tell whether a worse evaluation loss does harm, and whether higher or lower is better."""


class Overfit(Params):
    """Fires when `evals` evaluation losses in a row stand clearly above the best while the training loss does not rise.

    In the logarithm, from the fourth evaluation: above `best + max(log(1 + min_rise), (3 + 0.8 sqrt(2 log n)) sigma)`,
    where sigma is `1.4826 x median |second difference| / sqrt 6` (blind to a trend) over the newer half of the
    evaluations, 9 to 40, times `1 + 2 / differences`; n of them lie near the best, the luckiest one. Or it rose 5 times
    in a row to 3 sigma above the best, early on 3 times to 10 % and 4 sigma. After a rise that went by itself the next
    must be a quarter higher. Warning; critical when the second in a row is `critical` times the best. Where the
    training loss rises too it is no overfitting: info, unless nobody else says it. Gets wrong: a run that groks is
    worse for long before it is good, and so is a confident classifier whose accuracy still grows.
    """

    enabled: bool = Field(True, description="Whether to look for overfitting.")
    min_rise: float = Field(
        0.02, gt=0, le=10, description="Smallest rise above the best evaluation loss that counts, as a share."
    )
    evals: int = Field(3, ge=1, le=20, description="Evaluations in a row that must stand above the best.")
    critical: float = Field(
        1.5, gt=1, le=1000, description="Evaluation loss, as a multiple of the best, from which it is critical at once."
    )


class Overfitting(Detector):
    """The state of `overfit`: the last evaluations, the best one, and where training stood at each."""

    kind: ClassVar[str] = "overfit"
    Params = Overfit
    metrics = frozenset({"loss", "eval_loss"})

    def __init__(self, params: Overfit) -> None:
        super().__init__(params)
        self.train: list[float] = []
        """Training losses since the last evaluation, the newest ones."""
        self.evals: list[list[float]] = []
        """Step, logarithm of the loss, and training loss (NaN where none is known) of the last evaluations."""
        self.best: list[float] | None = None
        self.count = 0
        self.scores: dict[str, float] = {}
        """The scores that went with the best evaluation."""
        self.peak = 0.0
        """How far above the best it has lately been for as many evaluations as are needed, in the logarithm."""
        self.bump = [0.0, 0.0]
        """The largest such rise that went by itself, and the best then: a run that does that may do it again."""
        self.told = -1
        """The rank of the gravest severity that was told of this stretch; -1 for nothing."""

    def observe(self, moment: Moment) -> Iterable[Outcome]:
        """Learn a training loss, and judge an evaluation."""
        fresh = moment.fresh
        loss = fresh.get("loss")
        if loss is not None and math.isfinite(loss):
            self.train.append(loss)
            if len(self.train) > TRAIN:
                del self.train[0]
        value = fresh.get("eval_loss")
        if value is None:
            return ()
        # Of preferences the loss is a loss; of other rewards it is a sum around zero.
        foreign = moment.rewards and "eval_rewards/margins" not in moment.latest
        if foreign or not math.isfinite(value + moment.latest.get("loss", 0.0)) or value <= 0:
            moment.said(self.kind, "eval_loss", None, "no loss to judge here")
            return ()
        return self._evaluated(moment, value)

    def _evaluated(self, moment: Moment, value: float) -> list[Outcome]:
        self._learn(moment.step, math.log(value), moment.fresh.get("eval_train_loss", math.nan))
        last, best = self.evals[-1], self.best
        if best is not None and last[0] == best[0]:
            best = min(self.evals[:-1], key=lambda row: row[1], default=None)
            self.best = best
        if best is None or last[1] <= best[1]:
            if best is not None and self.bump[0] <= self.bump[1] - last[1]:
                self.bump = [0.0, 0.0]
            self.best = list(last)
            self.scores = {name: moment.fresh[name] for name in SCORES if name in moment.fresh}
            moment.said(self.kind, "eval_loss", None, "the best evaluation so far")
            return self._over(f"eval_loss has a new best, {number(value)}")
        sigma = self._sigma()
        least = max(self.params.min_rise, 3 * self._digit() / math.exp(best[1]))
        margin = max(math.log1p(least), (SIGMAS + self._luck(sigma)) * self._unsure() * sigma)
        near = best[1] + margin / 2
        margin = max(margin, AGAIN * self.bump[0])
        limit = math.exp(min(700.0, best[1] + margin))
        if last[1] <= near:
            moment.said(self.kind, "eval_loss", None, "near its best", limit=limit)
            return self._over(f"eval_loss is back at {number(value)}, near its best")
        lately = [row[1] - best[1] for row in self._since_best()[-self.params.evals :]]
        if len(lately) == self.params.evals:
            self.peak = max(self.peak, min(lately))
        streak = self._streak(margin, sigma)
        grave = self._grave(margin)
        firing = self._firing(moment, value, limit, streak, grave=grave) if streak or grave else None
        text = f"not clearly above its best for {self.params.evals} evaluations"
        moment.said(self.kind, "eval_loss", firing, text, expected=math.exp(best[1]), limit=limit)
        if firing is None or firing.severity.rank <= self.told:
            return []
        self.told = firing.severity.rank
        return [firing]

    def _learn(self, step: int, u: float, train: float) -> None:
        """Take an evaluation in; one of a step already told replaces it.

        `train` is the loss of the same weights on training data, where the trainer evaluates that too.
        """
        before = self.evals[-1] if self.evals else None
        if before is not None and before[0] == step:
            self.evals.pop()
        else:
            self.count += 1
        if not math.isfinite(train):
            known = math.nan if before is None else before[2]
            train = stats.median(self.train) if self.train else known
        self.train = []
        self.evals = [*self.evals[1 - KEPT :], [step, u, train]]

    def _sigma(self) -> float:
        """Return the noise of an evaluation, in the logarithm: 0 while fewer than three are known."""
        us = [row[1] for row in self.evals[-self._window() :]]
        bends = [abs(c - 2 * b + a) for a, b, c in zip(us, us[1:], us[2:])]
        return stats.MAD_TO_SIGMA * stats.median(bends) / math.sqrt(6) if bends else 0.0

    def _digit(self) -> float:
        """Return what one unit of the last printed digit is, where the log rounds so much that values repeat."""
        values = [math.exp(row[1]) for row in self.evals[-self._window() :]]
        steps = [abs(b - a) for a, b in pairwise(values)]
        return min((step for step in steps if step), default=0.0) if 0.0 in steps else 0.0

    def _window(self) -> int:
        return max(9, min(KEPT, self.count // 2))

    def _luck(self, sigma: float) -> float:
        """Return how many deviations the best may be below its true level: it is the lowest of so many like it."""
        assert self.best is not None
        near = sum(row[1] < self.best[1] + 6 * sigma for row in self.evals) * self.count / len(self.evals)
        return 0.8 * math.sqrt(2 * math.log(max(2.0, near)))

    def _unsure(self) -> float:
        """Return the factor that a noise known from few evaluations is widened by."""
        return 1 + 2 / max(1, min(len(self.evals), self._window()) - 2)

    def _since_best(self) -> list[list[float]]:
        """Return the evaluations after the best one, as far as they are known."""
        assert self.best is not None
        at = int(self.best[0])
        return [row for row in self.evals if int(row[0]) > at]

    def _rises(self) -> int:
        """Return how many evaluations since the best were each worse than the one before; 0 if one was not."""
        assert self.best is not None
        us = [row[1] for row in (self.best, *self._since_best())]
        return len(us) - 1 if all(b > a for a, b in pairwise(us)) else 0

    def _streak(self, margin: float, sigma: float) -> list[list[float]]:
        """Return the evaluations that say together that it got worse; none when they do not."""
        assert self.best is not None
        since, best = self._since_best(), self.best[1]
        needed = self.params.evals
        # Below the first one after the best it is on its way down: that best was something else's.
        if self.count < ENOUGH or len(since) < needed or since[-1][1] < since[0][1]:
            return []
        above = 0
        for row in reversed(since):
            if row[1] <= best + margin:
                break
            above += 1
        if above >= needed:
            return since[-above:]
        if since[-needed][1] - best < AGAIN * self.bump[0]:
            return []
        rises, lift = self._rises(), since[-1][1] - best
        for least_rises, least, sigmas, longest in CLEAN:
            enough = lift >= max(math.log1p(max(least, self.params.min_rise)), sigmas * sigma)
            if enough and rises >= max(least_rises, needed) and self.count <= longest:
                return since
        return []

    def _grave(self, margin: float) -> bool:
        """Whether the last two evaluations stand far above the best: one alone is a bad batch as often."""
        assert self.best is not None
        since, best = [row[1] for row in self._since_best()], self.best[1]
        if len(since) < 2 or since[-1] < since[0] or since[-1] - best < math.log(self.params.critical):
            return False
        return min(since[-2:]) > best + margin if self.count >= ENOUGH else self._rises() >= 2

    def _firing(
        self, moment: Moment, value: float, limit: float, streak: list[list[float]], *, grave: bool
    ) -> Firing | None:
        assert self.best is not None
        best, good = math.exp(self.best[1]), int(self.best[0])
        rows = streak or self._since_best()[-2:]
        known = [row[2] for row in (self.best, *self._since_best()) if not math.isnan(row[2])]
        before, now = (known[0], stats.median(known[1:][-3:])) if len(known) > 1 else (math.nan, math.nan)
        severity, word = Severity.CRITICAL if grave else Severity.WARNING, "overfit"
        if math.isnan(before) or math.isnan(now):
            severity, why = Severity.WARNING, "no training loss is known to compare with, so it may be something else"
        elif now > before + FLAT * abs(before) or known[-1] > before + RISEN * abs(before) or moment.loss_open:
            now = max(now, known[-1])
            if not streak:
                return None
            # Those who judge the training loss say it where they see it; few values are too few for them.
            severity, word = Severity.WARNING if grave and moment.loss_open is None else Severity.INFO, "eval_worse"
            why = f"the training loss rose too, from {number(before)} to {number(now)}: this is no overfitting"
        else:
            why = f"the training loss went from {number(before)} to {number(now)}"
        if better := self._better(moment.fresh):
            severity, why = min(severity, Severity.WARNING, key=lambda s: s.rank), f"{why}; {better}"
        rise = 100 * (value / best - 1)
        text = (
            f"eval_loss {number(value)} at step {moment.step:,} is {percent_text(rise)} % above its best, "
            f"{number(best)} at step {good:,}, for {len(rows)} evaluations, while {why}."
        )
        trained = [None if math.isnan(loss) else loss for loss in (before, now)]
        evidence = {"best_eval_loss": best, "best_eval_step": good, "train_losses": trained}
        return Firing(
            self.kind, "eval_loss", value, best, limit, severity, f"{word}_{percent_text(rise)}pct", text,
            int(rows[0][0]), good, evidence,
        )  # fmt: skip

    def _better(self, fresh: Mapping[str, float]) -> str:
        """Say which score got better since the best evaluation loss, if one did."""
        for name, sign in SCORES.items():
            then, now = self.scores.get(name, math.nan), fresh.get(name, math.nan)
            if sign * (now - then) >= BETTER * abs(then) and now != then:
                return f"yet {name} got better, from {number(then)} to {number(now)}"
        return ""

    def _over(self, text: str) -> list[Outcome]:
        """Note that it is back near its best, or better."""
        if self.best is not None and self.peak > self.bump[0]:
            self.bump = [self.peak, self.best[1]]
        self.peak = 0.0
        before, self.told = self.told, -1
        return [Over(self.kind, text)] if before > 0 else []

    def resume(self, step: int) -> None:
        """Forget the evaluations that are going to be made again."""
        known = len(self.evals)
        self.evals = [row for row in self.evals if int(row[0]) < step]
        self.count -= known - len(self.evals)
        self.train, self.told, self.peak, self.bump = [], -1, 0.0, [0.0, 0.0]
        if self.best is not None and int(self.best[0]) >= step:
            self.best, self.scores = min(self.evals, key=lambda row: row[1], default=None), {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        vars(self).update(state)
        self.train, self.evals = list(self.train), [list(row) for row in self.evals]
        self.scores, self.bump = dict(self.scores), list(self.bump)
