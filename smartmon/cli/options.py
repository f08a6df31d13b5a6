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
