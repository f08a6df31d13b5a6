"""What people ask of a queue, running or not: add, list, pause, resume, remove, retry."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from smartmon import text
from smartmon.errors import SourceError, UsageError
from smartmon.queue import adapter, inbox, outcome, training
from smartmon.queue.book import Book
from smartmon.queue.child import Child
from smartmon.queue.files import move_file, move_folder, stage
from smartmon.queue.jobs import Job, Jobs, JobState, begun, job_name
from smartmon.queue.outcome import Outcome
from smartmon.queue.places import Places
from smartmon.records import Json

RESERVED = ("--dataset", "--base-dir", "--output-dir", "--resume", "--adapter", "--config", "--plan", "--test", "-C")
"""Options of the trainer that the queue gives itself."""
_HOPELESS = (20, 21)
"""Exit codes of failures that going on would meet again: NaN, and data that cannot be used."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list."""

    job: Job
    state: JobState
    reason: str
    step: int | None
    total_steps: int | None
    loss: float | None
    ended_at: float | None = None
    folder: Path | None = None
    leaving: bool = False

    def to_json(self) -> dict[str, Json]:
        """Return it as `queue list --json` prints it."""
        job = self.job
        return {
            "name": job.name,
            "state": self.state.value,
            "file": job.file,
            "priority": job.priority,
            "run": f"runs/{job.run}" if job.run else None,
            "step": self.step,
            "total_steps": self.total_steps,
            "loss": self.loss,
            "starts": job.starts,
            "added_at": _iso(job.added_at) if job.added_at else None,
            "started_at": _iso(job.started_at) if job.started_at else None,
            "ended_at": _iso(self.ended_at) if self.ended_at else None,
            "reason": self.reason,
            "settings": dict(job.settings),
            "words": list(job.words),
            "folder": str(self.folder) if self.folder is not None else None,
        }


