"""The labelled real logs, as smartmon's own sources read them. They stay outside of the repository."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.detection.curves import FAMILIES, TOLERANCE, Curve, Row, Span

UNSCORED = ("restart", "plateau")
"""Labelled, but no reason to wake anybody: alarms about them are neither right nor wrong."""
FEW = 5
"""Points that every label is given."""
RESTART = 20
"""Points after a restart that are not scored: the first ones of the new run are as unlike the old run's as can be."""
EVAL_WORDS = ("eval", "val", "map50", "test")


def folder() -> Path | None:
    """Return where the corpus is, or None."""
    path = Path(os.environ.get("SMARTMON_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "corpus")
    return path if (path / "manifest.jsonl").is_file() else None


def split_of(source: str) -> str:
    """Return "dev" (for tuning) or "test" (for reporting): by the parity of the first byte of the name's SHA-256."""
    return "dev" if hashlib.sha256(source.encode()).digest()[0] % 2 == 0 else "test"


def read_rows(path: Path) -> list[Row]:
    """Return a log's rows as smartmon reads them. Raises SourceError when it cannot be read."""
    from smartmon.replay import rows

    found: list[Row] = []
    last = math.inf
    for obs in rows(path):
        values = dict(obs.values)
        if "loss" in values:
            last = obs.step
        elif "loss" in obs.nulls and "eval_loss" not in values and obs.step > last:
            values["loss"] = math.nan  # strict JSON knows no NaN: a new step with `null` where the loss was is one
        found.append(Row(obs.step, obs.at, values, obs.timed))
    return found


@dataclass(frozen=True)
class Entry:
    """A file of the manifest with its labels."""

    facts: dict[str, Any]
    label: dict[str, Any]

    @property
    def id(self) -> str:
        """The name that manifest and labels share."""
        return str(self.facts["id"])

    @property
    def twin(self) -> bool:
        """Whether another file tells the same run: it would count twice."""
        return "twin_of" in self.facts

    @property
    def split(self) -> str:
        """Dev or test, by the repository."""
        return split_of(self.facts["repo"])


def entries(root: Path) -> list[Entry]:
    """Return the manifest, file by file."""
    labels = {label["id"]: label for label in _lines(root / "labels.jsonl")}
    return [Entry(facts, labels[facts["id"]]) for facts in _lines(root / "manifest.jsonl")]


def load(entry: Entry, root: Path) -> Curve | None:
    """Return the curve of an entry; None when smartmon cannot read the file."""
    from smartmon.errors import SourceError

    try:
        rows = read_rows(root / entry.facts["file"])
    except SourceError:
        return None
    return _curve(entry.facts, entry.label, rows, root) if rows else None


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def canonical(name: str) -> str:
    """Return what smartmon calls a metric of the labels."""
    from smartmon.sources.aliases import CANONICAL

    lowered = name.lower()
    for key, names in CANONICAL.items():
        if lowered in [alias.strip() for alias in names.split("|")]:
            return key
    return name


def present(curve: Curve, name: str) -> str:
    """Return the metric of a curve that a label means; empty when the reader did not find it."""
    choices = (canonical(name), name, name.lower(), name.replace(" ", "_"), name.lower().replace(" ", "_"))
    return next((choice for choice in choices if choice in curve.places), "")


def _curve(entry: dict[str, Any], label: dict[str, Any], rows: list[Row], root: Path) -> Curve:
    curve = Curve(entry["id"], entry["repo"], "corpus", split_of(entry["repo"]), rows, "", path=root / entry["file"])
    main = present(curve, entry["main_metric"]) or present(curve, "loss")
    curve.loss = main if "accuracy" not in main else present(curve, "loss")
    main = main or next(iter(curve.places), "")
    for event in label["events"]:
        _add(curve, main, event)
    curve.healthy = label["scored"] == "quiet"
    return curve


def _add(curve: Curve, main: str, label: dict[str, Any]) -> None:
    metric = present(curve, label.get("metric") or "") or main
    kinds = (label["kind"], *label.get("alt_kinds", ()))
    if "accuracy" in metric:
        kinds = tuple(kind for kind in kinds if kind != "collapse")  # of the accuracy: what evaluations are judged by
    families = {family for kind in kinds for family in FAMILIES.get(kind, ())}
    if any(word in metric.lower() for word in EVAL_WORDS) and label["kind"] != "nonfinite":
        families |= {"loss", "eval"}
    if metric == "grad_norm":
        families.add("grad")
    # `rows` count in the main metric's series, and the steps of an event may be those of another metric.
    start, end = _points(curve, metric, main, label)
    # In time means while it lasts, and a few points are given to what is over at once.
    tolerance = min(TOLERANCE.get(label["kind"], FEW), max(end - start, FEW))
    tolerance = RESTART if label["kind"] == "restart" else tolerance
    event = curve.event(
        label["kind"], metric, start, end, tolerance=tolerance, families=families or {"loss"}, note=label["note"]
    )
    if label["severity"] == "clear" and label["kind"] not in UNSCORED:
        curve.events.append(event)
    elif label["kind"] == "restart":
        curve.spans.append(Span(event.first, event.until))
    else:
        curve.spans.append(Span(event.first, event.end))


def _points(curve: Curve, metric: str, main: str, label: dict[str, Any]) -> tuple[int, int]:
    """Return the first and last point of a label in its metric's series."""
    places = curve.places.get(metric) or list(range(len(curve.rows)))
    if "rows" in label:
        first, last = (_row(curve, main, point) for point in label["rows"])
        inside = [point for point, row in enumerate(places) if first <= row <= last]
    else:
        start, end = label["start_step"], label["end_step"]
        inside = [point for point, row in enumerate(places) if start <= curve.rows[row].step <= end]
        if not inside:
            later = [point for point, row in enumerate(places) if curve.rows[row].step >= start]
            inside = later[:1] or [len(places) - 1]
    return (inside[0], inside[-1]) if inside else (0, 0)


def _row(curve: Curve, main: str, point: int) -> int:
    places = curve.places.get(main) or list(range(len(curve.rows)))
    return places[min(max(point, 0), len(places) - 1)]
