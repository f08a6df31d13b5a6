"""Real printed logs, read to the end and compared with their labels. Without the corpus these tests are skipped."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from smartmon.records import Observation
from smartmon.sources.aliases import alias
from smartmon.sources.textlog import recognises

COUNTED_TWICE = {"tx035": 28072, "tx044": 494}
"""Bars drawn twice for each loss: the labels count drawings, smartmon counts losses."""
TORN = {"tx064": 1}
"""The last line has no end: it may be half of one."""
OTHER_STEPS = {"tx019", "tx020", "tx035", "tx044", "tx064", "tx017"}
"""Labels whose steps are of other lines (times, configuration), of the second drawing, of the torn line, or the highest
of a file whose steps go back."""
MAIN = {"trl": "loss", "Train loss": "loss", "Train Loss": "loss", "lm-loss": "loss"}
DIALECTS = {
    "llms_finetuning": {"lines with a step and a loss"},
    "bigscience": {"Megatron-LM"},
    "nanoGPT": {"nanoGPT", "progress bars (tqdm)"},
    "modded-nanogpt": {"modded-nanogpt", "llm.c main.log"},
    "Deep_learning_2023": {"lines with a step and a loss"},
}


def entries(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]


def texts(corpus: Path) -> list[dict[str, Any]]:
    return [entry for entry in entries(corpus) if entry["format"] == "text"]


def main_metric(entry: dict[str, Any]) -> str:
    known = alias(entry["main_metric"])
    return MAIN.get(entry["main_metric"]) or (known.name if known else entry["main_metric"])


def seen(rows: list[Observation]) -> list[tuple[int, str]]:
    return [(row.step, json.dumps(dict(row.values), sort_keys=True)) for row in rows]


def test_every_real_log_gives_the_points_of_its_main_metric(corpus: Path, reader):
    exact = 0
    for entry in texts(corpus):
        rows = reader(corpus / entry["file"], "text").read()
        name = entry["id"]
        found = sum(main_metric(entry) in row.values for row in rows)
        expected = entry["n_points"] - TORN.get(name, 0)
        assert found == (expected // 2 if name in COUNTED_TWICE else expected), name
        steps = [row.step for row in rows]
        if name not in OTHER_STEPS:
            assert [min(steps), max(steps)] == entry["steps"], name
            exact += found == entry["n_points"]
        losses = [value for row in rows for key, value in row.values.items() if "loss" in key]
        assert any(math.isnan(value) for value in losses) == entry["has_nan"], name
    assert exact == 39


def test_every_real_log_is_recognised_and_told_by_its_trainer(corpus: Path, reader):
    for entry in texts(corpus):
        path = corpus / entry["file"]
        with path.open("rb") as file:
            assert recognises(file.read(256 << 10), path), entry["id"]
        source = reader(path, "text")
        source.read()
        assert source.source.account.dialect in DIALECTS[entry["repo"].split("/")[1]], entry["id"]


def test_no_log_of_another_format_is_taken_for_a_printed_one(corpus: Path):
    paths = [corpus / entry["file"] for entry in entries(corpus) if entry["format"] != "text"]
    for path in [*paths, *(corpus / "provoked").iterdir()]:
        with path.open("rb") as file:
            head = file.read(256 << 10)
        assert recognises(head, path) == "", path
        assert recognises(head, Path("train.log")) == "", path


@pytest.mark.parametrize("name", ["tx017", "tx019", "tx044", "tx047", "tx063", "tx072", "tx077"])
def test_a_real_log_says_the_same_however_it_grew(name: str, corpus: Path, reader, tmp_path: Path):
    (entry,) = (entry for entry in texts(corpus) if entry["id"] == name)
    data = (corpus / entry["file"]).read_bytes()
    expected = seen(reader(corpus / entry["file"], "text").read())
    path, cuts, begin, rows = tmp_path / "grown.log", random.Random(name), 0, []
    log = reader(path, "text")
    while begin < len(data):
        end = begin + cuts.randint(1, len(data) // 10)
        with path.open("ab") as file:
            file.write(data[begin:end])
        rows += log.read(path.stat().st_mtime)
        log.restart()
        begin = end
    assert seen(rows) == expected


def test_the_crashes_in_real_logs_are_told_once(corpus: Path, reader):
    told = {}
    for entry in texts(corpus):
        log = reader(corpus / entry["file"], "text")
        log.read()
        if log.notes:
            told[entry["id"]] = [note.message for note in log.notes]
    assert told == {
        "tx047": ["the trainer printed RuntimeError: File out/ckpt.pt cannot be opened."],
        "tx048": ["the trainer printed KeyboardInterrupt"],
    }
