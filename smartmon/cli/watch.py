"""`smartmon watch`: the runs, live in the terminal."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from smartmon.cli.options import BaseDirs, ConfigPath, OneRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from smartmon.cli.watch_view import Look

_LIVE_SECONDS = 1.0
_PLAIN_SECONDS = 30.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)


def watch(
    run: OneRun = None,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    interval: Annotated[
        float | None,
        typer.Option(min=0.1, help="Seconds between two looks.", show_default="1; 30 when not in a terminal"),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and exit.")] = False,
) -> None:
    """Watch the runs live: progress, loss, incidents, snapshots. Ctrl-C ends it.

    When the output is no terminal, a block of plain text is printed every --interval and whenever something happens.

    Example: smartmon watch --base-dir ~/train
    """
    from rich.console import Console

    from smartmon.cli.context import load_config, open_store
    from smartmon.cli.watch_view import Frame, take_look
    from smartmon.errors import StoreError

    settings = load_config(base_dir, config)
    base = settings.base_dirs[0]

    def look() -> Look:
        return take_look(lambda: open_store(settings), base, run, now=time.time())

    console = Console(markup=False, highlight=False, emoji=False)
    live = console.is_terminal and not console.is_dumb_terminal
    if once:
        seen = look()
        if seen.overview is None:
            # There is no later frame in which it could have come.
            raise StoreError(seen.problem.removeprefix("Waiting: "))
        # A frame on a terminal, words in a file.
        if live:
            console.print(Frame(seen, live=False), end="")
        else:
            print(seen.plain())
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        if live:
            _watch_live(console, look, interval or _LIVE_SECONDS)
        else:
            _watch_plain(look, interval or _PLAIN_SECONDS)
    except KeyboardInterrupt:
        # The way to leave; nothing went wrong.
        return


def _watch_live(console: Console, look: Callable[[], Look], interval: float) -> None:
    from rich.live import Live

    from smartmon.cli.watch_view import Frame

    # Redrawn four times a second, so that a resized terminal is filled at once; the store is asked less often.
    live = Live(
        Frame(look()), console=console, screen=True, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False
    )
    try:
        # Not `with live`: a signal while the first frame is drawn would leave the terminal on the other screen.
        live.start(refresh=True)
        while True:
            time.sleep(interval)
            live.update(Frame(look()))
    finally:
        live.stop()


def _watch_plain(look: Callable[[], Look], interval: float) -> None:
    from smartmon.cli.events import wait

    news: object = None
    due = 0.0
    while True:
        seen = look()
        if seen.news != news or time.monotonic() >= due:
            _print(seen)
            news, due = seen.news, time.monotonic() + interval
        if wait(min(interval, _LIVE_SECONDS)):
            return


def _print(look: Look) -> None:
    print(look.plain(), end="\n\n", flush=True)


def _end(_signal: int, _frame: object) -> None:
    # Unwinds, so that the terminal gets its screen and cursor back.
    sys.exit(143)
