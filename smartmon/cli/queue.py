"""`smartmon queue`: data files that wait in an inbox, trained one after another on the last adapter."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartmon.cli.options import AsJson

if TYPE_CHECKING:
    from smartmon.queue.desk import Desk, Entry
    from smartmon.records import Json

GROUP_HELP = """Train data files, each on the last good adapter.

A file waits in inbox/, is trained in a run of its own below runs/, and ends with its log in done/ or failed/.
The newest good adapter is in current_model/.

Example: smartmon queue add poems.jsonl && smartmon queue run --model ~/models/qwen"""

BaseDir = Annotated[
    Path,
    typer.Option("--base-dir", "-C", metavar="DIR", help="Folder of the queue.", show_default="current directory"),
]
JobName = Annotated[str, typer.Argument(metavar="NAME", help="The job, as `queue list` names it.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of smartmon train, like epochs=2; repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=GROUP_HELP)
    for name, command in (("add", add), ("run", run), ("list", list_), ("pause", pause), ("resume", resume)):
        group.command(name)(command)
    group.command("remove")(remove)
    group.command("retry")(retry)
    app.add_typer(group, name="queue")


def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows to train on, as JSON Lines.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="Options of smartmon train for this job alone.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What to call the job.", show_default="file name")] = None,
    priority: Annotated[int, typer.Option("--priority", "-p", help="Higher ones go first.")] = 0,
    settings: Settings = None,
    base_dir: BaseDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Copy a data file into the inbox as a job.

    One that is in the inbox already gets the priority and the settings given here.

    Example: smartmon queue add poems.jsonl --priority 5 --set epochs=2 -- --learning-rate 1e-4
    """
    from smartmon.errors import UsageError
    from smartmon.queue import recipe
    from smartmon.queue.desk import Desk
    from smartmon.text import clean

    if words and not words[0].startswith("-"):
        raise UsageError(f"{clean(words[0])}: one file at a time, please; options of the training come after --")
    own = recipe.assigned(settings or ())
    recipe.check(own, "--set")
    desk = Desk(base_dir)
    job = desk.add(file, name=name, priority=priority, settings=own, words=words or ())
    _say(desk, job.name, f"waits in {clean(desk.places.inbox / job.file)}", as_json)
    if not as_json and not desk.book.runner():
        print("No queue runs here; start one with: smartmon queue run")


