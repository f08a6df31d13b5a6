"""What a person sees of a training on a terminal and in a pipe."""

from __future__ import annotations

import io
import math
import os
import re
from pathlib import Path

import pytest

from smartmon.trainer.progress import Console, bar, fact, line

METRICS = {"loss": 0.53214, "accuracy_percent": 78.1, "learning_rate": 1.9e-4, "tokens_per_sec": 5321.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("step", "total"), [(1, 51), (12_000, 300_000), (999_999, 1_000_000)])
def test_a_row_fits_into_80_columns(step: int, total: int) -> None:
    shown = line(step, total, METRICS | {"eta_seconds": 4000.0, "grad_norm": 3.0})
    assert len(shown) < 80
    assert "loss 0.5321  acc 78.1%" in shown


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_bar_stays_within_the_terminal(width: int) -> None:
    shown = bar(120, 300, METRICS | {"eta_seconds": 65.0}, width)
    assert len(shown) == width - 1
    assert "120/300" in shown


def test_the_bar_is_full_at_the_end() -> None:
    assert "─" not in bar(300, 300, METRICS, 80)


def test_nan_is_shown_as_nan() -> None:
    assert "loss NaN" in line(1, 2, {"loss": math.nan})


def test_a_line_is_written_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    console = Console(stream)
    console.begin(0)
    console.step(2, 2)
    console.say("checkpoint-2 saved")
    console.close()
    shown = [part for part in re.split(r"\r\x1b\[2K|\n", stream.getvalue()) if part]
    assert [part for part in shown if "━" not in part] == ["checkpoint-2 saved"]
    assert stream.getvalue().endswith("\x1b[2K")


def test_a_pipe_gets_lines_and_no_control_characters() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.begin(0)
    for step in range(1, 101):
        console.step(step, 100)
        console.row(step, 100, METRICS)
    console.close()
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert len(lines) < 10
    assert lines[0].startswith("step   1/100")
    assert lines[-1].startswith("step 100/100")


def test_a_reader_that_goes_away_ends_no_training() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        console = Console(stream)
        console.say("nobody reads this")
        console.say("nor this")
        assert Path(f"/proc/self/fd/{stream.fileno()}").readlink() == Path(os.devnull)


def test_facts_stand_in_two_columns() -> None:
    assert fact("device: CPU") == ["device      CPU"]
    assert fact("gradient checkpointing: off") == ["            gradient checkpointing: off"]
    assert all(len(part) < 80 for part in fact(f"memory: {'a word ' * 40}"))
