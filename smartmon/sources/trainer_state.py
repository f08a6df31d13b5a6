"""Hugging Face `trainer_state.json`: the whole history, written again at each save into a new checkpoint folder.

It is written in place, so it may be half there; it holds no timestamps; and after a resume from an older checkpoint
it tells another story from that point on.
"""

from __future__ import annotations

import array
import base64
import binascii
import itertools
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon.records import Batch, Json, Observation, RunState, StatusReport
from smartmon.sources import jsontext, trouble
from smartmon.sources.base import MAX_ROWS, SourceSpec, shown, stat_key
from smartmon.sources.dating import between, oldest_evidence
from smartmon.sources.numbers import whole
from smartmon.sources.rows import Row, RowReader, is_summary
from smartmon.sources.safe_read import Changing, Contents, Missing, Unreadable, read_file

_CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})")
_NAME = "trainer_state.json"
_SETTLED = 60.0
"""Seconds within which mtimes say nothing about the order of saves (a copied folder): there the step decides."""
_REMEMBERED = 4096
"""Rows whose fingerprints the cursor keeps, to find where a rewritten history begins to differ."""
_BLOCK = 1024
_NEWEST = 32
"""Checkpoints that `stamp` looks at."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: Path
    step: int
    """Of the folder's name; beyond every folder for the file at the top, which is saved last."""
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class _History:
    """The rows consumed so far, as fingerprints: one for each beginning of whole blocks, one each for the last rows."""

    count: int = 0
    blocks: tuple[int, ...] = ()
    recent: tuple[int, ...] = ()

    def common(self, marks: list[int]) -> int:
        """Return how many rows at the beginning of `marks` are those already consumed (or a little fewer)."""
        same = _alike(self.blocks, _blocks(marks))
        first = same * _BLOCK
        begin = self.count - len(self.recent)
        if first < begin:
            return first
        return begin + _alike(self.recent, marks[begin:])

    @classmethod
    def of(cls, marks: list[int]) -> _History:
        """Remember these rows."""
        first = max(0, len(marks) - _REMEMBERED) // _BLOCK * _BLOCK
        return cls(len(marks), tuple(_blocks(marks)), tuple(marks[first:]))

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        recent = base64.b64encode(array.array("I", self.recent).tobytes()).decode()
        return {"count": self.count, "blocks": list(self.blocks), "recent": recent}

    @classmethod
    def read(cls, data: Mapping[str, Json] | None) -> _History:
        """Return what a cursor remembers; nothing for none, or for one of another version."""
        try:
            known = data or {}
            recent = array.array("I", base64.b64decode(known["recent"], validate=True))
            return cls(int(known["count"]), tuple(known["blocks"]), tuple(recent))
        except (KeyError, TypeError, ValueError, binascii.Error):
            return cls()


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many members two sequences share from their beginning."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other)))


def _blocks(marks: list[int]) -> list[int]:
    """Return a fingerprint of the rows up to the end of each whole block."""
    found, crc = [], 0
    for end in range(_BLOCK, len(marks) + 1, _BLOCK):
        crc = zlib.crc32(array.array("I", marks[end - _BLOCK : end]).tobytes(), crc)
        found.append(crc)
    return found


