"""`smartmon config`: check what was written, show what holds, start a file, describe it for editors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smartmon.cli.options import AsJson, BaseDirs, ConfigPath

if TYPE_CHECKING:
    from smartmon.config import Config

VALUES = 26
"""Columns for a value; a longer one pushes only its own line."""
GROUP_HELP = "Check, show or start the configuration.\n\nExample: smartmon config check"

group = typer.Typer(help=GROUP_HELP, no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="config")


@group.command("check")
def check(base_dir: BaseDirs = None, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Check the configuration and say all that is wrong with it.

    Also finds out whether every notifier's URL can be read by Apprise; nothing is sent. Exits 2 on any problem.

    Example: smartmon config check --config smartmon.toml
    """
    from smartmon.cli.context import load_config
    from smartmon.errors import ConfigError

    try:
        settings = load_config(base_dir, config)
        problems = [*settings.secret_problems, *notifier_problems(settings)]
    except ConfigError as error:
        if not as_json:
            raise
        _print_checked(None, [row.strip() for row in str(error).splitlines()[1:] if row.strip()] or [str(error)])
        raise typer.Exit(2) from None
    if as_json:
        _print_checked(str(settings.file) if settings.file else None, problems)
        raise typer.Exit(2 if problems else 0)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError("\n".join([f"{_source(settings)} has {count}", "", *(f"  {row}" for row in problems)]))
    print(f"ok: {_source(settings)}")


def _print_checked(file: str | None, problems: list[str]) -> None:
    from smartmon.cli.output import print_json

    print_json({"ok": not problems, "file": file, "problems": problems})


def _source(settings: Config) -> str:
    from smartmon.text import clean

    return clean(settings.file) if settings.file else "no config file, defaults and environment only"


def notifier_problems(settings: Config) -> list[str]:
    """Return a sentence for each notifier whose URL Apprise cannot read. Never names the URL."""
    from smartmon.cli.urls import readable
    from smartmon.errors import ConfigError
    from smartmon.text import clean

    urls = {}
    for notifier in settings.notifiers:
        try:
            urls[notifier.name] = notifier.resolve()
        except ConfigError:
            # Already among the secrets that could not be read.
            continue
    verdicts = readable(list(urls.values()))
    if verdicts is None:
        return [
            "the notifiers' URLs could not be checked: Apprise did not start; reinstall it with: pip install apprise"
        ]
    wrong = [name for name, fine in zip(urls, verdicts, strict=True) if not fine]
    return [
        f"notifiers.{clean(name)}.url: Apprise cannot read it; see https://appriseit.com/services/ for its form"
        for name in wrong
    ]


@group.command("show")
def show(base_dir: BaseDirs = None, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Show every setting, its value and where it came from.

    Secrets are masked.

    Example: smartmon config show --base-dir runs
    """
    from smartmon.cli.context import load_config
    from smartmon.cli.output import print_json
    from smartmon.text import clean

    settings = load_config(base_dir, config)
    rows = list(_flat(settings.public()))
    if as_json:
        values = {key: {"value": value, "origin": settings.origins.get(key, "default")} for key, value in rows}
        print_json({"file": str(settings.file) if settings.file else None, "settings": values})
        return
    lines = [(clean(key), clean(_shown(value)), clean(settings.origins.get(key, "default"))) for key, value in rows]
    # One long list must not push where each value came from off everybody's screen.
    widest = max(len(name) for name, _value, _origin in lines)
    for name, value, origin in (("SETTING", "VALUE", "FROM"), *lines):
        print(f"{name:<{widest}}  {value:<{VALUES}}  {origin}")


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return dotted keys and values; entries of a list of tables go by name, or by number from 1."""
    from smartmon.config.tree import entry

    if isinstance(value, dict) and value:
        inner = [(f"{prefix}.{key}" if prefix else key, item) for key, item in value.items()]
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        inner = [(prefix + entry(item, index), item) for index, item in enumerate(value)]
    else:
        return [(prefix, value)]
    return [row for key, item in inner for row in _flat(item, key)]


def _shown(value: Any) -> str:
    """Return a value as people write it in the file: `4h`, `2GiB`, `true`."""
    from smartmon.config.example import size_text

    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if value == {}:
        return "-"
    if isinstance(value, int):
        return size_text(value).strip('"')
    return ", ".join(map(str, value)) or "-" if isinstance(value, list) else str(value)


@group.command("init")
def init(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("smartmon.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a config file with every setting explained.

    Each is commented out and shows its default.

    Example: smartmon config init ~/.config/smartmon/config.toml
    """
    from smartmon.config.example import example
    from smartmon.errors import ConfigError, UsageError
    from smartmon.text import clean

    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A config may come to hold secrets: for its owner only, from the first moment.
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(example())
    except FileExistsError:
        raise UsageError(f"{clean(path)} is there already; replace it with --force") from None
    except OSError as error:
        raise ConfigError(f"cannot write {clean(path)}: {error.strerror}") from None
    print(f"wrote {clean(path)}; check it with: smartmon config check --config {clean(path)}")


@group.command("schema")
def schema() -> None:
    """Print the JSON Schema of the config file.

    For editors that complete and check TOML.

    Example: smartmon config schema > smartmon.schema.json
    """
    from smartmon.cli.output import print_json
    from smartmon.config.example import schema as described

    print_json(described())
