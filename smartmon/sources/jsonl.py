"""Logs with one JSON object a line: training logs, evaluations, expert usage, errors.

A file is read by its name: `eval_log.jsonl` holds evaluations, `expert_usage_log.jsonl` expert counts,
`error_log.jsonl` errors, which become notes; any other holds rows of metrics in whatever keys. The option `keys` maps
keys that nobody could guess to the names they are to have: `{"metrics.train.ce": "loss"}`, where a dot reaches into an
object.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smartmon.records import Batch, Json, Note, Observation, RunState, Severity, StatusReport
from smartmon.sources import jsontext, trouble
from smartmon.sources.account import Account
from smartmon.sources.base import SourceSpec, shown
from smartmon.sources.dating import Clock, between, last_line, oldest_evidence
from smartmon.sources.dialects import dialect
from smartmon.sources.experts import expert_usage
from smartmon.sources.nested import flat, key_map, lifted
from smartmon.sources.numbers import whole
from smartmon.sources.rows import Row, RowReader, bounded, is_point, is_summary, storable
from smartmon.sources.safe_read import Unreadable
from smartmon.sources.tail import Lines, Tail, place_from
from smartmon.text import clean, count

_MAX_NOTES = 100
_ASKED = 50
"""Rows that are asked whose they are."""
_SNIFFED = 20
"""Lines by which a file is known."""
_LOOKED_AT = 500
"""Lines in which something that is measured in training is looked for."""
_TRAINED = re.compile(r"loss|perplexity|ppl|bpb|accuracy|learning_rate|grad_norm")


class _Role(enum.Enum):
    METRICS = enum.auto()
    EVALUATIONS = enum.auto()
    EXPERTS = enum.auto()
    ERRORS = enum.auto()


_ROLES = {
    "eval_log.jsonl": _Role.EVALUATIONS,
    "expert_usage_log.jsonl": _Role.EXPERTS,
    "error_log.jsonl": _Role.ERRORS,
}


@dataclass(slots=True)
class _Reading:
    """What one read has found so far."""

    now: float
    rows: list[tuple[int, Row]] = field(default_factory=list)
    """The rows that measured something, with the offset after each."""
    notes: list[Note] = field(default_factory=list)
    end: Row | None = None
    """The row that says the run is over, while nothing follows it."""
    bad: int = 0
    reason: str = ""
    counts: str | None = None
    """Which key counts steps in this file: `step`, or `epoch` where there is none."""


class JsonLines:
    """Reads one log of JSON objects as it grows."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self._name = shown(spec.id)
        self._role = _ROLES.get(spec.path.name, _Role.METRICS)
        self._tail = Tail(spec.path, spec.root)
        keys = key_map(spec.options.get("keys"))
        self._paths = tuple(keys)
        self._rows = RowReader(evaluations=self._role is _Role.EVALUATIONS, keys=keys)
        self._account = Account()
        self._asked = 0
        self._told_full = False
        self._pending = 0

    @property
    def account(self) -> Account:
        """What was taken and what was left out so far."""
        return self._rows.accounted(self._account)

    def stamp(self) -> tuple[object, ...]:
        """One `stat` call."""
        self._pending += bool(self._pending)
        return (*self._tail.stamp(), self._pending)

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return the rows after the cursor: at most one chunk of the file."""
        last = dict(cursor or {})
        try:
            lines = self._tail.read(place_from(last.get("place")))
        except Unreadable as problem:
            episode, note = trouble.worsen(last.get("trouble"), str(problem), now, kind="warning", what=self._name)
            self._pending = 0 if episode["noted"] else 1
            return Batch(last | {"trouble": episode}, notes=(note,) if note else ())
        self._pending = 0
        reading = _Reading(now, counts=last.get("counts"))
        for end, line in lines.lines:
            self._line(line, end, reading)
        clock = self._clock(reading, lines, last)
        observations, at = self._dated(reading, lines, last, clock)
        self._account.rows += len(reading.rows)
        self._rows.kept(row for _end, row in reading.rows)
        reached = last | {"counts": reading.counts, "at": at, "bad": int(last.get("bad", 0)) + reading.bad}
        notes = [*lines.notes, *self._notes(reading, last, lines.start)]
        if (note := clock.note(self._name)) is not None:
            notes.append(note)
        reached |= {"place": lines.place.data() if lines.place else None, "trouble": None, "clock": clock.data()}
        return Batch(reached, tuple(observations), self._status(reading, clock, at), tuple(notes), lines.more)

    def _line(self, line: bytes, end: int, reading: _Reading) -> None:
        """Add what one line says. Rows without a step (configuration, remarks) say nothing."""
        try:
            record = jsontext.load_object(line.removeprefix(b"\xef\xbb\xbf"))
        except jsontext.BadJson as problem:
            reading.bad += 1
            reading.reason = reading.reason or str(problem)
            self._ignore("lines that are no JSON object", line)
            return
        if self._role is _Role.ERRORS:
            reading.notes.append(_error(record))
            return
        record, row, measured = self._row(record)
        _count(row, reading)
        if row.step is None:
            self._ignore("rows without a step", line)
            return
        if not measured or is_summary(record):
            total = row.values.get("total_steps")
            reading.end = row if is_summary(record) or (total is not None and 0 < total <= row.step) else reading.end
            self._ignore("rows that only count, and the summary of the run", line)
            return
        reading.end = None
        reading.rows.append((end, row))

    def _row(self, record: dict[str, Any]) -> tuple[dict[str, Any], Row, bool]:
        """Return the record, its row, and whether it measured something; from its nested objects if not else."""
        if self._asked < _ASKED:
            self._asked = _ASKED if self._account.dialect else self._asked + 1
            self._account.dialect = self._account.dialect or dialect(record)
        if self._role is _Role.EXPERTS:
            row = self._rows.read({key: value for key, value in record.items() if key != "expert_usage"})
            row.values = expert_usage(record)
            return record, row, is_point(record, row)
        record = lifted(record, self._paths)
        row = self._rows.read(record)
        measured = is_point(record, row)
        # verl keeps its metrics in `data` always; others may keep only details in objects beside them.
        deep = not measured or row.step is None or "data" in record
        if deep and (objects := [key for key, value in record.items() if type(value) is dict]):
            self._rows.opened(objects)
            record = flat(record)
            row = self._rows.read(record)
            measured = is_point(record, row)
        return record, row, measured

    def _ignore(self, what: str, line: bytes) -> None:
        self._account.ignore(what, storable(line[:200].decode("utf-8", "replace"), 200))

    def _clock(self, reading: _Reading, lines: Lines, last: Mapping[str, Json]) -> Clock:
        """Return how far the rows' clock is off, by the last row of the file and the moment at which it was written."""
        clock = Clock.read(last.get("clock"))
        if not reading.rows or reading.rows[-1][1].at is None:
            return clock
        end, row = reading.rows[-1]
        own = row.at if end == lines.lines[-1][0] else None
        if lines.more:
            try:
                own = self._row(jsontext.load_object(last_line(self.spec.path, self.spec.root)))[1].at
            except jsontext.BadJson:
                own = None
        clock.learn(own, lines.mtime, live=lines.start > 0 and last.get("place") is not None)
        return clock

    def _dated(
        self, reading: _Reading, lines: Lines, last: Mapping[str, Json], clock: Clock
    ) -> tuple[list[Observation], float | None]:
        """Give every row its moment: its own, else one between the last known moment and the file's mtime."""
        now, at = reading.now, last.get("at")
        live = at is not None
        newest = min(lines.mtime, now)
        if not live and any(row.at is None for _, row in reading.rows):
            at = oldest_evidence(self.spec.path, newest)
        observations: list[Observation] = []
        begin, start = lines.start, at
        for end, row in reading.rows:
            own = clock.moment(row.at, now)
            if own is not None:
                begin, start = end, own
                observations += row.observations(self.spec, own, timed=True)
                at = own
                continue
            # By bytes and not by steps: a log may hold several attempts, and its end is not read yet.
            at = between(start or newest, newest, (end - begin) / max(1, lines.size - begin))
            newly = live and not lines.more and end == reading.rows[-1][0]
            observations += row.observations(self.spec, at, timed=newly)
        return observations, at

    def _status(self, reading: _Reading, clock: Clock, at: float | None) -> StatusReport | None:
        if reading.end is None:
            return None
        row = reading.end
        return StatusReport(
            at=clock.moment(row.at, reading.now) or at or reading.now,
            state=RunState.COMPLETED,
            word="finished",
            step=row.step,
            total_steps=whole(row.values.get("total_steps")),
            epoch=row.values.get("epoch"),
            timed=row.at is not None,
        )

    def _notes(self, reading: _Reading, last: Mapping[str, Json], start: int) -> list[Note]:
        notes = reading.notes[:_MAX_NOTES]
        if len(reading.notes) > _MAX_NOTES:
            notes.append(Note("warning", f"{self._name} holds {count(len(reading.notes) - _MAX_NOTES)} more errors"))
        before = int(last.get("bad", 0))
        total = before + reading.bad
        # Told at the first and then at each tenfold: a log full of rubbish must not fill the timeline.
        if len(str(total)) > len(str(before)) or (total and not before):
            lines, were = ("one line", "was") if total == 1 else (f"{count(total)} lines", "were")
            message = f"{self._name}: {lines} could not be read and {were} left out; the first after byte {start} "
            notes.append(Note("warning", message + reading.reason, data={"bad_lines": total, "offset": start}))
        if self._rows.full and not self._told_full:
            self._told_full = True
            notes.append(Note("warning", f"{self._name} has too many different metric names; new ones are left out"))
        return notes


