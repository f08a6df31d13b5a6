"""`smartmon report`: pictures of a run."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartmon.cli.extras import needed
from smartmon.cli.options import AsJson, BaseDirs, ConfigPath, Keys, Patterns, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from smartmon.config import Config
    from smartmon.figures.album import Album
    from smartmon.store import RunRow, Store

KINDS = (".png", ".svg", ".html")
_LOOK = 1.0
"""Seconds between two looks at a run that is followed."""
_PAUSE = 15.0
"""Seconds after a look that came to nothing."""
_PICTURE = 1 << 20
"""Bytes that a picture and the numbers beside it take at most, but for the longest runs."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's name, any unambiguous start of it, or a log or folder of logs."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="What to write: .png, .svg or .html by its ending; with --every a folder.",
            show_default="RUN.png; training_viz in the run's folder",
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            "--every", min=1, metavar="N", help="Follow the run and draw a picture each N steps, and the latest."
        ),
    ] = None,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    pattern: Patterns = None,
    key: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Draw the picture of a run, once or every so many steps.

    On it: loss, accuracy, throughput, learning rate, the last 500 steps, the last samples, and what happened.

    The .html is one file for any browser, without scripts. With --every it goes on until the run ends or Ctrl-C, and
    keeps metrics_history.json and text_samples.json beside the pictures; of the past it draws the newest 20.

    Example: smartmon report my-run -o my-run.html
    """
    from smartmon.cli.context import load_config

    settings = load_config(base_dir, config)
    with needed("drawing", "plots"), _opened(settings, run, reading(pattern, key)) as (store, row, live):
        if every is None:
            _once(store, row, output, as_json=as_json)
        else:
            _follow(settings, store, row, output, every, live=live, as_json=as_json)


@contextmanager
def _opened(settings: Config, run: str, options: Mapping[str, object]) -> Iterator[tuple[Store, RunRow, bool]]:
    """A stored run, or one made of a log; and whether it may go on. A folder is a run's name first, then logs."""
    from smartmon import queries
    from smartmon.cli.context import open_store, reading_of
    from smartmon.errors import StoreError, UsageError
    from smartmon.text import clean

    path = Path(run)
    if run.startswith(("/", "./", "../")) and not path.exists():
        raise UsageError(f"there is no log or folder {clean(run)}; runs go by their names: smartmon runs list")
    if options or path.is_file():
        known = False
    elif not path.is_dir():
        known = True
    else:
        try:
            with open_store(settings) as store:
                known = queries.resolve_run(store, run) is not None
        except (StoreError, UsageError):
            known = False
    if known:
        with open_store(settings) as store:
            yield store, queries.resolve_run(store, run), True
        return
    from smartmon.cli.report_log import of_log

    with of_log(path, settings, reading_of(settings, path, options)) as (store, row):
        yield store, row, False


def _once(store: Store, run: RunRow, output: Path | None, *, as_json: bool) -> None:
    from smartmon import figures
    from smartmon.errors import UsageError
    from smartmon.text import clean

    file = output or Path(f"{_file_name(run.name)}.png")
    if file.suffix.lower() not in KINDS:
        raise UsageError(f"cannot draw into {clean(file)}: its name must end in {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    told = figures.portrait(store, run)
    drawn = {
        ".png": lambda: figures.png(told),
        ".svg": lambda: figures.svg(told).encode(),
        ".html": lambda: figures.html(told).encode(),
    }[file.suffix.lower()]()
    try:
        figures.write(file.parent, file.name, drawn)
    except OSError as error:
        raise UsageError(f"cannot write {clean(file)}: {error.strerror}; name another place with --output") from None
    _say(run, [file], as_json=as_json)


def _file_name(run: str) -> str:
    """The run's name as that of a file here, whatever it holds."""
    return re.sub(r"[^\w.-]+", "-", run).strip("-.")[:80] or "run"


def _follow(
    settings: Config, store: Store, run: RunRow, output: Path | None, every: int, *, live: bool, as_json: bool
) -> None:
    """Draw what is due until the run ends. Ctrl-C is the way to leave it."""
    from smartmon import queries
    from smartmon.errors import UsageError
    from smartmon.figures.album import FOLDER, Album
    from smartmon.text import clean

    if output is not None and output.suffix.lower() in KINDS:
        raise UsageError(f"with --every, --output names a folder; {clean(output)} looks like a file")
    folder = output or (run.path / FOLDER if live else Path(FOLDER))
    if live:
        with suppress(OSError):
            os.nice(10)  # the training needs the processor more
        signal.signal(signal.SIGTERM, _end)
    try:
        album = Album(folder, every)
        if live and not run.state.ended and not queries.daemon_info(store, now=time.time()).alive:
            print("no daemon is watching; pictures follow once one does: smartmon run", file=sys.stderr)
        last = ""
        while True:
            row = store.run_by_id(run.id) or run
            problem = _look(settings, store, row, album, live=live, as_json=as_json)
            if problem and problem != last:
                print(problem, file=sys.stderr)
            last = problem
            if row.state.ended or not live:
                return
            time.sleep(_PAUSE if problem else _LOOK)
    except KeyboardInterrupt:
        return


def _look(settings: Config, store: Store, run: RunRow, album: Album, *, live: bool, as_json: bool) -> str:
    """Draw what is due now; returns what stands in the way, which may pass as the run goes on."""
    from smartmon.errors import UsageError
    from smartmon.snapshots.room import Need, lacking
    from smartmon.snapshots.upkeep import limits_of
    from smartmon.text import clean, count

    try:
        if live and lacking(album.folder, Need(_PICTURE, 1, 0), limits_of(settings.snapshots)):
            # The trainer needs it more.
            return f"the disk of {clean(album.folder)} is nearly full; pictures go on once there is room"
        _say(run, album.keep_up(store, run), as_json=as_json)
    except OSError as error:
        problem = f"cannot write pictures into {clean(album.folder)}: {error.strerror or error}"
        if live and not run.state.ended:
            return f"{problem}; trying again"
        raise UsageError(f"{problem}; --output names another folder") from None
    if album.skipped is not None:
        first, end = map(count, album.skipped)
        print(f"drawing is slower than the run: none of steps {first} to {end}; try a larger --every", file=sys.stderr)
    return ""


def _say(run: RunRow, files: list[Path], *, as_json: bool) -> None:
    """One line for each file; with --json one object a line."""
    from smartmon.cli.output import print_json
    from smartmon.text import clean, size

    for file in files:
        many = file.stat().st_size
        if as_json:
            print_json({"run": run.name, "path": str(file), "bytes": many}, indent=None)
        else:
            print(f"{clean(run.name)}: {clean(file)} ({size(many)})")
    sys.stdout.flush()


def _end(_signal: int, _frame: object) -> None:
    # Unwinds, so that no half-written picture stays behind.
    sys.exit(143)
