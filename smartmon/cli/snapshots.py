"""`smartmon snapshots`: what was kept. All of it works from the folders on disk, with or without a daemon."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smartmon.cli.options import AsJson, BaseDirs, ConfigPath, Kinds, Limit, RunName, Since

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smartmon.config import Config
    from smartmon.records import Snapshot
    from smartmon.retention import Verdict

Name = Annotated[str, typer.Argument(metavar="NAME", help="A snapshot's name, or any unambiguous part of it.")]


GROUP_HELP = "The checkpoints that were kept.\n\nExample: smartmon snapshots list --base-dir ~/train"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=GROUP_HELP, no_args_is_help=True, rich_markup_mode=None)
    for name, command in (
        ("list", list_snapshots),
        ("show", show),
        ("verify", verify),
        ("pin", pin),
        ("unpin", unpin),
        ("prune", prune),
        ("restore", restore),
        ("delete", delete),
        ("compare", compare),
    ):
        group.command(name)(command)
    app.add_typer(group, name="snapshots")


def list_snapshots(
    *,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    run: RunName = None,
    kind: Kinds = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List what was kept: the newest 50 snapshots, oldest first.

    Exits 3 when one of them is damaged.

    Example: smartmon snapshots list --kind divergence --since 7d --base-dir ~/train
    """
    from smartmon import queries
    from smartmon.cli import snapshot_text
    from smartmon.cli.output import print_json
    from smartmon.text import clean

    settings = _settings(base_dir, config)
    found = _matching(_scan(settings), run, queries.known_kinds(kind), since)[-limit:]
    if as_json:
        print_json([snapshot_text.row(one) for one in found])
    elif found:
        print(snapshot_text.listing(found))
    else:
        where = ", ".join(map(str, _folders(settings)))
        print(f"no snapshot in {clean(where)}" + (" is like that" if run or kind or since else " yet"))
    _complain(found)


