"""The command line: one file per command, and the one place where errors become messages and exit codes.

Nothing heavy is imported here or at the top of a command's file, so that `smartmon --help` stays quick.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

import smartmon
from smartmon.errors import SmartmonError

COMMANDS = (
    "run",
    "exec",
    "watch",
    "dashboard",
    "status",
    "runs",
    "events",
    "snapshots",
    "replay",
    "why",
    "report",
    "alerts",
    "config",
    "doctor",
    "train",
    "queue",
    "control",
    "sample",
    "merge",
    "demo",
)
"""The modules of this package that hold a command each; every one has `register(app)`."""

HELP = """Watch ML training from outside: notice trouble, keep the checkpoint, tell you.

Example: smartmon run --base-dir ~/train

Exit status: 0 fine, 1 a bug in smartmon, 2 usage or bad config, 3 partial (some items damaged or
failed), 4 cannot reach a store or source, 5 locked by another daemon or training, 10 an incident is open
(status --check); train: 20 the loss is NaN, 21 bad data, 22 no whole checkpoint to go on from."""


class _InOrder(TyperGroup):
    """Lists the commands as a user meets them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx), key=COMMANDS.index)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"smartmon {smartmon.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _program(names: Sequence[str], *, listed: bool = False) -> typer.Typer:
    """Return the program with these commands; `listed` ones have their line of help and nothing else."""
    program = typer.Typer(
        name="smartmon",
        cls=_InOrder,
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    program.callback()(_root)
    for name in names:
        module = importlib.import_module(f"smartmon.cli.{name}")
        if listed:
            whole = typer.Typer()
            module.register(whole)
            texts = [group.typer_instance.info.help for group in whole.registered_groups if group.typer_instance]
            texts += [command.callback.__doc__ for command in whole.registered_commands if command.callback]
            program.command(name, help=texts[0])(lambda: None)
        else:
            module.register(program)
    return program


app = _program(COMMANDS)


def _needed(words: Sequence[str]) -> typer.Typer:
    """Return as much of the program as the words call for: to work out what all commands take costs 100 ms."""
    if "_SMARTMON_COMPLETE" in os.environ:
        return app
    first = next((word for word in words if not word.startswith("-")), None)
    if first is None:
        return _program(COMMANDS, listed=True)
    return _program([first]) if first in COMMANDS else app


def main(argv: list[str] | None = None) -> None:
    """Run one command. Every error meant for a person leaves here as one message, without a traceback.

    A closed pipe (`smartmon events list | head`) ends quietly; Ctrl-C exits 130.
    """
    _fill_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        # In an ASCII locale a run's name must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if argv is None else argv
    if "run" in words:
        # Before Typer reads the words of the command, which takes pydantic, which takes hashlib.
        from smartmon import lean

        lean.leave_out_openssl()
    try:
        _needed(words)(args=argv, prog_name="smartmon")
    except SmartmonError as error:
        print(f"smartmon: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _end_quietly()
    except SystemExit as error:
        # The command line library makes exit status 1 of a closed pipe.
        if isinstance(error.__context__, BrokenPipeError):
            _end_quietly()
        raise
    except KeyboardInterrupt:
        sys.exit(130)


def _end_quietly() -> NoReturn:
    """Whoever read our output has enough: no error. Python flushes once more at exit; give that somewhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(0)


def _fill_standard_streams() -> None:
    """Give closed standard streams to /dev/null: else a lock or a socket would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
