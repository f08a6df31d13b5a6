"""What is judged: curves with what happened in them, and the alarms that a system raised on them.

Everything is placed by row: the index of a record in its file. Distances are counted in points: the records that carry
the metric in question. A row tells a repeated step from the first one, which a step does not.
"""

from __future__ import annotations

import bisect
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

GRACE = 2
"""Points before the onset at which an alarm already counts: whoever labels by eye is no surer than that."""

LOSS_KINDS = ("spike", "divergence")
TOLERANCE = {
    "spike": 20,
    "divergence": 200,
    "nonfinite": 2,
    "collapse": 50,
    "accuracy_drop": 5,
    "overfit": 5,
}
"""Corpus kind -> points of its metric within which an alarm is in time. Labels say when a viewer first sees it."""

FAMILIES = {
    "spike": {"loss"},
    "divergence": {"loss"},
    "nonfinite": {"nonfinite", "loss"},
    "collapse": {"loss", "nonfinite"},
    "accuracy_drop": {"eval"},
    "overfit": {"eval"},
    "stall": {"stall"},
    "slowdown": {"speed"},
    "resume": {"resume", "loss"},
    "crash_loop": {"crash"},
}
"""Kind -> families of alarms that are right about it. A loss alarm may announce what is not finite or not trained."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its step, its time, its metrics."""

    step: int
    at: float
    values: dict[str, float]
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person should be told of: rows from `first` to `until` are in time, up to `end` it lasts."""

    kind: str
    families: frozenset[str]
    metric: str
    onset: int
    first: int
    until: int
    end: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Rows in which an alarm is neither right nor wrong."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """One message at one row."""

    row: int
    families: frozenset[str]
    kind: str = ""
    severity: str = ""
    metric: str = ""


@dataclass
class Curve:
    """One log with what is known of it."""

    id: str
    source: str
    """The repository, or what made it: what is weighed and split by."""
    section: str
    split: str
    rows: list[Row]
    loss: str
    """The metric that rules for a loss are run on; empty when the file has none."""
    path: Path | None = None
    shape: str = ""
    """What was injected or synthesised."""
    events: list[Event] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    healthy: bool = False
    begin: int = 0
    """The first row that is judged: before it an injected curve repeats its base, which is judged once."""

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Metric -> the rows that carry it."""
        found: dict[str, list[int]] = {}
        for index, row in enumerate(self.rows):
            for metric in row.values:
                found.setdefault(metric, []).append(index)
        return found

    @cached_property
    def points(self) -> int:
        """How many judged points of the main metric there are, without those not scored: false alarms are per these."""
        places = self.places.get(self.loss) or range(len(self.rows))
        return sum(row >= self.begin and not self.spared(row) for row in places)

    def spared(self, row: int) -> bool:
        """Whether an alarm at this row would be neither right nor wrong."""
        return any(span.first <= row <= span.end for span in self.spans)

    def series(self, metric: str) -> list[float]:
        """Return the values of a metric."""
        return [self.rows[row].values[metric] for row in self.places.get(metric, ())]

    def distance(self, metric: str, onset: int, row: int) -> int:
        """Return how many points of a metric lie from one row to another; never negative."""
        places = self.places.get(metric) or range(len(self.rows))
        return max(0, bisect.bisect_left(places, row) - bisect.bisect_left(places, onset))

    def event(
        self,
        kind: str,
        metric: str,
        start: int,
        end: int,
        *,
        tolerance: int,
        families: set[str] | None = None,
        note: str = "",
    ) -> Event:
        """Return an event from point `start` to point `end` of a metric, in time within `tolerance` points."""
        places = self.places.get(metric) or list(range(len(self.rows)))
        last = len(places) - 1

        def row(point: int) -> int:
            return places[min(max(point, 0), last)]

        # Up to the row before the next point: an alarm may stand on a row of another metric in between.
        def through(point: int) -> int:
            return len(self.rows) - 1 if point >= last else places[max(point + 1, 0)] - 1

        until = through(start + tolerance)
        return Event(
            kind,
            frozenset(families or FAMILIES[kind]),
            metric,
            row(start),
            row(start - GRACE),
            until,
            max(through(end), row(start)),
            note,
        )


def write_jsonl(curve: Curve, folder: Path) -> Path:
    """Write a curve as JSON Lines, as trainers do, and return the file."""
    path = folder / f"{curve.id.replace('/', '_')}.jsonl"
    with path.open("w") as file:
        for row in curve.rows:
            record = {"step": row.step, **row.values, "timestamp": round(row.at, 3)}
            file.write(json.dumps(record) + "\n")  # NaN as a bare word, as Python's own trainers write it
    return path


def finite(values: list[float]) -> list[float]:
    """Return the finite ones."""
    return [value for value in values if math.isfinite(value)]
