"""From outcomes to figures: recall, precision, false alarms, delays, and how sure they are."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.detection.matching import Outcome

RESAMPLES = 400


@dataclass(frozen=True)
class Score:
    """A system's figures over some curves."""

    system: str
    curves: int
    points: int
    kinds: dict[str, tuple[int, int]]
    """Kind -> events told, events."""
    false: int
    raw_false: int
    healthy: int
    healthy_silent: int
    healthy_false: int
    repeats: int
    delays: list[int]
    by_source: dict[str, tuple[int, int]]
    """Source -> events told, events."""

    @property
    def told(self) -> int:
        """Events told in time."""
        return sum(hit for hit, _ in self.kinds.values())

    @property
    def events(self) -> int:
        """All events."""
        return sum(n for _, n in self.kinds.values())

    @property
    def recall(self) -> float | None:
        """Events told of all events."""
        return ratio(self.told, self.events)

    @property
    def macro(self) -> float | None:
        """Mean over kinds of the recall."""
        return mean([hit / n for hit, n in self.kinds.values() if n])

    @property
    def macro_source(self) -> float | None:
        """Mean over sources of the recall: a repository with twenty logs weighs as one."""
        return mean([hit / n for hit, n in self.by_source.values() if n])

    @property
    def precision(self) -> float | None:
        """Right messages of all messages, repeats left out."""
        return ratio(self.told, self.told + self.false)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return ratio(2 * self.told, self.told + self.false + self.events)

    @property
    def per_10k(self) -> float | None:
        """False episodes per 10,000 points."""
        return ratio(10_000 * self.false, self.points)

    @property
    def raw_per_10k(self) -> float | None:
        """False alarms, each counted, per 10,000 points."""
        return ratio(10_000 * self.raw_false, self.points)

    def delay(self, share: float) -> int | None:
        """Return a quantile of the delays in points."""
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def ratio(part: float, whole: float) -> float | None:
    """Return a quotient, or None for nothing of nothing."""
    return part / whole if whole else None


def mean(values: list[float]) -> float | None:
    """Return the mean, or None of nothing."""
    return sum(values) / len(values) if values else None


def score(system: str, outcomes: Iterable[Outcome]) -> Score:
    """Sum a system's outcomes up."""
    mine = [outcome for outcome in outcomes if outcome.system == system]
    kinds: dict[str, tuple[int, int]] = {}
    sources: dict[str, tuple[int, int]] = {}
    for outcome in mine:
        for seen, hit in [(s, 1) for s in outcome.hits] + [(s, 0) for s in outcome.misses]:
            told, n = kinds.get(seen.kind, (0, 0))
            kinds[seen.kind] = (told + hit, n + 1)
            told, n = sources.get(outcome.source, (0, 0))
            sources[outcome.source] = (told + hit, n + 1)
    healthy = [outcome for outcome in mine if outcome.healthy]
    return Score(
        system,
        len(mine),
        sum(outcome.points for outcome in mine),
        dict(sorted(kinds.items())),
        sum(len(outcome.false) for outcome in mine),
        sum(outcome.raw_false for outcome in mine),
        len(healthy),
        sum(not outcome.false for outcome in healthy),
        sum(len(outcome.false) for outcome in healthy),
        sum(outcome.repeats for outcome in mine),
        [seen.delay for outcome in mine for seen in outcome.hits],
        sources,
    )


def interval(system: str, outcomes: list[Outcome], figure: str, seed: int = 1) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of a figure of `Score`, drawing whole sources with replacement."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.system == system:
            groups.setdefault(outcome.source, []).append(outcome)
    names, rng, values = sorted(groups), random.Random(seed), []
    if len(names) < 3:
        return None
    for _ in range(RESAMPLES):
        drawn = [outcome for name in rng.choices(names, k=len(names)) for outcome in groups[name]]
        value = getattr(score(system, drawn), figure)
        if value is not None:
            values.append(value)
    values.sort()
    return (values[int(0.025 * len(values))], values[int(0.975 * len(values))]) if values else None
