"""A queue in a folder, with a stand-in for the trainer."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from smartmon.queue.desk import Desk
from smartmon.queue.jobs import JobState
from smartmon.queue.outcome import Outcome
from smartmon.queue.runner import Plan, Runner
from smartmon.queue.stopping import Stopping

STANDIN = Path(__file__).parent / "standin.py"
TRAINER = (sys.executable, str(STANDIN))


class Bench:
    """A base dir, what people do to its queue, and the queue itself, run in this process."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.said: list[str] = []
        (base / "model").mkdir(exist_ok=True)
        self.desk = Desk(base)
        self.places, self.book = self.desk.places, self.desk.book
        self.places.make()
        self.stopping = Stopping()

    def drop(self, name: str, **script: object) -> Path:
        """Put a data file into the inbox, as a person would; the script is what its training does."""
        return write(self.places.inbox / f"{name}.jsonl", name, **script)

    def data(self, name: str, **script: object) -> Path:
        """Write a data file beside the queue."""
        return write(self.base / f"{name}.jsonl", name, **script)

    def runner(self, **options: object) -> Runner:
        settings = {"model": str(self.base / "model")}
        given = {"once": True, "interval": 0.01, "shown_every": 0.0, **options}
        plan = Plan(settings, TRAINER, **given)  # type: ignore[arg-type]
        return Runner(self.places, plan, self.said.append, self.stopping)

    def run(self, **options: object) -> list[tuple[str, str]]:
        """Run until nothing waits; return name and end of each job that ended."""
        return ends(self.runner(**options).run())

    def learned(self) -> str:
        """What the newest adapter was trained on, in order."""
        path = self.places.model / "adapter_model.safetensors"
        return path.read_text() if path.exists() else ""

    def pid(self, name: str) -> int:
        """The process id of a job's training; 0 when there is none."""
        job = self.book.read().named(name)
        return job.pid if job is not None else 0

    def log(self, name: str) -> str:
        """The log of a job under way."""
        job = self.book.read().named(name)
        path = self.places.active(job.run) / "train.log" if job is not None else self.base / "none"
        return path.read_text() if path.is_file() else ""

    def folder(self, state: JobState, name: str) -> Path:
        """The folder of the one job of that name that is over."""
        (found,) = self.places.over(state, "x").parent.glob(f"*_{name}")
        return found

    def close(self) -> None:
        self.stopping.close()

    def until(self, holds: Callable[[], object], what: str, seconds: float = 30) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, what
            time.sleep(0.01)


def write(path: Path, name: str, **script: object) -> Path:
    path.write_text(json.dumps({"name": name, **script}) + "\n")
    return path


def ends(over: list[Outcome]) -> list[tuple[str, str]]:
    return [(each.job.name, each.state.value) for each in over]
