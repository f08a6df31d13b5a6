"""Whatever lies in a file: no reader raises, cursors are JSON, and everything told can be stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartmon.sources import SourceSpec, open_source, sniff

KEYS = ["step", "current_step", "current_steps", "total_steps", "global_step/max_steps", "epoch", "loss", "timestamp"]
KEYS += ["status", "accuracy_percent", "accuracy", "gpu_memory", "remaining_time", "time", "data", "expert_usage"]
KEYS += ["input", "output", "metrics", "rows", "iteration", "val_steps", "val_loss"]
KEYS += ["log_history", "global_step", "max_steps", "error_type", "traceback", "train_runtime", "prompt"]
WORDS = ["nan", "37/1000", "1/x", "19.4GB", "1 day, 0:00:01", "2025-11-12T14:30:22", "training", "\ud800\0\n"]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
scalars |= st.sampled_from([10**400, -(10**400), 2**63, 2**53])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner),
    max_leaves=12,
)
records = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), values, max_size=12)
files = st.lists(records.map(lambda record: json.dumps(record).encode()) | st.binary(max_size=40), max_size=5)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("status", "training_status.json"),
        ("trainer_state", "trainer_state.json"),
        ("history", "metrics_history.json"),
        ("jsonl", "training_log.jsonl"),
        ("jsonl", "eval_log.jsonl"),
        ("jsonl", "expert_usage_log.jsonl"),
        ("jsonl", "error_log.jsonl"),
        ("csv", "metrics.csv"),
        ("text", "train.log"),
        ("tensorboard", "events.out.tfevents.1763000000.host"),
    ],
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=files)
def test_no_content_breaks_a_reader(tmp_path: Path, kind: str, name: str, parts: list[bytes]):
    path = tmp_path / name
    path.write_bytes(b"\n".join(parts))
    sniff(path)
    source, cursor = open_source(SourceSpec("x", kind, path)), None
    for seconds in (0, 9, 18):
        batch = source.read(cursor, 2e9 + seconds)
        cursor = json.loads(json.dumps(dict(batch.cursor), allow_nan=False))
        for row in batch.observations:
            assert 0 <= row.step < 2**53
            assert all(isinstance(value, float) and key.encode() for key, value in row.values.items())
        for note in batch.notes:
            assert note.message.encode()
            assert json.dumps(dict(note.data), ensure_ascii=False, allow_nan=False).encode()
        if batch.status is not None:
            extras = json.dumps(dict(batch.status.extras), ensure_ascii=False, allow_nan=False)
            assert (extras + batch.status.word + batch.status.error_message).encode()
