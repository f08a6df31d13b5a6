"""`smartmon control`: ask a training to pause, resume, stop, or save a checkpoint."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smartmon.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUSES = ("status/training_status.json", "current_model/status/training_status.json")
_OVER = ("completed", "stopped", "crashed", "error")
_STALE = 60.0
"""Seconds without a sign of life after which a training of another machine counts as gone."""
_EVERY = 0.1


class Word(enum.StrEnum):
    """What can be asked for."""

    pause = "pause"
    resume = "resume"
    stop = "stop"
    checkpoint = "checkpoint"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("control")(control)


def control(
    word: Annotated[Word, typer.Argument(metavar="WORD", help="What the training is to do.")],
    base_dir: Annotated[
        Path,
        typer.Option("--base-dir", "-C", metavar="DIR", help="The training's directory.", show_default="current"),
    ] = Path(),
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="Wait so long for its answer; 0 does not wait.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Ask a training to pause, resume, stop or save.

    A stop saves first. The training is one by `smartmon train`, or any with smartmon's callback: it obeys after the
    step that it is in. A hook of the daemon can run this, to stop on divergence. Exits 4 where nothing is training,
    or does not answer.

    Example: smartmon control pause --base-dir ~/train --wait 30
    """
    from smartmon.cli.output import print_json
    from smartmon.errors import SourceError
    from smartmon.trainer import control as file

    status = _living(base_dir)
    try:
        identity = file.send(base_dir, word)
    except OSError as problem:
        raise SourceError(
            f"cannot write {base_dir / file.NAME} ({problem.strerror}); it takes the rights of who trains there"
        ) from None
    answer = _answer(base_dir, identity, wait) if wait else None
    if as_json:
        print_json({"word": word.value, "path": str(base_dir / file.NAME), "id": identity, "answer": answer})
    elif answer is None and not wait:
        print(f"Asked the training in {base_dir} to {word.value}; it is at step {status.get('current_step', 0)}.")
    if wait and answer is None:
        raise SourceError(
            f"the training in {base_dir} has not answered within {wait:g} s; it obeys when its present step "
            "or evaluation is over, unless it hangs or was told to ignore the control file"
        )
    if answer is not None and not as_json:
        from smartmon.text import clean

        print(f"The training in {clean(base_dir)}: {clean(answer.get('result', ''))}.")


def _living(base_dir: Path) -> Mapping[str, Any]:
    """Return the status of a training that is alive and obeys; raise for every other case."""
    from smartmon.errors import SourceError, UsageError
    from smartmon.text import clean

    if not base_dir.is_dir():
        raise UsageError(
            f"no directory {clean(base_dir)}; --base-dir names the one that the training writes status/ to"
        )
    found = _status(base_dir)
    if found is None:
        others = sorted(path.parent.parent for path in base_dir.glob(f"*/{_STATUSES[0]}"))[:5]
        hint = f"; there is one in {', '.join(clean(path) for path in others)}" if others else ""
        raise SourceError(f"nothing is training in {clean(base_dir)}: no {_STATUSES[0]} there{hint}")
    word = str(found.get("status", ""))
    if word in _OVER:
        raise SourceError(f"nothing is training in {clean(base_dir)}: its status says {word}")
    if "heartbeat" not in found:
        raise SourceError(f"the training in {clean(base_dir)} knows no control file; smartmon's callback obeys one")
    if _gone(found):
        process = f"its process {found.get('pid')} on {clean(found.get('host', ''))}"
        raise SourceError(f"nothing is training in {clean(base_dir)}: {process} is gone, and had no time to say so")
    return found


def _status(base_dir: Path) -> dict[str, Any] | None:
    import json

    for name in _STATUSES:
        try:
            found = json.loads((base_dir / name).read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _gone(status: Mapping[str, Any]) -> bool:
    """Whether the process is dead; of one on another machine, whether it has been silent for long."""
    import platform
    from datetime import datetime

    from smartmon.host import process_exists

    if status.get("host") == platform.node() and isinstance(pid := status.get("pid"), int):
        return not process_exists(pid)
    try:
        beat = datetime.fromisoformat(str(status["heartbeat"]))
    except ValueError:
        return False
    return (datetime.now().astimezone() - beat.astimezone()).total_seconds() > _STALE


def _answer(base_dir: Path, identity: str, wait: float) -> dict[str, Any] | None:
    """Wait for the acknowledgement of one write of the file."""
    import time

    until = time.monotonic() + wait
    while True:
        acknowledged = (_status(base_dir) or {}).get("control_ack")
        if isinstance(acknowledged, dict) and acknowledged.get("id") == identity:
            return acknowledged
        if time.monotonic() >= until:
            return None
        time.sleep(_EVERY)
