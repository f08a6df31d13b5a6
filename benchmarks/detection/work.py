"""One piece of work for one process: some curves, smartmon and every peer over them, judged."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.detection import contestant, corpus, matching, provoked, roster
from benchmarks.detection.curves import Curve, write_jsonl
from benchmarks.detection.matching import Outcome

SMARTMON = "smartmon"
SWEPT_NOISE = "Gauss 0.2"


@dataclass(frozen=True)
class Task:
    """Curves to make, by a function that a process can be told of, and its arguments."""

    name: str
    prefix: str
    """What the ids of its curves begin with."""
    make: Callable[..., list[Curve]]
    arguments: tuple[object, ...]

    def may_hold(self, curve: str) -> bool:
        """Whether a curve of this id can come of it, judged without making it."""
        return curve.startswith(self.prefix)


@dataclass
class Done:
    """What a task gave."""

    outcomes: list[Outcome]
    unread: list[str]
    """Ids of the files that smartmon does not read."""


def real(ids: tuple[str, ...]) -> list[Curve]:
    """Return the curves of these ids that smartmon reads."""
    root = corpus.folder()
    if root is None:
        return []
    wanted = [entry for entry in corpus.entries(root) if entry.id in ids]
    return [curve for entry in wanted if (curve := corpus.load(entry, root)) is not None]


def short_runs() -> list[Curve]:
    """Return the provoked runs."""
    root = corpus.folder()
    return provoked.runs(root) if root else []


def _varied(curves: list[Curve], options: tuple[str, ...], sigmas: float, folder: Path) -> list[Outcome]:
    """Judge smartmon with another threshold."""
    config = folder / "varied.toml"
    config.write_text(f"[detectors.loss_spike]\nsigmas = {sigmas}\n")
    swept = [curve for curve in curves if _swept(curve)]
    answers = contestant.replay(swept, [*options, "--config", str(config)]) if swept else {}
    name = f"{SMARTMON} at {sigmas:g}"
    return [
        matching.match(name, curve, contestant.alarms(curve, answers[curve.id]))
        for curve in swept
        if curve.id in answers
    ]


def _swept(curve: Curve) -> bool:
    """Whether the table of other thresholds looks at a curve."""
    return curve.section in ("corpus", "injected") or curve.shape == SWEPT_NOISE


def _rivals(curve: Curve) -> tuple[roster.Peer, ...]:
    """Return the peers, with their other thresholds where the table of those looks."""
    return (*roster.PEERS, *(roster.SWEEP if _swept(curve) else ()))


def perform(task: Task, options: tuple[str, ...], sigmas: tuple[float, ...], with_peers: bool) -> Done:
    """Make a task's curves, run everybody over them, and judge; smartmon also with other `loss_spike.sigmas`."""
    curves = task.make(*task.arguments)
    with tempfile.TemporaryDirectory() as name:
        for curve in curves:
            if curve.path is None:
                curve.path = write_jsonl(curve, Path(name))
        answers = contestant.replay(curves, list(options)) if curves else {}
        outcomes = [one for value in sigmas for one in _varied(curves, options, value, Path(name))]
    for curve in curves:
        if curve.id not in answers:
            continue
        answer = answers[curve.id]
        told, quiet = contestant.alarms(curve, answer), contestant.infos(curve, answer)
        outcomes.append(matching.match(SMARTMON, curve, told, quiet))
        for peer in _rivals(curve) if with_peers else ():
            outcomes.append(matching.match(peer.name, curve, roster.alarms(peer, curve)))
    asked = task.arguments[0] if task.make is real else ()
    read = {curve.id for curve in curves if curve.id in answers}
    return Done(outcomes, [one for one in asked if one not in read] if isinstance(asked, tuple) else [])
