"""`smartmon exec`: any command under watch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartmon.cli.options import ConfigPath

if TYPE_CHECKING:
    from smartmon.exec.guard import Guard


def register(app: typer.Typer) -> None:
    """Add the command."""
    # What follows the command's own name is the command's: no option of ours is looked for there.
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("exec", context_settings=settings)(exec_)


def exec_(
    words: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The command, as you would type it.")],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What to call the run.", show_default="from the command"),
    ] = None,
    base_dir: Annotated[
        Path | None,
        typer.Option(
            "--base-dir", "-C", metavar="DIR", help="Where the run's folder is made.", show_default="current directory"
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run-dir", metavar="DIR", help="The run's folder itself, in place of DIR/NAME."),
    ] = None,
    config: ConfigPath = None,
    instrument: Annotated[
        bool | None,
        typer.Option(
            "--instrument/--no-instrument",
            help="Add the callback to Hugging Face trainers; on several machines only if asked for, and then on all.",
            show_default="instrument, on one machine",
        ),
    ] = None,
    detail_steps: Annotated[
        int,
        typer.Option(
            min=0,
            help="With the callback: let the model answer a sample every so many steps; 0 never, as it costs time.",
        ),
    ] = 0,
    daemon: Annotated[
        bool, typer.Option("--daemon/--no-daemon", help="Start a daemon for it where none watches yet.")
    ] = True,
) -> None:
    """Run any training command under watch, unchanged.

    What it prints is passed on and kept in DIR/NAME/logs/output.log (at most 160 MB); its start, end, exit code, signal
    or OOM kill stand in DIR/NAME/status/training_status.json. A daemon watches DIR: the one that is there, or one that
    is started for this run and ended after its last alert. A trainer of Hugging Face's Transformers gets the callback
    by an import hook (not under python -I, -E or -S).

    Ends as the command does: with its exit code, or of the same signal (a shell says 137 for SIGKILL). Ctrl-C, SIGTERM,
    SIGHUP, SIGUSR1 and the like go to its process group once. When the terminal is closed it runs on, as under nohup.
    127: no such command; 126: it cannot be run.

    Example: smartmon exec -- torchrun --nproc-per-node 8 train.py --lr 1e-4
    """
    from smartmon.errors import UsageError
    from smartmon.exec import command, runfolder
    from smartmon.exec.run import Run
    from smartmon.exec.signals import die_of

    if name is not None and (name in ("", ".", "..") or "/" in name or name.startswith(".") or "\0" in name):
        raise UsageError(f"--name {name!r} must be the name of a folder, like: --name my-run")
    command.check(words)
    base, given = (base_dir or Path()).resolve(), run_dir.resolve() if run_dir is not None else None
    if given is not None and not given.is_relative_to(base):
        base = given  # a daemon finds a run that is the base dir itself
    guard = _guard(base, config) if daemon else None
    folder = runfolder.hold(base, name, given, words)
    try:
        end = Run(folder, guard).run(words, instrument=instrument, detail_steps=detail_steps)
    finally:
        folder.leave()
    if end.signal:
        die_of(end.signal)
    raise typer.Exit(end.exit_code)


def _guard(base: Path, config: Path | None) -> Guard:
    """Return the watch over a base dir. A config that the daemon would refuse is refused now, not in an hour."""
    from smartmon.cli.context import load_config, open_store
    from smartmon.exec.guard import Guard

    settings = load_config([base], config)
    settings.require_secrets()
    options = ["--config", str(config.absolute())] if config is not None else []
    return Guard(base, options, lambda folder: open_store(load_config([folder], config)))
