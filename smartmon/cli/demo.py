"""`smartmon demo`: trouble on purpose, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to play in; made anew each time.")] = Path(
        "demo"
    ),
    keep: Annotated[bool, typer.Option("--keep", help="Let the daemon watch on afterwards, until Ctrl-C.")] = False,
) -> None:
    """Watch a real training go wrong, in about a minute.

    All on this machine, on the CPU, without a network: a small language model is trained with QLoRA in 4 bits until a
    wrong learning rate ruins it and NaN ends it. The real daemon watches, and serves the live page; its alerts arrive
    at a local receiver, which prints them; the last good adapter is taken from a snapshot and asked the questions it
    was trained on; the run's picture is drawn.

    Example: smartmon demo --keep /tmp/demo
    """
    from smartmon.demo.play import play

    play(folder, lambda line: print(line, flush=True), keep=keep)
