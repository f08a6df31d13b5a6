"""Which curves there are to judge: the parts of the benchmark as tasks of about the same size."""

from __future__ import annotations

from benchmarks.detection import corpus, inject, synthetic, work
from benchmarks.detection.corpus import Entry
from benchmarks.detection.curves import Curve, finite
from benchmarks.detection.inject import LONGEST, SHORTEST, Base
from benchmarks.detection.work import Task

PARTS = ("dev", "test", "provoked", "injected", "synthetic", "crash")
TASK_POINTS = 20_000
"""Points of one task: enough to hide the start of a process, few enough to show progress."""
BASES_OF_A_SOURCE = 2


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
        if entry.split != split or entry.twin:
            continue
        if ids and size + entry.facts["n_points"] > TASK_POINTS:
            tasks.append(Task(f"{split} {ids[0]}", "", work.real, (tuple(ids),)))
            ids, size = [], 0
        ids.append(entry.id)
        size += entry.facts["n_points"]
    return [*tasks, Task(f"{split} {ids[0]}", "", work.real, (tuple(ids),))] if ids else tasks


def _provoked() -> list[Task]:
    return [Task("provoked", "provoked/", work.short_runs, ())] if corpus.folder() else []


def bases() -> list[tuple[Entry, bool]]:
    """Return the files that events are put into: quiet, long enough, and at most so many of a repository.

    Of the first of a repository its beginning is used, where the loss still falls fast; of the second its end.
    """
    root = corpus.folder()
    taken: dict[str, int] = {}
    found: list[tuple[Entry, bool]] = []
    for entry in corpus.entries(root) if root else ():
        facts = entry.facts
        loss = corpus.canonical(facts["main_metric"]) == "loss"
        if entry.label["scored"] != "quiet" or not loss or facts["n_points"] < SHORTEST or entry.twin:
            continue
        taken[facts["repo"]] = taken.get(facts["repo"], 0) + 1
        if taken[facts["repo"]] <= BASES_OF_A_SOURCE:
            found.append((entry, taken[facts["repo"]] > 1))
    return found


def into_real(name: str, shapes: tuple[str, ...] | None) -> list[Curve]:
    """Return a real quiet curve with each of the shapes; none if smartmon cannot read it."""
    root = corpus.folder()
    entry, late = next(((entry, late) for entry, late in bases() if entry.id == name), (None, False))
    curve = corpus.load(entry, root) if root and entry else None
    if curve is None or not curve.loss:
        return []
    rows = [curve.rows[row] for row in curve.places[curve.loss]]
    rows = rows[-LONGEST:] if late else rows[:LONGEST]
    losses = [row.values[curve.loss] for row in rows]
    if len(finite(losses)) < max(len(losses), SHORTEST) or min(losses) <= 0:
        return []
    grads = [row.values["grad_norm"] for row in rows if "grad_norm" in row.values]
    base = Base(
        name, curve.source, curve.split, [r.step for r in rows], losses, grads if len(grads) == len(rows) else None
    )
    return list(inject.injected(base, shapes))


def into_made(index: int, shapes: tuple[str, ...] | None) -> list[Curve]:
    """Return a synthetic healthy curve with each of the shapes."""
    return list(inject.injected(synthetic.bases()[index], shapes))


def _injected(quick: bool) -> list[Task]:
    names = [shape.name for shape in inject.SHAPES]
    tasks = []
    for index, (entry, _) in enumerate(bases()):
        # Another tenth of the shapes for each base: together they still see all of them.
        chosen = tuple(names[index % 10 :: 10]) if quick else None
        tasks.append(Task(f"injected {entry.id}", f"injected/{entry.id}/", into_real, (entry.id, chosen)))
    for index, base in enumerate(synthetic.bases()):
        chosen = tuple(names[index::10]) if quick else None
        tasks.append(Task(f"injected {base.id}", f"injected/{base.id}/", into_made, (index, chosen)))
    return tasks


def _synthetic(quick: bool) -> list[Task]:
    return [
        Task(
            f"synthetic {'t4' if heavy else 'gauss'} {sd:g} {mean_of}",
            f"synthetic/{'t4' if heavy else 'gauss'}_{sd:g}_{mean_of}/",
            synthetic.healthy,
            (sd, heavy, mean_of, 1 if quick else synthetic.CURVES),
        )
        for heavy in (False, True)
        for mean_of in (1, 10)
        for sd in synthetic.NOISES
    ]


MAKERS = {
    "dev": lambda _: _real("dev"),
    "test": lambda _: _real("test"),
    "provoked": lambda _: _provoked(),
    "injected": _injected,
    "synthetic": _synthetic,
    "crash": lambda _: [Task("crash loops", "crash/", synthetic.crashes, ())],
}
