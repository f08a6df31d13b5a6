"""One job's training: its folders and settings made ready, its process started, its end read."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.errors import ConfigError
from smartmon.queue import adapter, recipe
from smartmon.queue.book import Book
from smartmon.queue.child import Child
from smartmon.queue.files import move_file, read_json, stamp, write_json, write_text
from smartmon.queue.jobs import Job, JobState, begun
from smartmon.queue.log import last_lines
from smartmon.queue.outcome import FILE, JOB_FILE, LOG, SETTINGS
from smartmon.queue.places import Places
from smartmon.queue.verdict import End, Verdict
from smartmon.records import Json

_STATUS = Path("status", "training_status.json")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Training:
    """Starts jobs, and says how they ended."""

    places: Places
    book: Book
    settings: Mapping[str, Json]
    trainer: Sequence[str]
    say: Callable[[str], None]

    def begin(self, job: Job) -> tuple[Job, Child] | Verdict | None:
        """Start a job, anew or from its newest checkpoint.

        Returns the job with its process; how it ended, if it could not begin; or None when its file cannot be had now.
        """
        try:
            claimed = self._claim(self._rebased(job))
        except OSError as error:
            self._cannot_claim(job, error)
            return None
        try:
            settings = self._recipe(claimed)
            recipe.check({**self.settings, **claimed.settings}, f"{claimed.name}: its settings")
        except ConfigError as error:
            return Verdict(JobState.FAILED, " ".join(str(error).split()))
        try:
            return self._start(claimed, settings)
        except OSError as error:
            full = error.errno in _FULL
            said = "the disk is full" if full else f"it could not be started: {error.strerror} ({error.filename})"
            return Verdict(JobState.INTERRUPTED if full else JobState.FAILED, text.clean(said), hold=full)

    def end(self, job: Job, child: Child | None) -> End:
        """Return what is known of a training that is over."""
        own = self.places.run(job.run) / _STATUS
        said = status(self.places, job) if _mtime(own) > job.status_seen else {}
        active = self.places.active(job.run)
        # What it says of a file in its folder must hold when that has moved.
        lines = [line.replace(f"{active}/", "") for line in last_lines(active / LOG, since=job.log_at)]
        code, asked = (child.code, child.asked) if child is not None else (None, False)
        return End(code, said, adapter.is_whole(self.places.output(job.run)), lines, asked)

    def is_complete(self, job: Job) -> bool:
        """Whether a job that was begun has nothing left to train: only what comes after was cut off."""
        done = begun(job) and status(self.places, job).get("status") == "completed"
        return done and adapter.is_whole(self.places.output(job.run))

    def _rebased(self, job: Job) -> Job:
        """Give a job that is tried again a new run, if others have trained since: theirs would be lost else."""
        if not job.run or begun(job) or job.base == adapter.identity(self.places.model):
            return job
        run = self.places.new_run(job.name, time.time())
        self.places.active(job.run).rename(self.places.active(run))
        self.say(f"{job.name}: the adapter has changed since it failed, so it is trained anew")
        return replace(job, run=run)

    def _claim(self, job: Job) -> Job:
        """Take a job's data file out of the inbox into a folder of its own; raise OSError.

        From here on nobody replaces it by accident, and a file of the same name may come into the inbox.
        """
        if not job.run:
            job = replace(job, run=self.places.new_run(job.name, time.time()))
        fresh = not begun(job)
        job = replace(job, state=JobState.INTERRUPTED, reason="")
        if fresh:
            job = replace(job, base=adapter.identity(self.places.model))
        self.book.change(lambda jobs: jobs.put(job))
        fetch(self.places, job)
        return job

    def _cannot_claim(self, job: Job, error: OSError) -> None:
        said = text.clean(f"its file cannot be taken: {error.strerror or error}")
        waiting = replace(job, state=JobState.WAITING, reason="") if not job.run else job
        current = self.book.read().named(job.name)
        if not job.run and current is not None:
            with contextlib.suppress(OSError):
                self.places.active(current.run).rmdir()
        if error.errno in _FULL:
            self.book.change(lambda jobs: replace(jobs.put(waiting), paused="the disk is full", now=False))
            return
        if error.errno != errno.EBUSY:
            seen = stamp(self.places.inbox / job.file)
            waiting = replace(waiting, state=JobState.REFUSED, reason=said, stamp=seen)
        self.book.change(lambda jobs: jobs.put(waiting))
        self.say(f"{job.name}: {said}")

    def _recipe(self, job: Job) -> dict[str, Json]:
        """Return the settings of a job's training."""
        settings = {**self.settings, **job.settings}
        run, active = self.places.run(job.run), self.places.active(job.run)
        settings |= {"dataset": str(active / job.file), "base_dir": str(run), "resume": "auto"}
        settings["output_dir"] = str(self.places.output(job.run))
        if adapter.is_whole(self.places.model):
            settings["adapter"] = str(self.places.model)
        return settings

    def _start(self, job: Job, settings: Mapping[str, Json]) -> tuple[Job, Child]:
        active, output = self.places.active(job.run), self.places.output(job.run)
        output.mkdir(parents=True, exist_ok=True)
        newest, log = newest_checkpoint(output), active / LOG
        job = replace(
            job,
            state=JobState.TRAINING,
            starts=job.starts + 1,
            started_at=job.started_at or time.time(),
            checkpoint=newest,
            status_seen=_mtime(self.places.run(job.run) / _STATUS),
        )
        (active / FILE).unlink(missing_ok=True)
        write_text(active / SETTINGS, recipe.write(settings))
        write_json(active / JOB_FILE, job.to_json())
        command = [*self.trainer, "--config", str(active / SETTINGS), *job.words]
        with log.open("a", encoding="utf-8") as file:
            file.write(
                f"# {text.clock(time.time())} start {job.starts} of {job.name}: {text.clean(' '.join(command))}\n"
            )
        job = replace(job, log_at=log.stat().st_size)
        self.book.change(lambda jobs: jobs.put(job))
        child = Child.start(command, log, self._environment(job))
        job = replace(job, pid=child.pid, birth=child.birth)
        self.book.change(lambda jobs: jobs.put(job))
        self.say(f"{job.name}: {self._beginning(newest, settings)} (pid {child.pid})")
        return job, child

    def _environment(self, job: Job) -> dict[str, str]:
        """What the training's status file is to say besides, as `StatusWriter` takes it."""
        waiting = [each for each in self.book.read().jobs if each.state is JobState.WAITING]
        facts = {"current_file": job.file, "batch_queue_size": len(waiting), "queue_job": job.name}
        return {"SMARTMON_FACTS": json.dumps(facts)}

    def _beginning(self, newest: int, settings: Mapping[str, Json]) -> str:
        if newest:
            return f"training goes on from checkpoint-{newest} or, if that is damaged, the one before"
        return f"training starts on {self.places.model.name}" if "adapter" in settings else "training starts anew"


