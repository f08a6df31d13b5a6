"""Hugging Face `trainer_state.json`: the whole history, written again at each save into a new checkpoint folder.

It is written in place, so it may be half there; it holds no timestamps; and after a resume from an older checkpoint
it tells another story from that point on. A long run's is tens of megabytes: one read takes a slice of it.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon.records import Batch, Json, Observation, RunState, StatusReport
from smartmon.sources import trouble
from smartmon.sources.account import Account
from smartmon.sources.base import SourceSpec, shown, stat_key
from smartmon.sources.dating import between, oldest_evidence
from smartmon.sources.jsontext import BadJson
from smartmon.sources.marks import Marks
from smartmon.sources.numbers import whole
from smartmon.sources.rows import Row, RowReader, is_summary
from smartmon.sources.safe_read import Changing, Missing, Unreadable, opened, read_at
from smartmon.sources.statescan import ARRAY, Scan, identity
from smartmon.text import size as in_bytes

LIMIT = 1 << 30
"""The longest state that is read: some millions of rows."""
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})")
_NAME = "trainer_state.json"
_SETTLED = 60.0
"""Seconds within which mtimes say nothing about the order of saves (a copied folder): there the step decides."""
_NEWEST = 32
"""Checkpoints that `stamp` looks at."""
_HISTORY = re.compile(rb'"%s"\s*:\s*\[' % ARRAY.encode())
_BROKEN = 8
"""Versions that are remembered as broken."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: Path
    step: int
    """Of the folder's name; beyond every folder for the file at the top, which is saved last."""
    mtime_ns: int