def run(
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Folder of the model to train, or its name.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Settings of smartmon train.", show_default="<base-dir>/train.toml"
        ),
    ] = None,
    settings: Settings = None,
    once: Annotated[
        bool, typer.Option("--once/--watch", help="End when nothing waits, or stay and wait for files.")
    ] = False,
    stop_on_failure: Annotated[
        bool, typer.Option("--stop-on-failure", help="End when a job fails, instead of going on with the next.")
    ] = False,
    keep_checkpoints: Annotated[
        bool,
        typer.Option("--keep-checkpoints", help="Keep the checkpoints of every job that is done, not of the last."),
    ] = False,
    trainer: Annotated[
        str | None,
        typer.Option(
            "--trainer",
            metavar="COMMAND",
            help="What starts a training, such as: torchrun --nproc-per-node 8 -m smartmon train",
            show_default="smartmon train",
        ),
    ] = None,
    base_dir: BaseDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Train what waits, one job after another.

    Jobs that were begun go first, then higher priorities, then the order of arrival. A job that fails is put into
    failed/ with the reason, and the next one starts from the last good adapter. SIGTERM and Ctrl-C let the training
    save, and the next start goes on from there; a second one ends it at once. Killed, the queue loses nothing: its
    training goes on, and the next queue takes it over.

    Exits 3 when a job failed, 5 when another queue trains here.

    Example: smartmon queue run --model ~/models/qwen --once
    """
    import os
    import shlex
    import time

    from smartmon.cli.output import print_json
    from smartmon.errors import PartialError
    from smartmon.queue.desk import Desk
    from smartmon.queue.jobs import JobState
    from smartmon.queue.runner import Plan, Runner
    from smartmon.queue.stopping import Stopping
    from smartmon.trainer.pretrained import check_folder

    desk = Desk(base_dir)
    chosen = _settings(desk, model, config, settings)
    if trainer is None:
        # A mistake in this one word would fail every job of the night.
        check_folder(str(chosen["model"]))
    words = shlex.split(trainer) if trainer else [sys.executable, "-m", "smartmon", "train"]
    plan = Plan(chosen, words, once=once, stop_on_failure=stop_on_failure, keep_checkpoints=keep_checkpoints)

    stream = sys.stderr if as_json else sys.stdout

    def say(line: str) -> None:
        try:
            _print(f"{time.strftime('%H:%M:%S')}  {line}", stream)
        except OSError:
            # Whoever read along has gone; the trainings go on.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    stopping = Stopping()
    stopping.take()
    try:
        over = Runner(desk.places, plan, say, stopping).run()
    finally:
        stopping.give_back()
        stopping.close()
    if as_json:
        print_json([each.to_json() for each in over])
    failed = [each.job.name for each in over if each.state is JobState.FAILED]
    if failed:
        raise PartialError(f"{len(failed)} of {len(over)} jobs failed: {', '.join(failed)}; see: smartmon queue list")


def _settings(desk: Desk, model: str | None, config: Path | None, pairs: list[str] | None) -> dict[str, Json]:
    """Return the settings of every job: the file, then --set, then --model."""
    from smartmon.errors import UsageError
    from smartmon.queue import recipe

    default = desk.places.base / recipe.DEFAULT_FILE
    file = config if config is not None else default if default.exists() else None
    chosen = recipe.load(file) if file is not None else {}
    recipe.check(chosen, str(file))
    chosen |= recipe.assigned(pairs or ())
    if model is not None:
        chosen |= recipe.with_paths({"model": model}, Path.cwd())
    recipe.check(chosen, "the command line")
    if "model" not in chosen:
        raise UsageError(f"which model is to be trained? Give --model, or write one into {default.name}: model = ...")
    return chosen


def list_(
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=0, help="Show so many jobs that are over.")
    ] = 10,
    base_dir: BaseDir = Path(),
    as_json: AsJson = False,
) -> None:
    """List the jobs: over, under way, waiting.

    The last ones that are over come first, then the others in the order of their turn.

    Example: smartmon queue list --json
    """
    from smartmon.cli.output import print_json
    from smartmon.queue.desk import Desk

    desk = Desk(base_dir)
    entries, held, runner = desk.entries(limit), desk.book.read().paused, desk.book.runner()
    if as_json:
        print_json({"paused": held, "runner": runner, "jobs": [entry.to_json() for entry in entries]})
        return
    if entries:
        _table(entries)
    else:
        print("no jobs; add one with: smartmon queue add data.jsonl")
    if held:
        _print(f"held: {held}; go on with: smartmon queue resume")
    if not runner and any(entry.ended_at is None for entry in entries):
        print("No queue runs here; start one with: smartmon queue run")


def _table(entries: list[Entry]) -> None:
    from smartmon.cli.output import table
    from smartmon.text import clean, clock, count, number

    rows = []
    for entry in entries:
        steps = count(entry.step) + (f" of {count(entry.total_steps)}" if entry.total_steps else "")
        when = entry.ended_at or entry.job.started_at or entry.job.added_at or None
        state = "removing" if entry.leaving else entry.state.value
        rows.append((_cut(entry.job.name, 24), state, entry.job.priority, steps, number(entry.loss), clock(when)))
    head, *lines = table(("job", "state", "prio", "step", "loss", "since"), rows, right=frozenset({2, 3, 4})).split(
        "\n"
    )
    print(head)
    for entry, line in zip(entries, lines):
        print(line)
        if entry.reason:
            print(textwrap.fill(clean(entry.reason), 80, initial_indent="  ", subsequent_indent="    "))


def pause(
    reason: Annotated[str, typer.Option("--reason", help="Why, for `queue list`.")] = "paused",
    now: Annotated[bool, typer.Option("--now", help="Stop the training under way too.")] = False,
    base_dir: BaseDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Begin no other job until it is resumed.

    The training under way goes on to its end; with --now it saves, stops, and goes on from there later.

    Example: smartmon queue pause --now --reason "the GPU is needed"
    """
    from smartmon.queue.desk import Desk

    desk = Desk(base_dir)
    desk.pause(reason.strip() or "paused", now=now)
    after = "; the training under way saves and stops" if now else " after the training under way"
    _say(desk, "queue", f"held{after if desk.book.runner() else ''}", as_json)


def resume(base_dir: BaseDir = Path(), as_json: AsJson = False) -> None:
    """Let a queue that is held go on.

    Example: smartmon queue resume
    """
    from smartmon.queue.desk import Desk

    desk = Desk(base_dir)
    desk.resume()
    _say(desk, "queue", "goes on", as_json)


def remove(name: JobName, base_dir: BaseDir = Path(), as_json: AsJson = False) -> None:
    """Take a job out of the queue.

    Its file goes to removed/. If it is being trained, that is stopped first.

    Example: smartmon queue remove poems
    """
    from smartmon.queue.desk import Desk
    from smartmon.text import clean

    desk = Desk(base_dir)
    target = desk.remove(name)
    what = f"removed; its file is in {clean(target)}" if target else "is asked to save and stop, and is then removed"
    _say(desk, name, what, as_json)


def retry(
    name: JobName,
    anew: Annotated[bool, typer.Option("--anew", help="From the first step, not from its checkpoint.")] = False,
    base_dir: BaseDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Put a job that failed or was removed back into the queue.

    It goes on from its checkpoint, but for one whose loss or data was bad, or if others have trained since: these
    begin anew.

    Example: smartmon queue retry poems
    """
    from smartmon.queue.desk import Desk

    desk = Desk(base_dir)
    job = desk.retry(name, anew=anew)
    _say(desk, job.name, "waits again", as_json)


def _say(desk: Desk, name: str, what: str, as_json: bool) -> None:
    from smartmon.cli.output import print_json

    if as_json:
        print_json({"name": name, "said": what, "jobs": [entry.to_json() for entry in desk.entries(0)]})
    else:
        print(f"{name}: {what}")


def _print(line: str, stream: object = None) -> None:
    """Print at most 80 columns to a terminal: what goes on is set in."""
    target = stream if stream is not None else sys.stdout
    rows = textwrap.wrap(line, 80, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False)
    print("\n".join(rows), file=target, flush=True)  # type: ignore[arg-type]


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
