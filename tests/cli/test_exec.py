"""The command line of `smartmon exec`: what it says of itself, and what it refuses before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmon.cli import main


def ended(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The exit code and what was printed."""
    with pytest.raises(SystemExit) as end:
        main(["exec", *words])
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out, printed.err


def test_help_fits_a_terminal_and_says_what_comes_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = ended(capsys, "--help")
    assert (code, max(map(len, out.splitlines())) <= 80) == (0, True)
    assert "Example: smartmon exec -- torchrun --nproc-per-node 8 train.py" in out
    assert "with its exit code, or of the same signal" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "Missing argument"),
        (("--name", "a/b", "--", "true"), 2, "--name 'a/b' must be the name of a folder, like: --name my-run"),
        (("--name", ".hidden", "--", "true"), 2, "must be the name of a folder"),
        (("--config", "none.toml", "--", "true"), 2, "none.toml"),
        (("--", "no-such-program"), 127, "smartmon: cannot run no-such-program: it is not on the PATH"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended_with, _, err = ended(capsys, *words)
    assert (ended_with, said in " ".join(err.split())) == (code, True), err
    assert list(tmp_path.iterdir()) == []
