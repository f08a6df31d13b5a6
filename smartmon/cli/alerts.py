"""`smartmon alerts`: try the notifiers, see what became of each message, send again what failed."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smartmon.cli.options import AsJson, BaseDirs, ConfigPath, Kinds, Limit, RunName, Since

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smartmon.config import Config
    from smartmon.config.sections import Notifier
    from smartmon.store.rows import DeliveryRow

STATES = ("pending", "sending", "sent", "dead")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Try, list and repeat alerts.\n\nExample: smartmon alerts test")
    group.command("test")(send_test)
    group.command("list")(list_)
    group.command("retry")(retry)
    app.add_typer(group, name="alerts")


def send_test(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The notifier's name; without one, all of them.")
    ] = None,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Send a real test message now, and say what came of it.

    It goes the way the daemon sends; no daemon is needed. Exits 3 when one failed.

    Example: smartmon alerts test phone
    """
    from smartmon.cli.context import load_config
    from smartmon.cli.output import print_json
    from smartmon.errors import PartialError
    from smartmon.text import clean

    loaded = load_config(base_dir, config)
    results = []
    for notifier in _chosen(loaded, name):
        results.append(_send_test(loaded, notifier))
        if not as_json:
            said = results[-1]
            print(f"{clean(said['notifier'])}: {'delivered' if said['ok'] else 'failed: ' + said['error']}", flush=True)
    if as_json:
        print_json(results)
    failed = [clean(result["notifier"]) for result in results if not result["ok"]]
    if failed:
        raise PartialError(f"no message reached {', '.join(failed)}")


def _chosen(config: Config, name: str | None) -> Sequence[Notifier]:
    from smartmon.errors import ConfigError, UsageError
    from smartmon.text import clean

    if not config.notifiers:
        raise ConfigError(
            'there is no notifier in the config; add one:\n\n  [[notifiers]]\n  name = "phone"\n'
            '  url = "ntfys://ntfy.sh/${MY_TOPIC}"'
        )
    if name is None:
        return config.notifiers
    chosen = [notifier for notifier in config.notifiers if notifier.name == name]
    if not chosen:
        known = ", ".join(clean(notifier.name) for notifier in config.notifiers)
        raise UsageError(f"there is no notifier {clean(name)!r}; the config has: {known}")
    return chosen


def _send_test(config: Config, notifier: Notifier) -> dict[str, Any]:
    import secrets
    import socket
    import time

    from smartmon.errors import ConfigError
    from smartmon.notify import render
    from smartmon.notify.redact import Redactor
    from smartmon.notify.send import send

    redactor = Redactor(config)
    delivery_id = secrets.token_hex(8)
    message = render.test(notifier.name, delivery_id, socket.gethostname(), time.time())
    said: dict[str, Any] = {"notifier": notifier.name, "id": delivery_id, "ok": False, "error": "", "permanent": True}
    try:
        url = notifier.resolve()
    except ConfigError as error:
        return said | {"error": redactor.clean(str(error))}
    result = send(
        url,
        message.title,
        message.body,
        severity=message.severity,
        limit=config.alerts.timeout,
        redactor=redactor,
    )
    return said | {"ok": result.ok, "error": result.error, "permanent": result.permanent}


