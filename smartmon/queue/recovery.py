"""What a queue puts right at its start, for the one before it may have been killed between any two steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from smartmon import text
from smartmon.queue import adapter, outcome
from smartmon.queue.book import Book
from smartmon.queue.files import drop_staged, read_json
from smartmon.queue.inbox import is_data
from smartmon.queue.jobs import Job, Jobs, JobState
from smartmon.queue.places import OVER, Places, of_run
from smartmon.queue.training import fetch


def recover(places: Places, book: Book, say: Callable[[str], None]) -> None:
    """Finish what was begun: folders not moved yet, files not fetched yet, jobs that only their folder remembers."""
    drop_staged(places.inbox)
    for job in book.read().jobs:
        if job.run:
            _finish(places, book, job)
    known = {job.run for job in book.read().jobs}
    for folder in sorted((places.base / "active").iterdir()):
        if folder.is_dir() and folder.name[0] != "." and folder.name not in known:
            _adopt(places, book, folder, say)


def _finish(places: Places, book: Book, job: Job) -> None:
    """Do what was decided about a job."""
    state = outcome.decided(places, job.run)
    if state is not None:
        with contextlib.suppress(OSError):
            outcome.settle(places, job.run, state)
    moved = any(places.over(each, job.run).is_dir() for each in OVER)
    if moved and not places.active(job.run).is_dir():
        book.change(lambda jobs: jobs.drop(job.name))
        return
    try:
        fetch(places, job)
    except FileNotFoundError:
        # Gone from the inbox and in no folder of ours: somebody took it away.
        with contextlib.suppress(OSError):
            places.active(job.run).rmdir()
        if not places.active(job.run).is_dir():
            book.change(lambda jobs: jobs.drop(job.name))
    except OSError:
        if not job.starts:
            book.change(lambda jobs: jobs.put(replace(job, state=JobState.WAITING, run="")))


def _adopt(places: Places, book: Book, folder: Path, say: Callable[[str], None]) -> None:
    """Take back a job whose folder is there, but which the list has lost."""
    state = outcome.decided(places, folder.name)
    if state is not None:
        with contextlib.suppress(OSError):
            outcome.settle(places, folder.name, state)
        return
    data = sorted(path.name for path in folder.iterdir() if is_data(path.name))
    if not data:
        return
    try:
        job = Job.from_json(read_json(folder / outcome.JOB_FILE))
    except (KeyError, ValueError, TypeError):
        job = Job(of_run(folder.name), data[0], order=0, added_at=time.time())
    if job.state is not JobState.TRAINING:
        job = replace(job, state=JobState.INTERRUPTED)

    def add(jobs: Jobs) -> Jobs:
        return jobs.add(replace(job, name=jobs.free_name(job.name), file=data[0], run=folder.name))

    book.change(add)
    say(f"{job.name}: found in {text.clean(folder)}; it is taken back into the queue")


def drop_old_checkpoints(places: Places, *, keep: str) -> None:
    """Remove the checkpoints of the jobs that are done, whose adapters stay, but for one: the newest."""
    with contextlib.suppress(OSError):
        for folder in places.over(JobState.DONE, keep).parent.iterdir():
            if folder.name != keep:
                adapter.drop_checkpoints(places.output(folder.name))
