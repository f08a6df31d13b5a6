"""What a replay says depends on the log alone: not on how it grew, was cut, or how often smartmon was restarted."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartmon.detectors.settings import JudgeSettings
from smartmon.judge import Judge
from smartmon.records import Anomaly, Finding, IncidentChange
from smartmon.replay import replay
from smartmon.sources import replay_source
from smartmon.sources.base import SourceSpec
from smartmon.sources.registry import open_source
from tests.sources.tb_writer import scalars, version

T0 = 1_700_000_000.0
NOW = T0 + 100_000

Row = dict[str, float]


def curve(seed: int, length: int) -> list[Row]:
    """A run in which much goes wrong: spikes, a level that rises, NaN, a resume, evaluations, slow steps."""
    chance = random.Random(seed)
    rows: list[Row] = []
    at, level, step = T0, 2.0, 0
    while len(rows) < length:
        step += 1
        at += 1.0 if chance.random() > 0.01 else 200.0
        level *= 0.999 if chance.random() > 0.004 else 1.6
        loss = level * math.exp(chance.gauss(0, 0.03))
        loss = loss * 4 if chance.random() < 0.01 else math.nan if chance.random() < 0.005 else loss
        row = {"step": step, "loss": loss, "grad_norm": chance.lognormvariate(0, 0.1), "learning_rate": 1e-4, "at": at}
        if step % 25 == 0:
            row["eval_loss"] = level * 1.05
        rows.append(row)
        if chance.random() < 0.005:
            step = max(0, step - 20)
    return rows


def jsonl(rows: list[Row]) -> bytes:
    return "".join(json.dumps({**row, "timestamp": row["at"]} | {"at": None}) + "\n" for row in rows).encode()


def table(rows: list[Row]) -> bytes:
    names = ("step", "loss", "grad_norm", "learning_rate", "eval_loss")
    lines = [",".join(str(row.get(name, "")) for name in names) for row in rows]
    return "\r\n".join([",".join(names), *lines, ""]).encode()


def printed(rows: list[Row]) -> bytes:
    said = "step {step}/100000 | loss {loss} | norm {grad_norm} | lr {learning_rate}\n"
    return "".join(
        said.replace("step ", "iter ").replace(" | ", ", ").replace("/100000", ":").format(**row) for row in rows
    ).encode()


def events(rows: list[Row]) -> bytes:
    names = ("loss", "grad_norm", "learning_rate", "eval_loss")
    parts = [scalars(r["at"], int(r["step"]), {f"train/{n}": r[n] for n in names if n in r}) for r in rows]
    return version(T0) + b"".join(parts)


FORMATS: dict[str, tuple[str, Callable[[list[Row]], bytes]]] = {
    "jsonl": ("log.jsonl", jsonl),
    "csv": ("metrics.csv", table),
    "text": ("train.log", printed),
    "tensorboard": ("events.out.tfevents.17.host", events),
}


def said(findings: list[Finding]) -> list[tuple[object, ...]]:
    """What was found, without the moments, which a log without times cannot tell."""
    told: list[tuple[object, ...]] = []
    for f in findings:
        if isinstance(f, Anomaly):
            told.append((f.kind, f.metric, f.step, f.severity, f.reason, f.onset_step, f.last_good_step))
        elif isinstance(f, IncidentChange):
            told.append((f.key, f.change, f.severity, f.step, f.anomalies, f.resolution))
    return told


def at_once(path: Path) -> list[tuple[object, ...]]:
    """What is found when the whole log is read in one go."""
    source, judge, found = replay_source(path), Judge(JudgeSettings()), []
    cursor = None
    while True:
        batch = source.read(cursor, NOW)
        found += [finding for obs in batch.observations for finding in judge.observe(obs).findings]
        cursor = batch.cursor
        if not batch.more:
            return said(found)


def in_pieces(spec: SourceSpec, data: bytes, cuts: list[int]) -> list[tuple[object, ...]]:
    """What is found when the log grows by pieces, with smartmon started anew for each."""
    found: list[Finding] = []
    cursor, state = "null", "null"
    for cut in [*sorted(cuts), len(data)]:
        spec.path.write_bytes(data[:cut])
        os.utime(spec.path, (NOW - 10, NOW - 10))
        source, judge = open_source(spec), Judge(JudgeSettings(), json.loads(state))
        more = True
        while more:
            batch = source.read(json.loads(cursor), NOW)
            found += [finding for obs in batch.observations for finding in judge.observe(obs).findings]
            cursor, more = json.dumps(batch.cursor), batch.more
        state = json.dumps(judge.state())
    return said(found)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.floats(0, 1), max_size=6))
def test_the_answer_does_not_depend_on_how_the_log_was_cut(kind: str, seed: int, cuts: list[float]) -> None:
    name, write = FORMATS[kind]
    data = write(curve(seed, 300))
    with TemporaryDirectory() as folder:
        whole, growing = Path(folder) / "whole" / name, Path(folder) / "growing" / name
        for path in (whole, growing):
            path.parent.mkdir()
            path.write_bytes(data)
            os.utime(path, (NOW - 10, NOW - 10))
        assert replay(whole, JudgeSettings(), now=NOW).format == kind
        expected = at_once(whole)
        assert expected
        spec = SourceSpec(name, kind, growing, replay_source(growing).spec.rank)
        assert in_pieces(spec, data, [int(cut * len(data)) for cut in cuts]) == expected
