"""A queue job and the list of them: plain values, as the state file has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from smartmon.records import Json

VERSION = 1


class JobState(StrEnum):
    """Where a job stands; `done`, `failed` and `removed` ones have left the list."""

    WAITING = "waiting"
    TRAINING = "training"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    DONE = "done"
    FAILED = "failed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Job:
    """One data file to train on."""

    name: str
    file: str
    """The data file's name, in the inbox or in the job's folder."""
    order: int
    """Of arrival."""
    priority: int = 0
    state: JobState = JobState.WAITING
    settings: Mapping[str, Json] = field(default_factory=dict)
    """Settings of the trainer for this job alone."""
    words: tuple[str, ...] = ()
    """Words that the trainer's command gets besides."""
    added_at: float = 0.0
    run: str = ""
    """The name of its folders in `runs/` and `active/`; empty while its data file is in the inbox."""
    base: str = ""
    """Which adapter it was started from, as `adapter.identity` has it."""
    started_at: float | None = None
    starts: int = 0
    kills: int = 0
    """How often in a row it was killed without getting to another checkpoint."""
    checkpoint: int = 0
    """The step of its newest checkpoint at the last start."""
    pid: int = 0
    birth: str = ""
    """Tells the process from a later one with its number."""
    status_seen: int = 0
    """The status file's mtime (ns) before the last start: what is no newer was not said by that start."""
    log_at: int = 0
    """Where in its log the last start begins."""
    leaving: bool = False
    """Whether it is to be removed once its training has stopped."""
    reason: str = ""
    """Why it is interrupted or refused."""
    stamp: tuple[int, ...] = ()
    """What its file was like when it was refused: another file is another try."""

    def to_json(self) -> dict[str, Json]:
        """Return the job as the state file holds it."""
        return {**asdict(self), "state": self.state.value}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Return the job; raise ValueError, TypeError or KeyError for what is none."""
        known = {name: given[name] for name in cls.__slots__ if name in given}
        known |= {"state": JobState(given["state"]), "words": tuple(given.get("words", ()))}
        return cls(**known | {"stamp": tuple(given.get("stamp", ())), "settings": dict(given.get("settings", {}))})


@dataclass(frozen=True, slots=True)
class Jobs:
    """All jobs that are not over, and whether the queue is held."""

    jobs: tuple[Job, ...] = ()
    next_order: int = 1
    paused: str = ""
    """Why the queue is held; empty while it is not."""
    now: bool = False
    """Whether the training under way is to stop as well."""

    def to_json(self) -> dict[str, Json]:
        """Return the list as the state file holds it."""
        jobs = [job.to_json() for job in self.jobs]
        return {"version": VERSION, "paused": self.paused, "now": self.now, "next_order": self.next_order, "jobs": jobs}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Return the list; raise ValueError, TypeError or KeyError for what is none."""
        if given["version"] != VERSION:
            raise ValueError(f"it has version {given['version']}, and this smartmon knows {VERSION}")
        jobs = tuple(Job.from_json(job) for job in given["jobs"])
        return cls(jobs, int(given["next_order"]), str(given["paused"]), bool(given["now"]))

    def named(self, name: str) -> Job | None:
        """Return the job of that name."""
        return next((job for job in self.jobs if job.name == name), None)

    def of_file(self, file: str) -> Job | None:
        """Return the job whose data file lies in the inbox under that name."""
        return next((job for job in self.jobs if job.file == file and not claimed(job)), None)

    def files(self) -> set[str]:
        """Return the names of the data files in the inbox that have a job."""
        return {job.file for job in self.jobs if not claimed(job)}

    def add(self, job: Job) -> Self:
        """Return the list with one more job, which is the last to have come."""
        return replace(self, jobs=(*self.jobs, replace(job, order=self.next_order)), next_order=self.next_order + 1)

    def put(self, job: Job) -> Self:
        """Return the list with the job of that name replaced."""
        return replace(self, jobs=tuple(job if each.name == job.name else each for each in self.jobs))

    def drop(self, name: str) -> Self:
        """Return the list without the job of that name."""
        return replace(self, jobs=tuple(job for job in self.jobs if job.name != name))

    def in_turn(self) -> list[Job]:
        """Return the jobs in the order they will be trained.

        One that was begun goes first whatever its priority: it stands on the newest adapter, and would be left behind
        by a job that trained in between. Then higher priorities, then the order of arrival.
        """
        return sorted(self.jobs, key=lambda job: (not begun(job), refused(job), -job.priority, job.order))

    def next(self) -> Job | None:
        """Return the job whose turn it is."""
        return next((job for job in self.in_turn() if not refused(job)), None)

    def free_name(self, wanted: str) -> str:
        """Return the name, or with a number behind it where a job has it."""
        return first_free(wanted, {job.name for job in self.jobs})


def begun(job: Job) -> bool:
    """Whether a training of it has been started and is not over."""
    return job.state in (JobState.TRAINING, JobState.INTERRUPTED)


def claimed(job: Job) -> bool:
    """Whether its data file has left the inbox for a folder of its own."""
    return bool(job.run)


def refused(job: Job) -> bool:
    """Whether its file cannot be taken as it is."""
    return job.state is JobState.REFUSED


def first_free(wanted: str, taken: Iterable[str]) -> str:
    """Return the name, or the first of `name-2`, `name-3`, ... that nobody has."""
    names, number, name = set(taken), 1, wanted
    while name in names:
        number += 1
        name = f"{wanted}-{number}"
    return name


def job_name(file: str) -> str:
    """Return what a job is called after its data file: the stem, fit for a folder's name and a command line."""
    stem = re.sub(r"[^\w.+-]+", "_", file.removesuffix(".jsonl")).strip("._-")
    return stem[:40] or "data"
