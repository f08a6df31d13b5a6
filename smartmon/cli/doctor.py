"""`smartmon doctor`: what works here, and how to mend what does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartmon.cli.options import AsJson, BaseDirs, ConfigPath, Keys, Patterns, reading

if TYPE_CHECKING:
    from smartmon.cli.checks import Line
    from smartmon.config import Config


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    explain: Annotated[
        Path | None,
        typer.Option("--explain", metavar="PATH", help="Say instead how a log, or a run's folder, is read, and why."),
    ] = None,
    pattern: Patterns = None,
    key: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Say what works on this machine, each trouble with its fix.

    Watching, copying, room, notifiers, GPU, daemon. Changes nothing. Exits 3 when something fails, 0 when everything
    works or only could be better; with --explain 4 when nothing there can be read.

    Example: smartmon doctor --explain lightning_logs/version_0
    """
    from smartmon.cli.output import print_json

    if explain is not None:
        from smartmon.cli.context import load_config, reading_of
        from smartmon.cli.explain import show

        options = reading_of(load_config(base_dir, config), explain, reading(pattern, key))
        raise typer.Exit(show(explain, options, as_json=as_json))
    lines = list(examine(base_dir, config))
    failed = any(line.state == "fail" for line in lines)
    if as_json:
        checks = [{"name": l.name, "state": l.state, "message": l.message, "fix": l.fix or None} for l in lines]  # noqa: E741
        print_json({"ok": not failed, "checks": checks})
    else:
        for line in lines:
            print(f"{line.state:<4}  {line.name:<12}  {line.message}")
            if line.fix:
                print(f"{'':<20}-> {line.fix}")
    raise typer.Exit(3 if failed else 0)


def examine(base_dir: list[Path] | None, config: Path | None) -> Iterator[Line]:
    """Yield every line; with a config that cannot be used, the rest is looked at under the defaults."""
    from smartmon.cli import checks
    from smartmon.cli.context import load_config
    from smartmon.config import load
    from smartmon.errors import ConfigError
    from smartmon.text import clean

    yield from checks.python()
    try:
        settings = load_config(base_dir, config)
        shown = clean(settings.file) if settings.file else "no file; the defaults hold"
        yield checks.Line("config", "ok", shown)
    except ConfigError as error:
        yield checks.Line("config", "fail", str(error).splitlines()[0], "see every problem with: smartmon config check")
        # An empty file in place of the broken one.
        settings = load(Path("/dev/null"), base_dirs=base_dir or (), environ={})
    yield from checks.inotify()
    yield from checks.folders(settings)
    yield from _runs(settings)
    yield from _notifiers(settings)
    yield from checks.hooks(settings)
    yield from checks.detectors()
    yield from checks.accelerator()
    yield from checks.units()
    yield from _daemon(settings)


def _runs(settings: Config) -> Iterator[Line]:
    from glob import has_magic

    from smartmon.cli.checks import Line
    from smartmon.sources import discover
    from smartmon.text import clean

    own = [settings.state_dir, *(settings.snapshots_dir(base) for base in settings.base_dirs)]
    found, notes = discover(settings.base_dirs, settings.runs, skip=own)
    if found:
        names = ", ".join(clean(run.name) for run in found[:5]) + (", ..." if len(found) > 5 else "")
        yield Line("runs", "ok", f"{len(found)} found: {names}")
    else:
        fix = "start the training, or name its folder and logs under [[runs]] in the config"
        yield Line("runs", "warn", "nothing that looks like a training run is here yet", fix)
    for note in notes:
        yield Line("runs", "warn", clean(note.message), "name the run under [[runs]] in the config")
    for entry in settings.runs:
        for log in entry.logs:
            if not (has_magic(str(log)) or log.exists()):
                message = f"there is no {clean(log)} yet, which [[runs]] {clean(entry.name)} names"
                beside = entry.path / log.name
                where = f"there is {clean(beside)}" if beside.exists() else "if it is elsewhere"
                yield Line("runs", "warn", message, f"{where}: relative paths start from the config's folder")


def _notifiers(settings: Config) -> Iterator[Line]:
    from smartmon.cli.checks import Line
    from smartmon.cli.config import notifier_problems

    if not settings.notifiers:
        fix = "add [[notifiers]] to the config, then try it with: smartmon alerts test"
        yield Line("notifiers", "warn", "none: trouble is recorded, but nobody is told", fix)
    problems = [*settings.secret_problems, *notifier_problems(settings)]
    for problem in problems:
        yield Line("notifiers", "fail", problem, "mend it in the config, then: smartmon alerts test")
    if settings.notifiers and not problems:
        yield Line("notifiers", "ok", f"{len(settings.notifiers)} can be read; try them with: smartmon alerts test")
    yield from _open_secrets(settings)


def _open_secrets(settings: Config) -> Iterator[Line]:
    """Files with secrets in them that everyone on the machine can read."""
    from smartmon.cli.checks import Line
    from smartmon.text import clean

    files = [notifier.url_file for notifier in settings.notifiers if notifier.url_file is not None]
    if settings.file is not None and any(notifier.url is not None for notifier in settings.notifiers):
        files.append(settings.file)
    for path in dict.fromkeys(files):
        try:
            everyone = path.stat().st_mode & 0o004
        except OSError:
            # That it cannot be read has been said above.
            continue
        if everyone:
            message = f"everyone on this machine can read the secrets in {clean(path)}"
            yield Line("secrets", "warn", message, f"chmod 600 {clean(path)}")


def _daemon(settings: Config) -> Iterator[Line]:
    import time

    from smartmon.cli.checks import Line
    from smartmon.cli.context import open_store
    from smartmon.errors import StoreError
    from smartmon.queries import daemon_info
    from smartmon.text import clean

    start = f"smartmon run --base-dir {clean(settings.base_dirs[0])}"
    try:
        with open_store(settings) as store:
            info = daemon_info(store, now=time.time())
    except StoreError as error:
        message, _, fix = str(error).partition("; ")
        yield Line("daemon", "warn", message, fix or f"start one with: {start}")
        return
    if not info.alive:
        yield Line("daemon", "warn", "none is running", f"start one with: {start}")
    elif not all(info.workers.values()):
        stuck = ", ".join(name for name, fine in info.workers.items() if not fine)
        yield Line("daemon", "warn", f"running (pid {info.pid}), but not getting on: {clean(stuck)}", "see its log")
    else:
        yield Line("daemon", "ok", f"running (pid {info.pid})")
