from __future__ import annotations

import json
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from smartmon.errors import SourceError
from smartmon.records import SourceRank
from smartmon.sources import FORMATS, SourceSpec, open_source, registry, replay_source, sniff
from smartmon.sources.status_file import StatusFile

STATE = {"global_step": 2, "log_history": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]}
STATUS = {"status": "training", "current_step": 5, "loss": 1.0}
ROWS = '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (json.dumps(STATE), "trainer_state"),
        (json.dumps(STATE, indent=2), "trainer_state"),
        (json.dumps(STATUS), "status"),
        (json.dumps(STATUS, indent=2), "status"),
        (ROWS, "jsonl"),
        ("\ufeff\n" + ROWS + '{"step": 3, "lo', "jsonl"),
        ('{"type": "config"}\nnot json\n' + ROWS, "jsonl"),
        ("step,loss\n1,2.0\n2,1.9\n", "csv"),
        ('{"name": "x"}\n{"name": "y"}\n', None),
        ("", None),
        ("[1, 2]", None),
        ("\0" * 5000, None),
    ],
)
def test_a_file_is_known_by_what_it_holds(tmp_path: Path, text: str, found: str | None):
    (tmp_path / "some.file").write_text(text)
    assert sniff(tmp_path / "some.file") == found


def test_a_long_log_is_known_by_its_beginning(tmp_path: Path):
    (tmp_path / "x").write_text(ROWS * 10_000)
    assert sniff(tmp_path / "x") == "jsonl"


def test_one_row_is_a_log_if_its_name_says_so(tmp_path: Path):
    (tmp_path / "x.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert sniff(tmp_path / "x.jsonl") == "jsonl"


def test_a_folder_of_checkpoints_can_be_replayed(tmp_path: Path):
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text(json.dumps(STATE))
    for path in (tmp_path, tmp_path / "checkpoint-2", tmp_path / "checkpoint-2" / "trainer_state.json"):
        rows = replay_source(path).read(None, 2e9).observations
        assert [row.step for row in rows] == [1, 2]
        assert rows[0].rank is SourceRank.STATE


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "it is not there"),
        (lambda path: path.mkdir(), "folder without anything in it that smartmon reads"),
        (
            lambda path: path.write_text("hello"),
            "nothing that smartmon knows how to read; it reads status files, JSON Lines",
        ),
    ],
)
def test_what_cannot_be_replayed_says_why(tmp_path: Path, make: Any, words: str):
    make(tmp_path / "x\n")
    with pytest.raises(SourceError, match=words) as caught:
        replay_source(tmp_path / "x\n")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_opens(tmp_path: Path, name: str):
    source = open_source(SourceSpec("x", name, tmp_path / "x"))
    assert source.spec.format == name
    assert source.stamp() == source.stamp()
    assert source.read(None, 0.0).observations == ()


def test_an_unknown_format_is_named(tmp_path: Path):
    with pytest.raises(SourceError, match='format "excel"; there are: status, jsonl'):
        open_source(SourceSpec("x", "excel", tmp_path))


def test_other_packages_bring_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    theirs = EntryPoint("theirs", "smartmon.sources.status_file:StatusFile", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda **wanted: EntryPoints([theirs]).select(**wanted))
    assert isinstance(open_source(SourceSpec("x", "theirs", tmp_path)), StatusFile)
