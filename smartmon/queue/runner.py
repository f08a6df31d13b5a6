"""The running queue: one training after another, until it is asked to stop. Killed at any moment, it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from smartmon import text
from smartmon.errors import SmartmonError
from smartmon.queue import adapter, outcome, recovery, training
from smartmon.queue.book import Book
from smartmon.queue.child import Child
from smartmon.queue.files import stamp
from smartmon.queue.inbox import Inbox
from smartmon.queue.jobs import Job, Jobs, JobState, job_name, refused
from smartmon.queue.log import Log
from smartmon.queue.outcome import Outcome
from smartmon.queue.places import Places
from smartmon.queue.stopping import Stopping
from smartmon.queue.verdict import KILLS, Verdict, judge, was_stopped
from smartmon.records import Json
from smartmon.trainer import lock

SHOWN_EVERY = 5.0
"""Seconds between two lines of a training's output on the terminal; its log has them all."""
WIDTH = 70
"""Columns for such a line: a terminal's, less the time before it."""


@dataclass(frozen=True)
class Plan:
    """What `queue run` was asked."""

    settings: Mapping[str, Json]
    """Of every job; a job's own come over them."""
    trainer: Sequence[str]
    """The words that start a training; `--config FILE` and the job's own follow."""
    once: bool = False
    """End when nothing waits, instead of staying for new files."""
    stop_on_failure: bool = False
    keep_checkpoints: bool = False
    """Keep the checkpoints of every job that is done, not of the newest alone."""
    interval: float = 1.0
    """Seconds between two looks."""
    shown_every: float = SHOWN_EVERY


