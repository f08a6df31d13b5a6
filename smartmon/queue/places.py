"""Where the queue keeps things in its base dir."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from smartmon import text
from smartmon.errors import StoreError
from smartmon.queue.jobs import JobState, first_free
from smartmon.sources.folders import SET_ASIDE

OVER = {JobState.DONE: "done", JobState.FAILED: "failed", JobState.REMOVED: "removed"}
"""The folder that takes a job which is over."""
_NOTE = "smartmon looks for no runs in this folder: it belongs to `smartmon queue`.\n"


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one queue."""

    base: Path

    @property
    def inbox(self) -> Path:
        """Data files that wait."""
        return self.base / "inbox"

    @property
    def state(self) -> Path:
        """The queue's own file and locks."""
        return self.base / ".smartmon" / "queue"

    @property
    def runs(self) -> Path:
        """One folder for each training: status, logs, checkpoints. Smartmon sees each as a run."""
        return self.base / "runs"

    @property
    def model(self) -> Path:
        """The newest good adapter, which the next job starts from."""
        return self.base / "current_model"

    def active(self, run: str) -> Path:
        """The data, settings and log of the job that is being trained."""
        return self.base / "active" / run

    def over(self, state: JobState, run: str) -> Path:
        """The same once it is over."""
        return self.base / OVER[state] / run

    def run(self, run: str) -> Path:
        """A training's status and logs."""
        return self.runs / run

    def output(self, run: str) -> Path:
        """A training's checkpoints and adapter."""
        return self.run(run) / "current_model"

    def make(self) -> None:
        """Make the folders; raise StoreError where that cannot be.

        Each but `runs/` holds a mark: a log in `done/` would else be taken for a run of its own.
        """
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.runs.mkdir(exist_ok=True)
            for name in ("inbox", "active", "done", "failed"):
                self.aside(self.base / name)
        except OSError as error:
            raise StoreError(
                f"cannot keep a queue in {text.clean(self.base)}: {error.strerror} ({text.clean(error.filename)}); "
                "make it writable, or choose another --base-dir"
            ) from None

    def aside(self, folder: Path) -> None:
        """Make a folder in which no runs are looked for."""
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / SET_ASIDE
        if not mark.exists():
            mark.write_text(_NOTE, encoding="utf-8")

    def new_run(self, name: str, now: float) -> str:
        """Return a name for a run that nothing has yet: `20261121-143022_poems`."""
        parents = [self.runs, self.base / "active", *(self.base / name for name in OVER.values())]
        taken = {entry.name for parent in parents if parent.is_dir() for entry in parent.iterdir()}
        return first_free(f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}_{name}", taken)


def of_run(run: str) -> str:
    """Return the name of the job that a run was made for."""
    return re.sub(r"^\d{8}-\d{6}_", "", run)