def _count(row: Row, reading: _Reading) -> None:
    """Count by epochs in a file whose first countable row has an epoch and no step; never mix the two."""
    if reading.counts == "step":
        return
    epoch = whole(row.values.get("epoch"))
    if reading.counts is None and (row.step is not None or (epoch is not None and len(row.values) > 1)):
        reading.counts = "epoch" if row.step is None else "step"
    if reading.counts == "epoch":
        row.step = epoch


def _error(record: Mapping[str, Any]) -> Note:
    """Return a row of an error log as a note. The traceback goes into its data, never into the message."""
    row = RowReader().read({key: record[key] for key in ("step", "epoch", "timestamp", "datetime") if key in record})
    kind, text = (str(bounded(record.get(key)) or "") for key in ("error_type", "error_message"))
    first = clean(text.strip().split("\n")[0][:300])
    what = f"{clean(kind[:100]) or 'an error'}: {first}" if first else clean(kind[:100]) or "an error"
    where = f" at step {count(row.step)}" if row.step is not None else ""
    data = {
        "error_type": storable(kind, 200),
        "error_message": storable(text, 2000),
        "step": row.step,
        "epoch": row.values.get("epoch"),
        "at": row.at,
        "traceback": bounded(record.get("traceback"), length=8000),
    }
    return Note("warning", f"the trainer logged {what}{where}", Severity.WARNING, data)


