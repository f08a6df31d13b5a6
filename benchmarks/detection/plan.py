"""Which curves there are to judge: the parts of the benchmark as tasks of about the same size."""

from __future__ import annotations

from benchmarks.detection import corpus, work
from benchmarks.detection.work import Task

PARTS = ("dev", "test", "provoked", "injected", "synthetic", "crash")
TASK_POINTS = 20_000
"""Points of one task: enough to hide the start of a process, few enough to show progress."""


def plan(parts: list[str], *, quick: bool = False) -> list[Task]:
    """Return the tasks of these parts, in their order."""
    found: list[Task] = []
    for part in PARTS:
        if part in parts:
            found += MAKERS[part](quick)
    return found


def _real(split: str) -> list[Task]:
    root = corpus.folder()
    tasks: list[Task] = []
    ids: list[str] = []
    size = 0
    for entry in corpus.entries(root) if root else ():
        if entry.split != split:
            continue
        if ids and size + entry.facts["n_points"] > TASK_POINTS:
            tasks.append(Task(f"{split} {ids[0]}", "", work.real, (tuple(ids),)))
            ids, size = [], 0
        ids.append(entry.id)
        size += entry.facts["n_points"]
    return [*tasks, Task(f"{split} {ids[0]}", "", work.real, (tuple(ids),))] if ids else tasks


def _provoked() -> list[Task]:
    return [Task("provoked", "provoked/", work.short_runs, ())] if corpus.folder() else []


MAKERS = {
    "dev": lambda _: _real("dev"),
    "test": lambda _: _real("test"),
    "provoked": lambda _: _provoked(),
    "injected": lambda _: [],
    "synthetic": lambda _: [],
    "crash": lambda _: [],
}
