"""`smartmon status`: is it fine, what happened, what was kept, when will it be done."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from smartmon.cli.options import AsJson, BaseDirs, ConfigPath, OneRun

INCIDENT_OPEN = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    run: OneRun = None,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    check: Annotated[bool, typer.Option("--check", help="Exit 10 when an incident is open.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how every run is doing, and its open incidents.

    Exits 0, or with --check 10 when an incident of the runs shown is open, so that scripts can ask.

    Example: smartmon status --check --base-dir ~/train || mail -s trouble me
    """
    from smartmon import queries
    from smartmon.cli.context import load_config, open_store
    from smartmon.cli.output import print_json
    from smartmon.cli.status_text import status_text

    settings = load_config(base_dir, config)
    now = time.time()
    with open_store(settings) as store:
        overview = queries.status(store, now=now, run=run)
        events = [] if as_json else queries.events(store, run=run, limit=5)
    if as_json:
        print_json(overview.to_json())
    else:
        print(status_text(overview, events, base_dir=settings.base_dirs[0], now=now))
    raise typer.Exit(INCIDENT_OPEN if check and overview.open_incidents else 0)