class TrainerState:
    """Reads the newest state of a run's folder (or one file, for a replay)."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self._rows = RowReader()
        self._account = Account("Hugging Face")
        self._looks = itertools.count()
        self._pending = False
        self._listed: dict[Path, tuple[tuple[int, ...], bool, list[int]]] = {}

    @property
    def account(self) -> Account:
        """What was taken and what was left out so far."""
        return self._rows.accounted(self._account)

    def stamp(self) -> tuple[object, ...]:
        """A `stat` of the folder, of the file at the top, and of the newest checkpoints' files."""
        keys = [stat_key(path) for path in self._paths(_NEWEST)]
        return (stat_key(self.spec.path), *keys, next(self._looks) if self._pending else None)

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return the rows that the newest state adds to those consumed, or those from where it tells another story.

        A slice of the file is read at most: there may be nothing to tell yet, and more to read.
        """
        last = dict(cursor or {})
        self._pending = False
        problem: tuple[_Candidate, str] | None = None
        for candidate in self._choices(last.get("mtime_ns"), last.get("unfinished")):
            try:
                return self._read(candidate, last, now)
            except Missing:
                continue  # rotated away in this moment
            except Changing:
                self._pending = True
                return Batch(last)
            except (Unreadable, BadJson) as error:
                problem = problem or (candidate, str(error))
                continue
        return self._troubled(last, *problem, now) if problem else Batch(last)

    def _read(self, candidate: _Candidate, last: dict[str, Json], now: float) -> Batch:
        known = Marks.read(last.get("history"))
        with opened(candidate.path, self.spec.root) as (descriptor, found):
            key = identity(found)
            broken = last.get("broken") or {}
            self._refuse(descriptor, broken.get(shown(candidate.path)), key)
            try:
                scan = Scan.read(last.get("scan"), key) or Scan.begin(descriptor, key, known, last)
                if not scan.walk.whole:
                    scan.go(descriptor, known)
                if not scan.walk.whole:
                    return Batch(last | {"unfinished": shown(candidate.path), "scan": scan.data()}, more=True)
                batch = self._batch(descriptor, scan, candidate, (known, last), now)
            except BadJson as problem:
                # Not to be looked through again and again, whatever else there is to read.
                last["broken"] = dict([*broken.items()][1 - _BROKEN :]) | {shown(candidate.path): [key, str(problem)]}
                raise
            if identity(os.fstat(descriptor)) != key:
                raise Changing("was being written")
        note = trouble.recover(last.get("trouble"), now, kind="warning", what=self._what(candidate))
        # What was saved in the meantime, or was left for later at first sight (after a resume), comes next.
        more = batch.more or bool(self._choices(candidate.mtime_ns, None))
        return Batch(batch.cursor, batch.observations, batch.status, (note,) if note else (), more)

    @staticmethod
    def _refuse(descriptor: int, broken: Json, key: list[int]) -> None:
        """Raise for what need not be looked through: known to be broken, too long, or without its end yet."""
        if broken and broken[0] == key:
            raise BadJson(broken[1])
        size = key[2]
        if size > LIMIT:
            raise Unreadable(f"is {in_bytes(size)} long; at most {in_bytes(LIMIT)} is read")
        end = read_at(descriptor, max(0, size - 64), 64).rstrip(b" \t\r\n")
        if not end.endswith(b"}"):
            raise BadJson("is not valid JSON (it breaks off)" if end else "is empty")

    def _what(self, candidate: _Candidate) -> str:
        path = candidate.path
        return shown(path.relative_to(self.spec.path) if path.is_relative_to(self.spec.path) else path.name) or _NAME

    def _troubled(self, last: dict[str, Json], candidate: _Candidate, problem: str, now: float) -> Batch:
        """Keep what was read so far, and try again: the file is written in place."""
        name = self._what(candidate)
        episode, note = trouble.worsen(last.get("trouble"), problem, now, kind="warning", what=name)
        self._pending = not episode["noted"]
        reached = {"trouble": episode, "scan": None, "unfinished": None}
        # What was read in part and broke then no longer stands before the others.
        return Batch(last | reached, notes=(note,) if note else (), more=bool(last.get("unfinished")))

    def _batch(
        self, descriptor: int, scan: Scan, candidate: _Candidate, before: tuple[Marks, dict[str, Json]], now: float
    ) -> Batch:
        known, last = before
        mtime = candidate.mtime_ns / 1e9
        reached: dict[str, Json] = {"mtime_ns": candidate.mtime_ns, "trouble": None, "at": last.get("at")}
        reached |= {"unfinished": None, "scan": None, "broken": last.get("broken")}
        if scan.finished:
            # An older checkpoint, or one that says nothing new: what is known stays known.
            if scan.done < known.count:
                return Batch(last | reached)
            reached["consumed"] = scan.consumed(descriptor)
            return Batch(last | reached, status=self._status(scan, mtime, now))
        newest = min(mtime, now)
        start = last.get("at")
        if start is None:
            start = oldest_evidence(candidate.path if self.spec.path.is_file() else self._top(), newest)
        live = "history" in last and scan.done == scan.comparison.agreed
        marks = known.cut(scan.done)
        rows = list(scan.take(descriptor, marks))
        if not rows:
            raise BadJson("is another file than a moment ago, with the same size and time")
        observations = self._dated(rows, scan.last_step, (start, newest), live=live and scan.finished)
        if observations:
            reached["at"] = observations[-1].at
        self._account.rows += len(observations)
        reached["history"] = marks.data()
        if not scan.finished:
            reached |= {"unfinished": shown(candidate.path), "scan": scan.data()}
            return Batch(reached, tuple(observations), more=True)
        reached["consumed"] = scan.consumed(descriptor)
        return Batch(reached, tuple(observations), self._status(scan, mtime, now))

    def _dated(
        self, rows: list[dict[str, Any]], high: int, span: tuple[float, float], *, live: bool
    ) -> list[Observation]:
        """Spread the rows over the time since the last save, by their steps up to `high`; the last one ends it."""
        low = whole(rows[0].get("step")) or 0 if rows else 0
        observations: list[Observation] = []
        kept: list[Row] = []
        for record in rows:
            row = self._rows.read(record)
            if row.step is None or is_summary(record) or not (row.values or row.nulls):
                what = "rows without a step" if row.step is None else "the summary of the run, or a row without values"
                self._account.ignore(what, str(record))
                continue
            share = (row.step - low) / (high - low) if high > low else 1.0
            at = between(span[0], span[1], share)
            observations += row.observations(self.spec, at, timed=live and record is rows[-1])
            kept.append(row)
        self._rows.kept(kept)
        return observations

    def _status(self, scan: Scan, mtime: float, now: float) -> StatusReport:
        top = {key: scan.walk.top.get(key) for key in ("global_step", "max_steps", "epoch")}
        row: Row = RowReader().read(top)
        return StatusReport(
            at=min(mtime, now),
            state=RunState.COMPLETED if scan.summary else None,
            word="finished" if scan.summary else "",
            step=row.step,
            total_steps=whole(row.values.get("total_steps")) or None,
            epoch=row.values.get("epoch"),
            timed=scan.seen,
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


def recognises(head: bytes, path: Path) -> str:  # noqa: ARG001 - every format is asked in the same way
    """Return why the beginning of a file is that of a trainer's state, or nothing."""
    match = _HISTORY.search(head) if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" else None
    return "it holds a log_history, as Hugging Face's trainer_state.json does" if match else ""
