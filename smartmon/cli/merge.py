"""`smartmon merge`: an adapter and its base as one model."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from smartmon.cli.options import AsJson


class BaseKind(enum.StrEnum):
    """Which weights an adapter is added to."""

    DEQUANTIZED = "dequantized"
    ORIGINAL = "original"


class Dtype(enum.StrEnum):
    """The type of the merged weights."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("merge")(merge)


def merge(
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER", help="An adapter, a checkpoint, a training's output, or a snapshot.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the merged model; must not exist, or be empty.")
    ],
    base_model: Annotated[
        str | None,
        typer.Option(
            "--base-model", metavar="MODEL", help="The model to merge into.", show_default="what the adapter names"
        ),
    ] = None,
    base: Annotated[
        BaseKind | None,
        typer.Option(
            "--base",
            help="Its weights as 4 bits give them back, or as they are.",
            show_default="dequantized after QLoRA, else original",
        ),
    ] = None,
    dtype: Annotated[
        Dtype, typer.Option("--dtype", help="Type of the merged weights.", show_default="that of the base model")
    ] = Dtype.AUTO,
    base_dir: Annotated[
        Path, typer.Option("--base-dir", "-C", metavar="DIR", help="Where snapshots are looked up by name.")
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write an adapter and its base model as one model.

    What QLoRA learned made up for what 4 bits lose, so it is added to the base as 4 bits give it back: the merged model
    answers as the trained one did. The folder appears whole or not at all, and loads in Transformers, vLLM and others.

    Example: smartmon merge current_model merged
    """
    import sys

    from smartmon import text
    from smartmon.cli.output import print_json
    from smartmon.trainer.finding import find
    from smartmon.trainer.merge import merge as merged

    def say(line: str) -> None:
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    found = find(adapter, base_model=base_model, snapshots_dir=base_dir / "snapshots")
    say(f"adapter: {text.clean(found.folder)}" + (f" ({text.clean(found.note)})" if found.note else ""))
    done = merged(found, out, base=base.value if base else None, dtype=dtype.value, say=say)
    if as_json:
        about = {"adapter": str(found.folder), "base_model": done.base_model, "base": done.base, "dtype": done.dtype}
        print_json(
            {"path": str(done.folder), **about, "bytes": done.bytes, "files": done.files, "seconds": done.seconds}
        )
        return
    size, took = text.size(done.bytes), text.duration(done.seconds)
    print(f"merged: {text.clean(out)}, {size} in {done.dtype}, {done.files} files, in {took}")
    print(f"try it: smartmon sample {text.clean(out)}")
