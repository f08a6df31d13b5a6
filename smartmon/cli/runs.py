"""`smartmon runs`: the runs that have been seen."""

from __future__ import annotations

import time

import typer

from smartmon.cli.options import AsJson, BaseDirs, ConfigPath, Kinds, Limit, RunName, Since

GROUP_HELP = "The runs that have been seen.\n\nExample: smartmon runs list --base-dir ~/train"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=GROUP_HELP, no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_runs)
    app.add_typer(group, name="runs")


def list_runs(
    *,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    run: RunName = None,
    kind: Kinds = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List the runs: the newest 50, oldest first. --kind takes a state, such as running or failed.

    Example: smartmon runs list --kind running --base-dir ~/train
    """
    from smartmon import queries
    from smartmon.cli.context import load_config, open_store
    from smartmon.cli.output import print_json, table
    from smartmon.text import clock, count, number

    settings = load_config(base_dir, config)
    now = time.time()
    after = queries.since(since, now)
    with open_store(settings) as store:
        runs = queries.runs(store, now=now, run=run, states=kind or (), since=after, limit=limit)
    if as_json:
        print_json([one.to_json() for one in runs])
        return
    if not runs:
        print("no run has been seen yet" if not (run or kind or since) else "no such run")
        return
    rows = [
        (
            one.row.name,
            one.row.state.value,
            count(one.row.step),
            count(one.row.total_steps),
            number(one.latest.get("loss")),
            number(one.best_loss),
            len(one.open_incidents),
            clock(one.last_step_at),
        )
        for one in runs
    ]
    print(
        table(
            ["run", "state", "step", "of", "loss", "best", "open", "last step"], rows, right=frozenset({2, 3, 4, 5, 6})
        )
    )