def list_(
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help=f"Only this state: {', '.join(STATES)}; repeatable."),
    ] = None,
    run: RunName = None,
    kind: Kinds = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List messages and hooks, the newest 50, oldest first.

    What was sent, what waits, what failed and why.

    Example: smartmon alerts list --state dead
    """
    from smartmon import queries
    from smartmon.cli.context import load_config, open_store
    from smartmon.cli.output import print_json, table
    from smartmon.errors import UsageError
    from smartmon.notify.redact import Redactor
    from smartmon.text import clean, clock

    unknown = [one for one in state or () if one not in STATES]
    if unknown:
        raise UsageError(f"--state {clean(unknown[0])!r} is none of: {', '.join(STATES)}")
    after, kinds = queries.since(since, time.time()), queries.known_kinds(kind)
    loaded = load_config(base_dir, config)
    with open_store(loaded) as store:
        chosen = queries.resolve_run(store, run).id if run else None
        rows = store.deliveries(states=tuple(state or ()), limit=limit if not (run or kind or since) else 100_000)
    rows = [
        row
        for row in rows
        if (chosen is None or row.run_id == chosen)
        and (not kinds or _kind(row) in kinds)
        and (after is None or row.created_at >= after)
    ][-limit:]
    redactor = Redactor(loaded)
    if as_json:
        print_json([_as_json(row, redactor.clean(row.last_error)) for row in rows])
        return
    if not rows:
        print(
            "no messages"
            + (f" that are {' or '.join(state)}" if state else " that match" if run or kind or since else " yet")
        )
        return
    head = ("ID", "TIME", "STATE", "TRIES", "TO")
    lines = [(row.id, clock(row.created_at), row.state, row.attempts, row.notifier) for row in rows]
    first, *shown = table(head, lines, right=frozenset({3})).split("\n")
    print(first)
    for row, line in zip(rows, shown):
        print(line)
        # What and why are as long as they are: below, so that the table fits a terminal.
        for below in filter(None, (_title(row), redactor.clean(row.last_error) or _waiting(row))):
            print(textwrap.fill(clean(below), 80, initial_indent="  ", subsequent_indent="    "))


def _kind(row: DeliveryRow) -> str:
    told = row.payload.get("change") or row.payload.get("event") or {}
    return str(told.get("kind") or "")


def _title(row: DeliveryRow) -> str:
    from smartmon.notify import words
    from smartmon.notify.compose import change_of

    run = str(row.payload.get("run") or "")
    event = row.payload.get("event")
    return f"{words.words(str(event['kind']))} - {run}" if event else words.title(change_of(row), run)


def _waiting(row: DeliveryRow) -> str:
    from smartmon.text import clock

    if row.state == "pending":
        held = "held by the hourly limit, " if row.payload.get("capped") else ""
        return f"{held}due {clock(row.next_at)}"
    return f"told in {row.payload['within']}" if row.payload.get("within") else ""


def _as_json(row: DeliveryRow, error: str) -> dict[str, Any]:
    from datetime import datetime

    def iso(at: float | None) -> str | None:
        return None if at is None else datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")

    return {
        "id": row.id,
        "time": iso(row.created_at),
        "notifier": row.notifier,
        "kind": row.kind,
        "severity": row.severity.value,
        "state": row.state,
        "run": row.payload.get("run"),
        "title": _title(row),
        "attempts": row.attempts,
        "next_at": iso(row.next_at) if row.state == "pending" else None,
        "sent_at": iso(row.sent_at),
        "error": error,
        "told_in": row.payload.get("within"),
    }


def retry(
    delivery: Annotated[
        str | None, typer.Argument(metavar="ID", help="The message's id, or any unambiguous start of it.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every message that failed or still waits.")] = False,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Make failed or waiting messages due now.

    The daemon sends them, at its next start if none runs.

    Example: smartmon alerts retry --all
    """
    import time

    from smartmon import outbox
    from smartmon.cli.context import load_config, open_store
    from smartmon.cli.output import print_json
    from smartmon.errors import UsageError

    if (delivery is None) == (not every):
        raise UsageError("name one message, or give --all; see: smartmon alerts list --state dead")
    with open_store(load_config(base_dir, config), readonly=False) as store, store.transaction():
        waiting = store.deliveries(states=("dead", "pending"), limit=-1)
        rows = waiting if delivery is None else _named(waiting, delivery)
        now = time.time()
        for row in rows:
            outbox.retry(store, row, now)
    if as_json:
        print_json([row.id for row in rows])
    else:
        print(f"{len(rows)} {'message' if len(rows) == 1 else 'messages'} due now" if rows else "nothing to repeat")


def _named(rows: Sequence[DeliveryRow], start: str) -> list[DeliveryRow]:
    from smartmon.errors import UsageError
    from smartmon.text import clean

    found = [row for row in rows if row.id.startswith(start.lower())] if start else []
    if not found:
        raise UsageError(f"no failed or waiting message has an id like {clean(start)!r}; see: smartmon alerts list")
    if len(found) > 1:
        raise UsageError(f"{len(found)} messages have ids that begin with {clean(start)}; give more of it")
    return found
