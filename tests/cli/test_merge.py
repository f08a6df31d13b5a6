"""`smartmon merge`: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smartmon.cli import main
from smartmon.demo import tiny


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it wrote."""
    with pytest.raises(SystemExit) as exit_:
        main([str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("bitsandbytes", reason="pip install 'smartmon[train]'")
    from tests.trainer.adapters import make_adapter

    folder = tmp_path_factory.mktemp("merge")
    make_adapter(folder / "adapter", tiny.build_model(folder / "model", hidden=64, layers=2))
    return folder / "adapter"


def test_it_says_which_base_why_and_how_large(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "merge", adapter, tmp_path / "merged")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].endswith("dequantized (the adapter learned on 4 bits)")
    assert "0.7 MB in float32, 7 files" in lines[2] or "kB in float32, 7 files" in lines[2]
    assert (tmp_path / "merged" / "model.safetensors").is_file()


def test_the_document_stands_alone_on_standard_output(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, err = run(capsys, "merge", adapter, tmp_path / "merged", "--base", "original", "--json")
    told = json.loads(out)
    assert {
        "path": str(tmp_path / "merged"),
        "base": "original",
        "dtype": "float32",
        "files": 7,
    }.items() <= told.items()
    assert told["bytes"] == sum(path.stat().st_size for path in (tmp_path / "merged").iterdir())
    assert "as asked" in err


def test_what_cannot_be_merged_is_one_sentence(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv, words in {
        (tmp_path / "nowhere", tmp_path / "out"): "is not there",
        (adapter.parent / "model", tmp_path / "out"): "whole model already",
        (adapter, adapter.parent): "holds something",
        (adapter, tmp_path / "out", "--base-model", tmp_path / "none"): "there is no model folder",
    }.items():
        code, _, err = run(capsys, "merge", *argv)
        assert code == 2
        assert words in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Example: smartmon merge" in run(capsys, "merge", "--help")[1]
