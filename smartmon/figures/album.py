"""A folder of pictures of a run as it goes on: one each N steps, the latest, and the numbers and samples behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from smartmon.errors import UsageError
from smartmon.figures.files import PARTIAL, write
from smartmon.figures.page import png, ready
from smartmon.figures.portraits import POINTS, Portrait, portrait
from smartmon.records import Json
from smartmon.sources.folders import PICTURES
from smartmon.store import RunRow, Store
from smartmon.text import clean

FOLDER = "training_viz"
METRICS, SAMPLES, LATEST = "metrics_history.json", "text_samples.json", "training_latest.png"
CATCH_UP = 20
"""Pictures that are drawn of what went on before somebody asked for them: the newest."""
_ROWS = 10_000
_COLUMNS = ("loss", "eval_loss", "accuracy", "eval_accuracy", "tokens_per_sec", "gpu_memory_mb", "learning_rate")


class Album:
    """Writes the pictures of one run into a folder. Raises UsageError for a folder that is somebody else's.

    ModuleNotFoundError where there is no matplotlib.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        self._every = every
        self._drawn: int | None = None
        """The step of the newest picture of this attempt."""
        self._attempt = 0
        self._latest: object = None
        self.skipped: tuple[int, int] | None = None
        """The first and the last step of those that the last look left out: the run went on faster than we draw."""
        with ready():
            # Without matplotlib nothing is left behind.
            self._take(folder)

    def _take(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / PICTURES).exists():
                if (folder / METRICS).exists() or (folder / SAMPLES).exists():
                    raise UsageError(
                        f"{clean(folder)} holds a {METRICS} or {SAMPLES} that smartmon did not write, perhaps the "
                        "trainer's own; name another folder with --output"
                    )
                write(folder, PICTURES, b"Pictures by smartmon report; the daemon does not read them as a run's own.\n")
            for left in folder.glob(f"{PARTIAL}*"):
                # Of one that was killed while it wrote.
                left.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot write pictures into {clean(folder)}: {error.strerror}; --output names another"
            ) from None

    def keep_up(self, store: Store, run: RunRow) -> list[Path]:
        """Draw what is due: each full N steps that the run has passed, and the latest. Returns what was written.

        What an earlier album drew of the same steps stands. Raises OSError where nothing can be written; what is due
        then is due again.
        """
        if run.attempt != self._attempt:
            # It went back: the steps that it goes over again have new pictures.
            began = next((one.step for one in store.attempts(run.id) if one.attempt == run.attempt), None)
            if self._drawn is not None and began is not None:
                self._drawn = min(self._drawn, (began - 1) // self._every * self._every)
            self._attempt = run.attempt
        written = []
        newest = (run.step or 0) // self._every * self._every
        first = self._drawn + self._every if self._drawn is not None else self._every
        start = max(first, newest - (CATCH_UP - 1) * self._every)
        self.skipped = (first, start - self._every) if self._drawn is not None and start > first else None
        standing = self._standing(store, run) if self._drawn is None else frozenset()
        for step in range(start, newest + 1, self._every):
            if step not in standing:
                written.append(self._draw(name(step), portrait(store, run, upto=step)))
            self._drawn = step
        if written or run.state.ended:
            written += self._write_latest(store, run)
        return written

    def _standing(self, store: Store, run: RunRow) -> frozenset[int]:
        """Steps whose picture is there, and newer than the attempt that they are of."""
        began = [(0, run.first_seen), *((one.step, one.at) for one in store.attempts(run.id))]
        found = set()
        for path in self.folder.glob(name(0).replace("0" * 6, "*")):
            digits = path.stem.rpartition("_")[2]
            if digits.isdecimal() and len(digits) < 17:
                since = max(at for step, at in began if step <= int(digits))
                if path.stat().st_mtime >= since:
                    found.add(int(digits))
        return frozenset(found)

    def _write_latest(self, store: Store, run: RunRow) -> list[Path]:
        """The picture of now, and the numbers behind it; nothing where it would be the same again."""
        now = (run.attempt, run.step, run.state)
        if now == self._latest:
            return []
        told = portrait(store, run, points=_ROWS)
        write(self.folder, METRICS, _json(rows(told)))
        write(self.folder, SAMPLES, _json(samples(told)))
        self._latest = now
        return [self._draw(LATEST, portrait(store, run, points=POINTS))]

    def _draw(self, file: str, told: Portrait) -> Path:
        return write(self.folder, file, png(told))


def name(step: int) -> str:
    """`training_step_000450.png`."""
    return f"training_step_{step:06d}.png"


def rows(told: Portrait) -> list[dict[str, Json]]:
    """The numbers of a run step by step, at most some thousands; a metric that a step does not have is absent."""
    found: dict[int, dict[str, Json]] = {}
    curves = {**told.curves, told.speed.metric: told.speed}
    for metric in _COLUMNS:
        for point in curves[metric].points if metric in curves else ():
            row = found.setdefault(point.step, {"step": point.step, "timestamp": round(point.at, 3)})
            # JSON has no NaN; in quotes every reader of ours understands it.
            row[metric] = "NaN" if math.isnan(point.last) else point.last
    return [found[step] for step in sorted(found)]


def samples(told: Portrait) -> list[dict[str, Json]]:
    """The last samples: `step, input, output, expected, accuracy`, as far as they are known."""
    return [
        {
            "step": one.step,
            "input": one.prompt,
            "output": one.answer,
            "expected": one.expected,
            "accuracy": _accuracy(one.result),
        }
        for one in told.examples
    ]


def _accuracy(result: str) -> float | None:
    known: Mapping[str, float] = {"match": 100.0, "differs": 0.0}
    return float(result.removesuffix(" %")) if result.endswith(" %") else known.get(result)


def _json(value: Json) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