class TrainerState:
    """Reads the newest state of a run's folder (or one file, for a replay)."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self._rows = RowReader()
        self._looks = itertools.count()
        self._pending = False
        self._listed: dict[Path, tuple[tuple[int, ...], bool, list[int]]] = {}

    def stamp(self) -> tuple[object, ...]:
        """A `stat` of the folder, of the file at the top, and of the newest checkpoints' files."""
        keys = [stat_key(path) for path in self._paths(_NEWEST)]
        return (stat_key(self.spec.path), *keys, next(self._looks) if self._pending else None)

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return the rows that the newest state adds to those consumed, or those from where it tells another story."""
        last = dict(cursor or {})
        self._pending = False
        problem: tuple[_Candidate, str] | None = None
        for candidate in self._choices(last.get("mtime_ns"), last.get("unfinished")):
            try:
                contents = read_file(candidate.path, root=self.spec.root)
                state = jsontext.load_object(contents.data)
            except Missing:
                continue  # rotated away in this moment
            except Changing:
                self._pending = True
                return Batch(last)
            except (Unreadable, jsontext.BadJson) as error:
                problem = problem or (candidate, str(error))
                continue
            note = trouble.recover(last.get("trouble"), now, kind="warning", what=self._what(candidate))
            batch = self._batch(state, candidate, contents, last, now)
            # At first sight, what was saved later (after a resume), or is still being written, comes next.
            more = batch.more or ("mtime_ns" not in last and len(self._choices(candidate.mtime_ns, None)) > 0)
            return Batch(batch.cursor, batch.observations, batch.status, (note,) if note else (), more)
        return self._troubled(last, *problem, now) if problem else Batch(last)

    def _what(self, candidate: _Candidate) -> str:
        path = candidate.path
        return shown(path.relative_to(self.spec.path) if path.is_relative_to(self.spec.path) else path.name) or _NAME

    def _troubled(self, last: dict[str, Json], candidate: _Candidate, problem: str, now: float) -> Batch:
        """Keep what was read so far, and try again: the file is written in place."""
        name = self._what(candidate)
        episode, note = trouble.worsen(last.get("trouble"), problem, now, kind="warning", what=name)
        self._pending = not episode["noted"]
        return Batch(last | {"trouble": episode}, notes=(note,) if note else ())

    def _batch(
        self, state: dict[str, Any], candidate: _Candidate, contents: Contents, last: dict[str, Json], now: float
    ) -> Batch:
        rows = list(_history(state))
        marks = [_mark(row) for row in rows]
        known = _History.read(last.get("history"))
        first = known.common(marks)
        end = min(len(rows), first + MAX_ROWS)
        reached: dict[str, Json] = {"mtime_ns": candidate.mtime_ns, "trouble": None, "at": last.get("at")}
        reached["unfinished"] = shown(candidate.path) if end < len(rows) else None
        if first == len(rows) and first <= known.count:
            # An older checkpoint, or one that says nothing new: what is known stays known.
            status = self._status(state, rows, contents, now, seen=bool(last)) if first == known.count else None
            return Batch(last | reached, status=status)
        newest = min(contents.mtime, now)
        start = last.get("at")
        if start is None:
            start = oldest_evidence(candidate.path if self.spec.path.is_file() else self._top(), newest)
        live = "history" in last and last.get("unfinished") is None
        observations = self._dated(rows[first:end], (rows[first], rows[-1]), (start, newest), live=live)
        if observations:
            reached["at"] = observations[-1].at
        reached["history"] = _History.of(marks[:end]).data()
        status = self._status(state, rows, contents, now, seen=bool(last)) if end == len(rows) else None
        return Batch(reached, tuple(observations), status, more=end < len(rows))

    def _dated(
        self,
        rows: list[dict[str, Any]],
        ends: tuple[dict[str, Any], dict[str, Any]],
        span: tuple[float, float],
        *,
        live: bool,
    ) -> list[Observation]:
        """Spread the rows over the time since the last save, by their steps; the last one ends it."""
        low, high = (whole(row.get("step")) or 0 for row in ends)
        observations: list[Observation] = []
        for record in rows:
            row = self._rows.read(record)
            if row.step is None or is_summary(record) or not (row.values or row.nulls):
                continue
            share = (row.step - low) / (high - low) if high > low else 1.0
            at = between(span[0], span[1], share)
            observations += row.observations(self.spec, at, timed=live and record is ends[1])
        return observations

    def _status(
        self, state: Mapping[str, Any], rows: list[dict[str, Any]], contents: Contents, now: float, *, seen: bool
    ) -> StatusReport:
        over = bool(rows) and is_summary(rows[-1])
        row: Row = RowReader().read({key: state.get(key) for key in ("global_step", "max_steps", "epoch")})
        return StatusReport(
            at=min(contents.mtime, now),
            state=RunState.COMPLETED if over else None,
            word="finished" if over else "",
            step=row.step,
            total_steps=whole(row.values.get("total_steps")) or None,
            epoch=row.values.get("epoch"),
            timed=seen,
        )

    def _choices(self, consumed: int | None, unfinished: str | None) -> list[_Candidate]:
        """Return the states to read next, the best first; the others stand in if it cannot be read.

        At first sight the one of the highest step has the most to tell. Later it is what was saved last; where several
        were saved at about the same time (or copied), again the highest step.
        """
        found = []
        for path in self._paths(None):
            try:
                mtime = path.stat().st_mtime_ns
            except OSError:
                continue
            match = _CHECKPOINT.fullmatch(path.parent.name)
            found.append(_Candidate(path, int(match[1]) if match else 10**16, mtime))
        if unfinished is not None and (same := [each for each in found if shown(each.path) == unfinished]):
            return same
        if consumed is not None:
            found = [each for each in found if each.mtime_ns > consumed]
            latest = max((each.mtime_ns for each in found), default=0)
            found = [each for each in found if each.mtime_ns >= latest - int(_SETTLED * 1e9)]
        return sorted(found, key=lambda each: (each.step, each.mtime_ns), reverse=True)

    def _top(self) -> Path:
        return self.spec.path / _NAME

    def _paths(self, newest: int | None) -> Iterator[Path]:
        """Yield the states' paths: at the top and in the checkpoints with the highest numbers (None: in all)."""
        if _CHECKPOINT.fullmatch(self.spec.path.name) or self.spec.path.suffix == ".json":
            yield self.spec.path if self.spec.path.suffix == ".json" else self.spec.path / _NAME
            return
        for folder in (self.spec.path, self.spec.path / "current_model"):
            yield folder / _NAME
            steps = self._steps(folder)
            for step in steps if newest is None else steps[-newest:]:
                yield folder / f"checkpoint-{step}" / _NAME

    def _steps(self, folder: Path) -> list[int]:
        """List the checkpoints of a folder, again only when the folder has changed since two looks ago.

        One look is not enough: an entry made in the same tick of the file system's clock leaves the mtime as it was.
        """
        key = stat_key(folder)
        known = self._listed.get(folder)
        if known is not None and known[0] == key and known[1]:
            return known[2]
        steps: list[int] = []
        try:
            with os.scandir(folder) as entries:
                matches = (_CHECKPOINT.fullmatch(entry.name) for entry in itertools.islice(entries, 10_000))
                steps = sorted(int(match[1]) for match in matches if match and str(int(match[1])) == match[1])
        except OSError:
            pass
        self._listed[folder] = (key, known is not None and known[0] == key, steps)
        return steps


def _history(state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    rows = state.get("log_history")
    return (row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else iter(())


def _mark(row: Mapping[str, Any]) -> int:
    """Return a fingerprint of a row: a resumed run repeats the steps, hardly ever the digits."""
    return zlib.crc32(repr((row.get("step"), row.get("loss"), row.get("eval_loss"), len(row))).encode())


def recognises(record: Mapping[str, Any]) -> bool:
    """Whether a whole file that holds this object is a trainer's state."""
    return isinstance(record.get("log_history"), list)