def recognises(head: bytes, path: Path) -> str:
    """Return why the beginning of a file is that of a log of JSON objects, or nothing.

    Most of its first lines are such objects, and one of them counts steps or epochs. A single line may be a status
    file just as well: there the name decides.
    """
    lines = [line for line in head.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True) if line.strip()]
    if len(lines) > 1 and not lines[-1].endswith(b"\n"):
        lines.pop()
    lines = lines[:_SNIFFED]
    if not lines or (len(lines) == 1 and path.suffix not in (".jsonl", ".ndjson")):
        return ""
    records = []
    for line in lines:
        try:
            records.append(jsontext.load_object(line))
        except jsontext.BadJson:
            continue
    if 2 * len(records) <= len(lines):
        return ""
    reader = RowReader()
    for record in map(flat, records):
        row = reader.read(record)
        if row.step is not None or "epoch" in row.values:
            whose = next(filter(None, map(dialect, records)), "")
            return "its lines are JSON objects that count steps" + (f", as {whose} writes them" if whose else "")
    return ""


def trains(head: bytes) -> bool:
    """Whether rows that count steps measure what trainers do: traces of agents and many data sets count steps too."""
    reader = RowReader()
    for line in head.removeprefix(b"\xef\xbb\xbf").splitlines()[:_LOOKED_AT]:
        try:
            row = reader.read(flat(jsontext.load_object(line)))
        except jsontext.BadJson:
            continue
        if (row.step is not None or "epoch" in row.values) and any(map(_TRAINED.search, (*row.values, *row.nulls))):
            return True
    return False
