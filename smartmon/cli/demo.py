"""`smartmon demo`: trouble on purpose, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Folder to play in; made anew each time.")
    ] = Path("demo"),
    pace: Annotated[float, typer.Option(min=10, max=1000, help="Steps a second of the run.")] = 100.0,
) -> None:
    """Watch a scripted run go wrong, in under a minute.

    All on this machine: a small process writes the files of a fine-tune (status, JSON Lines, safetensors checkpoints,
    rotation); the real daemon watches it, alerts arrive at a local receiver that prints them, and the snapshots that
    were kept are listed.

    Example: smartmon demo --dir /tmp/demo
    """
    from smartmon.demo.play import run

    run(folder, pace, lambda line: print(line, flush=True))
