"""Real logs, read to the end. The corpus stays outside of the repository; without it these tests are skipped."""

from __future__ import annotations

import json
import math
from pathlib import Path

from smartmon.sources import replay_source, sniff


def read(path: Path) -> list[dict[str, float]]:
    source, cursor, rows = replay_source(path), None, []
    while True:
        batch = source.read(cursor, 2e9)
        cursor = json.loads(json.dumps(dict(batch.cursor)))
        rows += [{"step": row.step, **row.values} for row in batch.observations]
        assert all(note.kind != "warning" for note in batch.notes)
        if not batch.more:
            return rows


def test_every_real_log_gives_its_main_metric(corpus: Path):
    canonical = {"train/loss": "loss", "train_loss": "loss", "val_loss": "eval_loss"}
    for line in (corpus / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["format"] not in ("hf_trainer_state", "jsonl", "json"):
            continue
        metric = canonical.get(entry["main_metric"], entry["main_metric"])
        rows = read(corpus / entry["file"])
        assert sum(metric in row for row in rows) == entry["n_points"], entry["id"]
        assert any(math.isnan(value) for row in rows for value in row.values()) == entry["has_nan"], entry["id"]


def test_every_provoked_run_is_read(corpus: Path):
    for path in sorted((corpus / "provoked").glob("*.jsonl")):
        rows = read(path)
        assert len(rows) == len(path.read_text().splitlines())
        assert max(row["step"] for row in rows) in (150, 300)


FORMATS = {"hf_trainer_state": "trainer_state", "tfevents": "tensorboard", "json": "history"}
"""What the corpus calls a format -> what we call it, where that differs."""


def test_every_real_log_is_known_by_what_it_holds(corpus: Path, tmp_path: Path):
    for line in (corpus / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        (tmp_path / "thing").write_bytes((corpus / entry["file"]).read_bytes())
        assert sniff(tmp_path / "thing") == FORMATS.get(entry["format"], entry["format"]), entry["id"]