@dataclass
class Runner:
    """Takes jobs in turn and sees each to its end."""

    places: Places
    plan: Plan
    say: Callable[[str], None]
    stopping: Stopping
    over: list[Outcome] = field(default_factory=list)
    """What became of the jobs that ended."""

    def __post_init__(self) -> None:
        self.book = Book(self.places)
        self.inbox = Inbox(self.places.inbox)
        self._told = ""

    def run(self) -> list[Outcome]:
        """Train until told to stop, or until nothing waits; raise LockedError when another queue is at it."""
        with self.book.running():
            recovery.recover(self.places, self.book, self.say)
            while not self.stopping.count and not self._failed_enough():
                self._look()
                jobs = self.book.read()
                job = None if jobs.paused else jobs.next()
                if job is not None:
                    self._told = ""
                    self._train(job)
                elif self._idle(jobs):
                    break
                else:
                    self.stopping.wait(self.plan.interval)
        return self.over

    def _failed_enough(self) -> bool:
        return self.plan.stop_on_failure and any(each.state is JobState.FAILED for each in self.over)

    def _idle(self, jobs: Jobs) -> bool:
        """Say once why nothing is being trained; return whether that is the end."""
        unknown = set(self.inbox.files()) - jobs.files()
        if jobs.paused:
            told = f"held: {jobs.paused}; go on with: smartmon queue resume"
        elif self.plan.once:
            told = "" if unknown else "nothing waits"
        else:
            told = f"waiting for files in {text.clean(self.places.inbox)}"
        if told and told != self._told:
            self.say(told)
            self._told = told
        return self.plan.once and bool(jobs.paused or not unknown)

    def _look(self) -> None:
        """Take note of new files, and of those that have gone."""
        for name in self.inbox.strangers():
            self.say(f"{text.clean(name)} in the inbox is no .jsonl and stays where it is")
        now, before = time.time(), self.book.read()
        whole = self.inbox.look(before.files())
        after = self.book.change(lambda jobs: noticed(jobs, whole, self.inbox, now))
        old, new = ([job.name for job in jobs.jobs] for jobs in (before, after))
        for name in sorted(set(new) - set(old), key=new.index):
            self.say(f"{name}: found in the inbox")
        for name in sorted(set(old) - set(new), key=old.index):
            self.say(f"{name}: its file has gone from the inbox, so it is dropped")

    def _train(self, job: Job) -> None:
        """Bring one job as far as it goes."""
        run = training.Training(self.places, self.book, self.plan.settings, self.plan.trainer, self.say)
        child = Child.find(job.pid, job.birth) if job.state is JobState.TRAINING else None
        if child is not None:
            self.say(f"{job.name}: still training (pid {child.pid}), begun by a queue that was killed; watching it")
        elif job.state is JobState.TRAINING or run.is_complete(job):
            self._settle(job, judge(run.end(job, None)), None)
            return
        else:
            begun = run.begin(job)
            if begun is None:
                return
            if isinstance(begun, Verdict):
                self._settle(self.book.read().named(job.name) or job, begun, None)
                return
            job, child = begun
        self._watch(job, child)
        current = self.book.read().named(job.name) or job
        end = run.end(current, child)
        if was_stopped(end) and not end.asked:
            # A service manager stops all processes at once: our own signal may still be on its way.
            self.stopping.wait(self.plan.interval)
        end = replace(end, asked=end.asked or bool(self.stopping.count))
        self._settle(current, judge(end), child.code)

    def _watch(self, job: Job, child: Child) -> None:
        """Wait for a training's end; pass on what the queue is asked meanwhile."""
        log = Log(self.places.active(job.run) / outcome.LOG, at=job.log_at)
        shown = 0.0
        line = ""
        while not child.wait(self.plan.interval):
            if self.stopping.count > 1:
                child.kill()
            elif self.stopping.count or self._wished_away(job.name):
                if not child.asked:
                    self.say(f"{job.name}: asked to save and stop; a second Ctrl-C ends it at once")
                child.ask()
            self._look()
            line = log.news() or line
            if line and time.monotonic() - shown >= self.plan.shown_every:
                shown = time.monotonic()
                self.say(_cut(f"{job.name} | {line}", WIDTH))
                line = ""

    def _wished_away(self, name: str) -> bool:
        jobs = self.book.read()
        job = jobs.named(name)
        return (bool(jobs.paused) and jobs.now) or (job is not None and job.leaving)

    def _settle(self, job: Job, verdict: Verdict, code: int | None) -> None:
        """Carry out what the end of a training means for its job."""
        if verdict.state is JobState.DONE:
            verdict = self._publish(job)
        elif verdict.killed:
            verdict, job = self._counted(job, verdict)
        if verdict.state is JobState.INTERRUPTED and job.leaving:
            verdict = Verdict(JobState.REMOVED)
        if verdict.state is not JobState.INTERRUPTED:
            self._close(job, verdict, code)
            return
        waiting = replace(job, state=JobState.INTERRUPTED, reason=verdict.reason, pid=0, birth="")
        self.book.change(lambda jobs: jobs.put(waiting))
        if verdict.reason != job.reason:
            self.say(f"{job.name}: interrupted: {verdict.reason}")
        if verdict.hold:
            self.book.change(lambda jobs: replace(jobs, paused=f"{job.name}: {verdict.reason}", now=False))
        if verdict.busy:
            self.stopping.wait(10 * self.plan.interval)

    def _publish(self, job: Job) -> Verdict:
        """Make a job's adapter the one that the next starts from."""
        model = self.places.model
        try:
            with lock.held([model] if model.is_dir() else []):
                kept = adapter.publish(self.places.output(job.run), model, job.run)
        except SmartmonError as error:
            return Verdict(JobState.INTERRUPTED, text.clean(error), busy=True)
        except OSError as error:
            said = f"its adapter could not be copied to {text.clean(model)}: {error.strerror}"
            return Verdict(JobState.INTERRUPTED, said, hold=True)
        if kept is not None:
            self.say(f"what was in {model.name} before is kept in {text.clean(kept.name)}")
        return Verdict(JobState.DONE)

    def _counted(self, job: Job, verdict: Verdict) -> tuple[Verdict, Job]:
        """Count a kill; too many without another checkpoint in between are the end."""
        further = training.newest_checkpoint(self.places.output(job.run)) > job.checkpoint
        job = replace(job, kills=1 if further else job.kills + 1)
        if job.kills < KILLS:
            return verdict, job
        return Verdict(JobState.FAILED, f"killed {KILLS} times without another checkpoint; {verdict.reason}"), job

    def _close(self, job: Job, verdict: Verdict, code: int | None) -> None:
        """Put a job away that is over."""
        now = time.time()
        job = replace(job, pid=0, birth="", leaving=False)
        facts = outcome.facts(training.status(self.places, job), code)
        if verdict.state is JobState.FAILED:
            training.tell_failure(self.places, job, verdict.reason)
        folder = self.places.over(verdict.state, job.run)
        ended = Outcome(job, verdict.state, verdict.reason, folder, now, facts)
        try:
            outcome.close(self.places, ended)
        except OSError as error:
            said = f"its folder could not be moved to {text.clean(folder)}: {error.strerror}"
            self.book.change(lambda jobs: replace(jobs.put(job), paused=f"{job.name}: {said}", now=False))
            self.say(f"{job.name}: {said}")
            return
        self.book.change(lambda jobs: jobs.drop(job.name))
        self.over.append(ended)
        self._tell(ended, now)
        if verdict.state is JobState.DONE and not self.plan.keep_checkpoints:
            recovery.drop_old_checkpoints(self.places, keep=job.run)

    def _tell(self, ended: Outcome, now: float) -> None:
        job = ended.job
        took = text.duration(now - job.started_at) if job.started_at else "-"
        where = f"{ended.folder.parent.name}/{ended.folder.name}"
        if ended.state is JobState.DONE:
            loss = ended.facts.get("loss")
            said = f", loss {text.number(loss)}" if isinstance(loss, (int, float)) else ""
            self.say(f"{job.name}: done in {took}{said}; adapter in {self.places.model.name}, log in {where}")
        else:
            why = f": {ended.reason}" if ended.reason else ""
            self.say(f"{job.name}: {ended.state.value}{why}; log in {where}")


def noticed(jobs: Jobs, whole: Sequence[str], inbox: Inbox, now: float) -> Jobs:
    """Return the list with a job for each whole file that has none, and without those whose file has gone."""
    there = set(inbox.files())
    for job in jobs.jobs:
        if job.run:
            continue
        if job.file not in there:
            jobs = jobs.drop(job.name)
        elif refused(job) and stamp(inbox.folder / job.file) != job.stamp:
            jobs = jobs.put(replace(job, state=JobState.WAITING, reason="", stamp=()))
    known = jobs.files()
    for name in whole:
        if name not in known:
            jobs = jobs.add(Job(jobs.free_name(job_name(name)), name, order=0, added_at=now))
    return jobs


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
