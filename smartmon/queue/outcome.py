"""What is kept of a job that is over: its folder in `done/` or `failed/`, with `outcome.json` in it."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from smartmon.queue.files import move_folder, read_json, write_json
from smartmon.queue.jobs import Job, JobState
from smartmon.queue.places import OVER, Places
from smartmon.records import Json

FILE = "outcome.json"
JOB_FILE = "job.json"
"""The job as the state file has it, in its own folder too: it survives the loss of the state file."""
LOG = "train.log"
SETTINGS = "train.toml"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One job that is over."""

    job: Job
    state: JobState
    reason: str
    folder: Path
    ended_at: float
    facts: Mapping[str, Json]
    """Of the training: exit code, step, total_steps, loss, ..."""

    def to_json(self) -> dict[str, Json]:
        """Return it as `outcome.json` has it."""
        return {
            "name": self.job.name,
            "state": self.state.value,
            "reason": self.reason,
            "file": self.job.file,
            "priority": self.job.priority,
            "run": f"runs/{self.job.run}",
            "started_at": _iso(self.job.started_at),
            "ended_at": _iso(self.ended_at),
            "starts": self.job.starts,
            **self.facts,
            "job": self.job.to_json(),
        }


def close(places: Places, outcome: Outcome) -> None:
    """Write the outcome and move the job's folder to where it belongs; raise OSError.

    The file is the decision: a queue that is killed after it only has to move the folder.
    """
    active = places.active(outcome.job.run)
    if active.is_dir():
        write_json(active / FILE, outcome.to_json())
        (active / JOB_FILE).unlink(missing_ok=True)
        settle(places, outcome.job.run, outcome.state)


def settle(places: Places, run: str, state: JobState) -> None:
    """Move the folder of a job that is over; raise OSError."""
    target = places.over(state, run)
    places.aside(target.parent)
    move_folder(places.active(run), target)


def decided(places: Places, run: str) -> JobState | None:
    """Return how a job ended whose folder was not moved yet; None when it is not over."""
    said = read_json(places.active(run) / FILE).get("state")
    return JobState(str(said)) if said in list(OVER) else None


def read(folder: Path) -> Outcome | None:
    """Return what became of the job whose folder this is; None when it does not say."""
    found = read_json(folder / FILE)
    try:
        job = Job.from_json(found["job"])
        known = {"name", "state", "reason", "file", "priority", "run", "started_at", "ended_at", "starts", "job"}
        facts = {name: value for name, value in found.items() if name not in known}
        state = JobState(found["state"])
        ended = datetime.fromisoformat(str(found["ended_at"])).timestamp()
        return Outcome(job, state, str(found["reason"]), folder, ended, facts)
    except (KeyError, ValueError, TypeError):
        return None


def all_of(places: Places) -> Iterator[Outcome]:
    """Yield every job that is over, in no order."""
    for name in OVER.values():
        with contextlib.suppress(OSError), os.scandir(places.base / name) as entries:
            for entry in entries:
                if entry.is_dir() and (found := read(Path(entry.path))) is not None:
                    yield found


def facts(status: Mapping[str, Any], code: int | None) -> dict[str, Json]:
    """Return what a status file says that is worth keeping."""
    wanted = ("current_step", "total_steps", "epoch", "loss", "validation_loss", "accuracy_percent")
    said = {name: _finite(status[name]) for name in wanted if status.get(name) is not None}
    step = {"step": said.pop("current_step")} if "current_step" in said else {}
    return {"exit_code": code, **step, **said}


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")


def _finite(value: Json) -> Json:
    # NaN is no JSON for the programs that read this file.
    return None if isinstance(value, float) and not math.isfinite(value) else value
