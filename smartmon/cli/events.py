"""`smartmon events`: the timeline, as it is and as it grows."""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from smartmon.cli.options import AsJson, BaseDirs, ConfigPath, Kinds, Limit, RunName, Since

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smartmon.store import EventRow

MinSeverity = Annotated[str | None, typer.Option("--severity", help="At least this: info, warning or critical.")]
GROUP_HELP = "What happened, in order.\n\nExample: smartmon events list --since 2h --base-dir ~/train"
_POLL_SECONDS = 0.5
_TAIL_START = 10
_BATCH = 10_000


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=GROUP_HELP, no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_events)
    group.command("tail")(tail)
    app.add_typer(group, name="events")


def list_events(
    *,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    run: RunName = None,
    kind: Kinds = None,
    severity: MinSeverity = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List what happened: the newest 50 events, oldest first.

    Example: smartmon events list --kind loss_spike --since 2h --base-dir ~/train
    """
    from smartmon import queries
    from smartmon.cli.context import load_config, open_store
    from smartmon.cli.output import print_json

    settings = load_config(base_dir, config)
    after, kinds = queries.since(since, time.time()), queries.known_kinds(kind)
    with open_store(settings) as store:
        found = queries.events(
            store, run=run, kinds=kinds, since=after, limit=limit, min_severity=queries.at_least(severity)
        )
    if as_json:
        print_json([queries.event_json(event) for event in found])
    elif found:
        _show(found, as_json=False)
    else:
        print("no such event" if run or kind or severity or since else "no event yet", file=sys.stderr)


def tail(
    *,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    run: RunName = None,
    kind: Kinds = None,
    severity: MinSeverity = None,
    since: Since = None,
    as_json: AsJson = False,
) -> None:
    """Show the last events, then each new one as it comes.

    The last 10, or all --since; Ctrl-C ends it. With --json one object a line, each flushed at once.

    Example: smartmon events tail --severity warning --json --base-dir ~/train | ./on-event.sh
    """
    from smartmon import queries
    from smartmon.cli.context import load_config, open_store

    settings = load_config(base_dir, config)
    after, least = queries.since(since, time.time()), queries.at_least(severity)
    kinds = queries.known_kinds(kind)
    with open_store(settings) as store:
        last = store.last_event_id()
        limit = _TAIL_START if after is None else 1_000_000
        first = queries.events(store, run=run, kinds=kinds, since=after, limit=limit, min_severity=least)
        _show([event for event in first if event.id <= last], as_json=as_json)
        while not wait(_POLL_SECONDS):
            # What a filter leaves out is passed over too, so that no poll reads it again.
            upto = store.last_event_id()
            fresh = queries.events(store, run=run, kinds=kinds, after_id=last, limit=_BATCH, min_severity=least)
            _show(fresh, as_json=as_json)
            newest = fresh[-1].id if fresh else 0
            last = newest if len(fresh) == _BATCH else max(upto, newest)


def _show(events: Sequence[EventRow], *, as_json: bool) -> None:
    from smartmon.cli.output import print_json
    from smartmon.cli.status_text import event_lines, width
    from smartmon.queries import event_json

    columns = width() if sys.stdout.isatty() else sys.maxsize
    for event in events:
        if as_json:
            print_json(event_json(event), indent=None)
        else:
            print(*event_lines(event, columns=columns), sep="\n")
    sys.stdout.flush()


def wait(timeout: float) -> bool:
    """Sleep; return True at once when whoever reads our output has gone, as `head` does."""
    try:
        descriptor = sys.stdout.fileno()
    except OSError:
        time.sleep(timeout)
        return False
    poller = select.poll()
    poller.register(descriptor, 0)
    return bool(poller.poll(timeout * 1000))
