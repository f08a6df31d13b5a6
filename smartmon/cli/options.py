"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BaseDirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--base-dir", "-C", metavar="DIR", help="Training directory; repeatable.", show_default="current directory"
    ),
]
ConfigPath = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Config file.", show_default="./smartmon.toml, then the user's, then /etc"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
RunName = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="Only this run: its name, or any unambiguous start of it."),
]
Kinds = Annotated[list[str] | None, typer.Option("--kind", metavar="KIND", help="Only this kind; repeatable.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="Only what is newer: 2h, 7d, or a date and time.")
]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most this many, the newest.")]
LossSpikeThreshold = Annotated[
    float | None,
    typer.Option(
        "--loss-spike-threshold",
        help="Rise of the loss over its recent mean that is a spike: 0.3 is 30 %.",
        show_default="0.3",
    ),
]
AccuracyDropThreshold = Annotated[
    float | None,
    typer.Option(
        "--accuracy-drop-threshold",
        help="Percentage points under the recent mean that are a drop.",
        show_default="10",
    ),
]
LossWindow = Annotated[
    int | None,
    typer.Option("--loss-window", help="How many values the rolling windows hold.", show_default="10"),
]
MinSteps = Annotated[
    int | None,
    typer.Option("--min-steps-between-saves", help="Steps between two snapshots of one kind.", show_default="500"),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", help="A set of thresholds: conservative, moderate, aggressive, early, stable or fine-tune."
    ),
]
NoiseGuard = Annotated[
    bool | None,
    typer.Option(
        "--noise-guard/--no-noise-guard",
        help="Let the run's own noise decide what is worth waking a person.",
        show_default="noise-guard",
    ),
]
Patterns = Annotated[
    list[str] | None,
    typer.Option(
        "--pattern",
        metavar="REGEX",
        help="How to read its lines: a regular expression with the named groups step, loss, ... (repeatable).",
        show_default=False,
    ),
]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="THEIRS=OURS",
        help="What a key of it means, such as train/ce=loss (repeatable).",
        show_default=False,
    ),
]
OneRun = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="Only this run: its name, or any unambiguous start of it.", show_default="all"),
]


def reading(patterns: list[str] | None, keys: list[str] | None) -> dict[str, object]:
    """Return how a log is to be read, as a source takes it; raise UsageError for what makes no sense."""
    from smartmon.errors import UsageError
    from smartmon.linepattern import check_pattern

    given: dict[str, object] = {}
    for pattern in patterns or ():
        try:
            check_pattern(pattern)
        except ValueError as error:
            raise UsageError(f"--pattern {pattern!r} {error}") from None
    if patterns:
        given["pattern"] = list(patterns)
    pairs = [key.partition("=") for key in keys or ()]
    for theirs, _, ours in pairs:
        if not theirs.strip() or not ours.strip():
            raise UsageError(f"--key {theirs!r} must say what a key means, like: --key train/ce=loss")
    if pairs:
        given["keys"] = {theirs.strip(): ours.strip() for theirs, _, ours in pairs}
    return given