class Desk:
    """Takes what people ask, whether the queue runs or not."""

    def __init__(self, base: Path) -> None:
        if not base.is_dir():
            raise UsageError(f"there is no folder {text.clean(base)}; make it, or name another with --base-dir")
        self.places = Places(base.absolute())
        self.book = Book(self.places)

    def add(
        self,
        file: Path,
        *,
        name: str | None = None,
        priority: int = 0,
        settings: Mapping[str, Json] | None = None,
        words: Sequence[str] = (),
    ) -> Job:
        """Copy a data file into the inbox as a job; one that lies there already gets what is given here.

        Raises UsageError for a name that is taken or words that are the queue's own, SourceError for a file that
        cannot be read.
        """
        reserved = [word for word in words if word.partition("=")[0] in RESERVED]
        if reserved:
            raise UsageError(
                f"{text.clean(reserved[0])} cannot be passed on: the queue gives it to each training itself"
            )
        if name is not None and job_name(name) != name:
            raise UsageError(f"--name {text.clean(name)!r}: a name has letters, digits, and . + - _ inside")
        if name is not None and self.book.read().named(name) is not None:
            raise UsageError(f"there is a job {name} already; give another --name")
        _readable(file)
        self.places.make()
        wanted = name or job_name(file.name)
        inside = file.parent.resolve() == self.places.inbox.resolve() and inbox.is_data(file.name)
        try:
            # A large file takes a while: nobody has to wait for the list meanwhile.
            part = None if inside else stage(file, self.places.inbox / f"{wanted}{inbox.ENDING}")
        except OSError as error:
            raise SourceError(f"cannot copy {text.clean(file)} into the inbox: {error.strerror}") from None
        try:
            job = Job(wanted, file.name, 0, priority, settings=dict(settings or {}), words=tuple(words))
            return self._enter(replace(job, added_at=time.time()), part)
        finally:
            if part is not None:
                part.unlink(missing_ok=True)

    def _enter(self, job: Job, part: Path | None) -> Job:
        """Let a file in the inbox, or the copy beside it, be a job."""
        with self.book.open() as edit:
            jobs = edit(lambda jobs: jobs)
            if part is not None:
                job = replace(job, file=inbox.land(part, self.places.inbox, jobs.free_name(job.name)))
            known = jobs.of_file(job.file)
            if known is None:
                job = replace(job, name=jobs.free_name(job.name))
                return edit(lambda jobs: jobs.add(job)).jobs[-1]
            settings = job.settings or known.settings
            changed = replace(known, priority=job.priority, settings=settings, words=job.words)
            edit(lambda jobs: jobs.put(changed))
            return changed

    def pause(self, reason: str, *, now: bool) -> Jobs:
        """Hold the queue: begin no other job; `now` stops the one under way as well, at a checkpoint."""
        return self.book.change(lambda jobs: replace(jobs, paused=reason, now=now))

    def resume(self) -> Jobs:
        """Let the queue go on."""
        return self.book.change(lambda jobs: replace(jobs, paused="", now=False))

    def remove(self, name: str) -> Path | None:
        """Take a job out of the queue and put its file into `removed/`, which is returned.

        None when it is being trained: then its training is asked to stop first. Raises UsageError for a name that no
        job has.
        """
        with self.book.open() as edit:
            jobs = edit(lambda jobs: jobs)
            job = jobs.named(name)
            if job is None:
                raise UsageError(_unknown(name, [job.name for job in jobs.jobs], "smartmon queue list"))
            alive = Child.find(job.pid, job.birth) is not None
            if job.state is JobState.TRAINING and (alive or self.book.runner()):
                edit(lambda jobs: jobs.put(replace(job, leaving=True)))
                return None
            run = job.run or self.places.new_run(job.name, time.time())
            moved = replace(job, run=run)
            target = self.places.over(JobState.REMOVED, run)
            try:
                self.places.active(run).mkdir(exist_ok=True)
                if not job.run and (self.places.inbox / job.file).exists():
                    move_file(self.places.inbox / job.file, self.places.active(run) / job.file)
                outcome.close(self.places, Outcome(moved, JobState.REMOVED, "", target, time.time(), {}))
            except OSError as error:
                raise SourceError(f"cannot move {name} to {text.clean(target)}: {error.strerror}") from None
            edit(lambda jobs: jobs.drop(name))
        return target

    def retry(self, name: str, *, anew: bool = False) -> Job:
        """Put a job that failed or was removed back into the queue; it goes on from its checkpoint where that helps.

        Raises UsageError when there is none of that name.
        """
        with self.book.open() as edit:
            jobs = edit(lambda jobs: jobs)
            back = [each for each in self.over() if each.state is not JobState.DONE]
            found = [each for each in back if name in (each.job.name, each.job.run)]
            if not found:
                known = sorted({each.job.name for each in back})
                raise UsageError(_unknown(name, known, "smartmon queue list", "failed or was removed"))
            last = max(found, key=lambda each: each.ended_at)
            anew = anew or last.facts.get("exit_code") in _HOPELESS
            run = self.places.new_run(last.job.name, time.time()) if anew else last.job.run
            job = replace(last.job, name=jobs.free_name(last.job.name), run=run, state=JobState.WAITING, reason="")
            job = replace(job, kills=0, started_at=None, leaving=False)
            if anew:
                job = replace(job, base=adapter.identity(self.places.model))
            try:
                move_folder(last.folder, self.places.active(run))
            except OSError as error:
                raise SourceError(f"cannot move {text.clean(last.folder)}: {error.strerror}") from None
            (self.places.active(run) / outcome.FILE).unlink(missing_ok=True)
            return edit(lambda jobs: jobs.add(job)).jobs[-1]

    def over(self) -> list[Outcome]:
        """Return the jobs that are over, the one that ended last at the end."""
        return sorted(outcome.all_of(self.places), key=lambda each: each.ended_at)

    def entries(self, limit: int) -> list[Entry]:
        """Return the list: the last `limit` jobs that are over, then the others in the order of their turn."""
        over = [_ended(each) for each in self.over()[-limit:]] if limit else []
        return [*over, *(self._entry(job) for job in self.book.read().in_turn())]

    def _entry(self, job: Job) -> Entry:
        state = job.state
        if state is JobState.TRAINING and Child.find(job.pid, job.birth) is None and not self.book.runner():
            state = JobState.INTERRUPTED
        said = training.status(self.places, job) if begun(job) else {}
        step, total = _count(said.get("current_step")), _count(said.get("total_steps"))
        folder = self.places.active(job.run) if job.run else None
        loss = _number(said.get("loss"))
        return Entry(job, state, job.reason, step, total, loss, folder=folder, leaving=job.leaving)


def _ended(ended: Outcome) -> Entry:
    step, total = _count(ended.facts.get("step")), _count(ended.facts.get("total_steps"))
    loss = _number(ended.facts.get("loss"))
    return Entry(ended.job, ended.state, ended.reason, step, total, loss, ended.ended_at, ended.folder)


def _count(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Json) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")


def _readable(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            if not opened.read(1):
                raise UsageError(f"{text.clean(file)} is empty; give a file of JSON Lines")
    except OSError as error:
        raise SourceError(f"cannot read {text.clean(file)}: {error.strerror}; give a file of JSON Lines") from None


def _unknown(name: str, known: Sequence[str], command: str, which: str = "is in the queue") -> str:
    there = f"there are {', '.join(known[:8])}" if known else "there is none"
    return f"no job {text.clean(name)!r} {which}; {there}; see: {command}"
