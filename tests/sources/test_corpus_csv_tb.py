"""Real tables and event files, read to the end. The corpus stays outside of the repository; else these are skipped."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import AttemptStarted, Observation
from smartmon.sources import csvlog, tensorboard

NOW = 2_000_000_000.0
CANONICAL = {
    "train/loss": "loss",
    "train_loss": "loss",
    "train/step_loss": "loss",
    "Loss/Train": "loss",
    "Loss/Validation": "eval_loss",
}
KINDS = {"csv": "csv", "tfevents": "tensorboard"}
STRANGERS = "cs024"
"""Two kinds of row lie in it; those that do not fit the header are left out, and with them half of the points."""


def entries(corpus: Path, *formats: str) -> Iterator[dict[str, Any]]:
    for line in (corpus / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if not formats or entry["format"] in formats:
            yield entry


def curve(rows: list[Observation], entry: dict[str, Any]) -> list[tuple[int, float]]:
    metric = CANONICAL.get(entry["main_metric"], entry["main_metric"])
    return [(row.step, row.values[metric]) for row in rows if metric in row.values]


@pytest.mark.parametrize(("kind", "agree"), [("csv", 16), ("tfevents", 10)])
def test_every_curve_but_one_has_as_many_points_as_the_manifest_says(corpus: Path, reader, kind: str, agree: int):
    found = {}
    for entry in entries(corpus, kind):
        log = reader(corpus / entry["file"], KINDS[kind])
        rows = log.read()
        points = curve(rows, entry)
        found[entry["id"]] = len(points) == entry["n_points"]
        first, last = entry["steps"]
        assert all(first <= step <= last for step, _ in points), entry["id"]
        assert any(math.isnan(value) for row in rows for value in row.values.values()) == entry["has_nan"], entry["id"]
        assert log.notes == [], entry["id"]
    assert sum(found.values()) == agree
    assert [name for name, same in found.items() if not same] == [STRANGERS] * (kind == "csv")


def test_of_two_kinds_of_row_the_one_that_fits_the_header_is_read(corpus: Path, reader):
    (entry,) = (entry for entry in entries(corpus, "csv") if entry["id"] == STRANGERS)
    points = curve(reader(corpus / entry["file"], "csv").read(), entry)
    assert [step for step, _ in points] == list(range(2500))


def test_no_real_log_without_a_restart_begins_a_second_attempt(corpus: Path, reader):
    for entry in entries(corpus, *KINDS):
        assert not entry["has_restart"]
        judge = Judge(JudgeSettings())
        rows = reader(corpus / entry["file"], KINDS[entry["format"]]).read()
        started = [finding for row in rows for finding in judge.observe(row).findings]
        assert not any(isinstance(finding, AttemptStarted) for finding in started), entry["id"]


def test_a_real_file_read_in_two_parts_gives_the_same_rows(corpus: Path, reader, tmp_path: Path):
    for entry in entries(corpus, *KINDS):
        kind, whole = KINDS[entry["format"]], (corpus / entry["file"]).read_bytes()
        expected = reader(corpus / entry["file"], kind).read()
        path = tmp_path / Path(entry["file"]).name
        log, found = reader(path, kind), []
        for part in (whole[: len(whole) * 2 // 3], whole):
            path.write_bytes(part)
            found += log.read()
            log.restart()
        if kind == "csv":
            assert [(row.step, str(row.values)) for row in found] == [(row.step, str(row.values)) for row in expected]
        else:
            assert numbers(found) == numbers(expected), entry["id"]


def numbers(rows: list[Observation]) -> list[tuple[int, str, str]]:
    """Every single value: a file that was still in the middle of a row makes two of it."""
    return [(row.step, name, str(value)) for row in rows for name, value in row.values.items()]


def test_each_real_log_is_recognised_by_its_own_reader_only(corpus: Path):
    for entry in entries(corpus):
        path = corpus / entry["file"]
        head = path.read_bytes()[: 256 << 10]
        assert bool(csvlog.recognises(head, path)) == (entry["format"] == "csv"), entry["id"]
        assert bool(tensorboard.recognises(head, path)) == (entry["format"] == "tfevents"), entry["id"]