def fetch(places: Places, job: Job) -> None:
    """Move a job's data file from the inbox into its folder, unless that is done; raise OSError."""
    active = places.active(job.run)
    active.mkdir(parents=True, exist_ok=True)
    if not (active / job.file).exists():
        move_file(places.inbox / job.file, active / job.file)


def status(places: Places, job: Job) -> dict[str, Any]:
    """Return what a job's training said last."""
    return read_json(places.run(job.run) / _STATUS)


def tell_failure(places: Places, job: Job, reason: str) -> None:
    """Write into a failed job's status why, if its training did not: who watches the runs is told then.

    A training that is killed says nothing, nor does one whose data is refused before the first step.
    """
    said = status(places, job)
    if said.get("status") in ("crashed", "error", "stopped"):
        return
    now = datetime.now().astimezone().isoformat(timespec="milliseconds")
    told = {"status": "error", "error_type": "QueueJobFailed", "error_message": reason, "timestamp": now}
    path = places.run(job.run) / _STATUS
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"current_file": job.file, **said, **told})


def newest_checkpoint(output: Path) -> int:
    """Return the step of the newest checkpoint in a folder, whole or not; 0 when there is none."""
    steps = [0]
    with contextlib.suppress(OSError):
        matches = (re.fullmatch(r"checkpoint-(\d{1,18})", path.name) for path in output.iterdir())
        steps += [int(match[1]) for match in matches if match]
    return max(steps)


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