def show(name: Name, base_dir: BaseDirs = None, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Show all that is known of one snapshot.

    Why it was kept, what the metrics were, and which files it holds.

    Example: smartmon snapshots show anomaly_20251112_143022
    """
    from smartmon.cli import snapshot_text
    from smartmon.cli.output import print_json

    one = _choose(_settings(base_dir, config), name)
    if as_json:
        print_json({**one.metadata, **snapshot_text.row(one)})
    else:
        print(snapshot_text.details(one))
    _complain([one])


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Snapshots to check; without any, all.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read every byte and compare digests.")] = False,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Check that snapshots are what was copied.

    Every file is there, as long as it was, and whole as its format tells; with --full every byte is the same. Exits 3
    when one is not.

    Example: smartmon snapshots verify --full
    """
    from smartmon.cli.output import print_json
    from smartmon.cli.status_text import plural
    from smartmon.errors import PartialError
    from smartmon.snapshots import digests
    from smartmon.text import clean

    settings = _settings(base_dir, config)
    chosen = [_choose(settings, name) for name in names] if names else _scan(settings)
    results = []
    for one in chosen:
        result = digests.verify(one, full=full)
        results.append(result)
        if not as_json:
            said = f"ok ({plural(result['files'], 'file')}, {result['checked']} checked)" if result["ok"] else "DAMAGED"
            print(f"{clean(one.name)}: {said}", *(f"    {clean(why)}" for why in result["problems"]), sep="\n")
    if as_json:
        print_json(results)
    elif not results:
        print("no snapshots yet")
    bad = [result["name"] for result in results if not result["ok"]]
    if bad:
        raise PartialError(f"{len(bad)} of {len(results)} snapshots cannot be vouched for")


def pin(name: Name, base_dir: BaseDirs = None, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Keep a snapshot for good: retention never removes it.

    Example: smartmon snapshots pin best_model_loss_0.6321
    """
    _set_pinned(_settings(base_dir, config), name, True, as_json)


def unpin(name: Name, base_dir: BaseDirs = None, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Leave a snapshot to retention again.

    Example: smartmon snapshots unpin best_model_loss_0.6321
    """
    _set_pinned(_settings(base_dir, config), name, False, as_json)


def _set_pinned(settings: Config, name: str, pinned: bool, as_json: bool) -> None:
    from smartmon.cli.output import print_json
    from smartmon.snapshots import folder
    from smartmon.text import clean

    one = _choose(settings, name)
    folder.set_pinned(one, pinned)
    if as_json:
        print_json({"name": one.name, "pinned": pinned})
    else:
        print(f"{clean(one.name)} is {'pinned' if pinned else 'no longer pinned'}")


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would be removed, and why.")] = False,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Remove the snapshots that retention no longer keeps.

    The daemon does so by itself. Pinned ones, those that an open incident cites, and the newest of each run always
    stay. Exits 3 when one cannot be removed.

    Example: smartmon snapshots prune --dry-run
    """
    from smartmon.cli import snapshot_text
    from smartmon.cli.output import print_json
    from smartmon.errors import PartialError, SnapshotError
    from smartmon.retention import Action
    from smartmon.snapshots import upkeep

    settings = _settings(base_dir, config)
    verdicts = _plan(settings)
    failed: dict[str, str] = {}
    for verdict in verdicts if not dry_run else ():
        if verdict.action is not Action.KEEP:
            try:
                upkeep.carry_out(verdict, time.time())
            except SnapshotError as error:
                failed[verdict.snapshot.name] = str(error)
    if as_json:
        print_json(snapshot_text.plan_json(verdicts, dry_run, failed))
    else:
        print(snapshot_text.plan(verdicts, dry_run, failed))
    if failed:
        raise PartialError("; ".join(failed.values()))


def _plan(settings: Config) -> list[Verdict]:
    from smartmon.snapshots import folder, upkeep

    incidents = _open_incidents(settings)
    verdicts = []
    for where in _folders(settings):
        snapshots = folder.scan(where)
        cited = upkeep.cited(snapshots, incidents)
        verdicts += upkeep.planned(where, snapshots, settings.snapshots, time.time(), cited=cited)
    return verdicts


def _open_incidents(settings: Config) -> Mapping[str, set[str]] | None:
    """Run -> keys of its open incidents; None where there is no database to ask: then any may be open."""
    from smartmon.cli.context import open_store
    from smartmon.errors import StoreError

    keys: dict[str, set[str]] = {}
    try:
        with open_store(settings) as store:
            names = {row.id: row.name for row in store.runs()}
            for incident in store.incidents(open_only=True, limit=10_000):
                keys.setdefault(names.get(incident.run_id, ""), set()).add(incident.key)
    except StoreError:
        return None
    return keys


def restore(
    name: Name,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="The folder to make.")],
    checkpoint_only: Annotated[
        bool, typer.Option("--checkpoint-only", help="Only its checkpoints, directly in DEST: ready to resume from.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also into a folder with files, replacing those of the same name.")
    ] = False,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Copy a snapshot out: all of it, or nothing.

    Example: smartmon snapshots restore anomaly_20251112_143022 ~/train/retry --checkpoint-only
    """
    from smartmon.cli.output import print_json
    from smartmon.snapshots.restore import restore as copy_out
    from smartmon.text import clean, size

    one = _choose(_settings(base_dir, config), name)
    done = copy_out(one, destination.absolute(), checkpoint_only=checkpoint_only, force=force)
    if as_json:
        told: dict[str, Any] = {"name": one.name, "destination": str(destination.absolute()), "files": done.files}
        print_json({**told, "bytes": done.bytes, "checkpoints": [str(path) for path in done.checkpoints]})
        return
    print(f"restored {clean(one.name)} to {clean(destination)}: {done.files} files, {size(done.bytes)}")
    good = one.metadata.get("last_good_checkpoint_step")
    for path in done.checkpoints:
        # Where two were kept, one is from before the trouble: that is the one to go on from.
        last_good = len(done.checkpoints) > 1 and path.name.endswith(f"-{good}")
        print(f"resume from {clean(path)}" + (" (the last good one)" if last_good else ""))


def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names, or unambiguous beginnings of names.")],
    force: Annotated[bool, typer.Option("--force", help="Even a pinned one.")] = False,
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Delete snapshots for good.

    Example: smartmon snapshots delete anomaly_20251112_143022
    """
    from smartmon.cli.output import print_json
    from smartmon.errors import PartialError, SnapshotError
    from smartmon.snapshots import folder
    from smartmon.text import clean, size

    settings = _settings(base_dir, config)
    chosen = [_choose(settings, name, loose=False) for name in names]
    deleted, failed = [], []
    for one in {one.path: one for one in chosen}.values():
        try:
            folder.remove(one, even_pinned=force)
        except SnapshotError as error:
            failed.append(str(error))
            continue
        deleted.append(one.name)
        if not as_json:
            print(f"deleted {clean(one.name)} ({size(one.bytes)})")
    if as_json:
        print_json({"deleted": deleted, "failed": failed})
    if failed:
        raise PartialError("; ".join(failed))


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A snapshot.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The one to set beside it.")],
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Set two snapshots side by side.

    Metrics, settings, and which files are the same.

    Example: smartmon snapshots compare best_model_loss_0.6321 loss_spike_40.7pct
    """
    from smartmon.cli import snapshot_text
    from smartmon.cli.output import print_json
    from smartmon.snapshots.compare import compare as set_side_by_side

    settings = _settings(base_dir, config)
    found = set_side_by_side(_choose(settings, first), _choose(settings, second))
    if as_json:
        print_json(found)
    else:
        print(snapshot_text.comparison(found))


def _settings(base_dir: Sequence[Path] | None, config: Path | None) -> Config:
    from smartmon.cli.context import load_config
    from smartmon.errors import StoreError
    from smartmon.sources.discovery import expand
    from smartmon.text import clean

    settings = load_config(base_dir, config)
    for base in settings.base_dirs:
        if not expand([base]) and not settings.snapshots_dir(base).is_dir():
            raise StoreError(f"there is no folder {clean(base)}; name the training directory with --base-dir")
    return settings


def _folders(settings: Config) -> list[Path]:
    """The snapshots dirs, each once; a base dir that is a pattern has one for each folder that it stands for."""
    from smartmon.sources.discovery import expand

    bases = (found for base in settings.base_dirs for found in expand([base]) or [base])
    return list(dict.fromkeys(settings.snapshots_dir(base) for base in bases))


def _scan(settings: Config) -> list[Snapshot]:
    from smartmon.snapshots import folder

    folders = dict.fromkeys(_folders(settings))
    if settings.snapshots_root is not None:
        # The daemon gives each of several base dirs a folder of its own; we may have been told of one of them only.
        folders |= dict.fromkeys([settings.snapshots_root / base.name for base in settings.base_dirs])
        folders |= {settings.snapshots_root: None}
    found = [one for where in folders for one in folder.scan(where)]
    return sorted(found, key=folder.age)


def _choose(settings: Config, name: str, *, loose: bool = True) -> Snapshot:
    from smartmon.snapshots import folder

    return folder.choose(_scan(settings), name, loose=loose)


def _matching(found: list[Snapshot], run: str | None, kinds: Sequence[str], since: str | None) -> list[Snapshot]:
    from smartmon import queries
    from smartmon.snapshots.folder import moment

    tests: list[Callable[[Snapshot], bool]] = []
    if run is not None:
        names = {one.run for one in found}
        wanted = {run} if run in names else {name for name in names if name.startswith(run)}
        tests.append(lambda one: one.run in wanted)
    if kinds:
        tests.append(lambda one: any(t == kind or t.startswith(f"{kind}_") for t in one.triggers for kind in kinds))
    after = queries.since(since, time.time())
    if after is not None:
        tests.append(lambda one: moment(one) >= after)
    return [one for one in found if all(test(one) for test in tests)]


def _complain(found: Sequence[Snapshot]) -> None:
    from smartmon.errors import PartialError
    from smartmon.text import clean

    damaged = [one for one in found if one.problem]
    if damaged:
        told = "; ".join(f"{clean(one.name)}: {clean(one.problem)}" for one in damaged[:3])
        raise PartialError(f"{len(damaged)} of {len(found)} snapshots damaged: {told}")
