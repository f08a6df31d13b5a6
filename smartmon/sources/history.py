"""Histories that are written again whole each time: `metrics_history.json` and `text_samples.json`.

Rows (a list of objects) or columns (an object of lists), each with its step. Only what is new is told. Samples
(`input`, `output`) are no metrics: the newest of them become the samples of a status report.
"""

from __future__ import annotations

import heapq
import itertools
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon.records import Batch, Json, Observation, StatusReport
from smartmon.sources import jsontext, trouble
from smartmon.sources.account import Account
from smartmon.sources.aliases import Kind, alias
from smartmon.sources.base import MAX_ROWS, SourceSpec, shown, stat_key
from smartmon.sources.dating import Clock, between, oldest_evidence
from smartmon.sources.marks import Comparison, Marks
from smartmon.sources.numbers import whole
from smartmon.sources.rows import Row, RowReader, bounded
from smartmon.sources.safe_read import Changing, Contents, Missing, Unreadable, read_file

_WRAPPERS = ("metrics_history", "text_samples", "metrics", "history", "samples", "data", "rows")
_STEPS = re.compile(r"(.*?)_?(?:steps?|iters?|iterations?)")
_EXAMPLE = {"input": "prompt", "output": "model_output", "expected": "golden", "accuracy": "accuracy"}
"""Field of a sample -> what the status file calls it in its `recent_examples`."""
_EXAMPLES = 5
NAMES = ("metrics_history.json", "text_samples.json")
_MAX_SERIES = 16
_RACY = 0.05
"""Seconds within which a second write may leave the same mtime, size and inode behind."""
_KEYS = re.compile(rb'"([^"\\]{1,64})"\s*:\s*([\[{])?')

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _New:
    """A row that was not told yet."""

    step: int
    series: str
    index: int
    record: Record


class History:
    """Reads a history as it is rewritten. It is parsed whole: a long one (16 MB at most) costs tenths of a second."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self._rows = RowReader()
        self._account = Account("smartmon" if spec.path.name in NAMES else "")
        self._looks = itertools.count()
        self._pending = False

    @property
    def account(self) -> Account:
        """What was taken and what was left out so far."""
        return self._rows.accounted(self._account)

    def stamp(self) -> tuple[object, ...]:
        """One `stat` call."""
        return (*stat_key(self.spec.path), next(self._looks) if self._pending else None)

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return the rows that the history holds beyond the cursor; a half-written one waits."""
        last = dict(cursor or {})
        self._pending = False
        try:
            contents = read_file(self.spec.path, root=self.spec.root)
            value = jsontext.loads(contents.data)
        except Missing:
            return Batch(last)
        except Changing:
            self._pending = True
            return Batch(last)
        except (Unreadable, jsontext.BadJson) as problem:
            name = shown(self.spec.id)
            episode, note = trouble.worsen(last.get("trouble"), str(problem), now, kind="warning", what=name)
            self._pending = not episode["noted"]
            return Batch(last | {"trouble": episode}, notes=(note,) if note else ())
        self._pending = abs(now - contents.mtime) < _RACY
        return self._batch(series_of(value), contents, last, now)

    def _batch(
        self, series: dict[str, Sequence[Record]], contents: Contents, last: dict[str, Json], now: float
    ) -> Batch:
        seen = isinstance(last.get("series"), dict)
        before: dict[str, Json] = last["series"] if seen else {}
        marks = {name: [_mark(record) for record in records] for name, records in series.items()}
        known = {name: _consumed(Marks.read(before.get(name)), marks[name]) for name in series}
        fresh = [_fresh(name, records, known[name].count) for name, records in series.items()]
        # Training and evaluation may lie in columns of their own: told in the order of the steps.
        taken = list(itertools.islice(heapq.merge(*fresh, key=lambda new: new.step), MAX_ROWS))
        for new in taken:
            known[new.series].add(marks[new.series][new.index])
        more = len(taken) < sum(map(len, fresh))
        rows = [(new, self._rows.read(new.record)) for new in taken]
        clock = Clock.read(last.get("clock"))
        if rows and not more:
            clock.learn(rows[-1][1].at, contents.mtime, live=seen)
        observations, report = self._told(rows, clock, contents, last, now)
        reached = last | {"clock": clock.data(), "trouble": None}
        # A series that is away in this version is known for its return.
        kept = before | {name: marks.data() for name, marks in known.items()}
        reached["series"] = dict(list(kept.items())[-_MAX_SERIES:])
        reached["at"] = observations[-1].at if observations else last.get("at")
        name = shown(self.spec.id)
        told = (trouble.recover(last.get("trouble"), now, kind="warning", what=name), clock.note(name))
        reached["clock"] = clock.data()
        return Batch(reached, tuple(observations), report, tuple(note for note in told if note is not None), more)

    def _told(
        self, rows: list[tuple[_New, Row]], clock: Clock, contents: Contents, last: Mapping[str, Json], now: float
    ) -> tuple[list[Observation], StatusReport | None]:
        """Return the new rows as observations, or the new samples as a report."""
        seen, newest = "series" in last, min(contents.mtime, now)
        start = last.get("at")
        if start is None:
            start = oldest_evidence(self.spec.path, newest)
        steps = [new.step for new, _row in rows]
        low, high = (min(steps), max(steps)) if steps else (0, 0)
        observations: list[Observation] = []
        samples: list[Record] = []
        report: StatusReport | None = None
        for new, row in rows:
            share = (new.step - low) / (high - low) if high > low else 1.0
            own = clock.moment(row.at, now)
            at = between(start, newest, share) if own is None else own
            if _is_sample(new.record):
                samples.append(new.record)
                report = StatusReport(at, step=row.step, extras=_extras(samples), timed=own is not None or seen)
                continue
            if row.step is None or not (row.values or row.nulls):
                self._account.ignore("rows without a step or without a value", str(new.record)[:200])
                continue
            timed = own is not None or (seen and new is rows[-1][0])
            observations += row.observations(self.spec, at, timed)
        self._rows.kept(row for _new, row in rows)
        self._account.rows += len(observations) + len(samples)
        return observations, report


def series_of(value: Json) -> dict[str, Sequence[Record]]:
    """Return the rows of each series of a history: one for a list, one for each step column of an object of lists."""
    for _ in range(2):
        inner = next((value[key] for key in _WRAPPERS if key in value), None) if isinstance(value, dict) else None
        if isinstance(inner, dict) or (isinstance(inner, list) and any(isinstance(item, dict) for item in inner)):
            value = inner
    if isinstance(value, list):
        return {"rows": [row for row in value if isinstance(row, dict)]}
    columns = {key: each for key, each in value.items() if isinstance(each, list)} if isinstance(value, dict) else {}
    counters = sorted(filter(_counts, columns), key=len)[:_MAX_SERIES]
    found: dict[str, dict[str, list[Any]]] = {counter: {"step": columns[counter]} for counter in counters}
    for key, column in columns.items():
        if key not in counters and (counter := _counter(key, columns, counters)) is not None:
            found[counter][key] = column
    return {
        counter: [dict(zip(own, cells)) for cells in zip(*own.values())]
        for counter, own in found.items()
        if len(own) > 1
    }


def _counter(key: str, columns: Mapping[str, list[Any]], counters: Sequence[str]) -> str | None:
    """Return the step column of a column: one of its length, `val_steps` for `val_loss` if there are several."""
    same = [counter for counter in counters if len(columns[counter]) == len(columns[key])]
    return next((each for each in same if key.startswith(_first_name(each) or "\0")), next(iter(same), None))


def _counts(key: str) -> bool:
    known = alias(key)
    return known.kind is Kind.STEP if known is not None else _STEPS.fullmatch(key.lower()) is not None


def _first_name(counter: str) -> str:
    match = _STEPS.fullmatch(counter.lower())
    return match[1] if match else ""


def _step(record: Record) -> int:
    step = whole(record.get("step"))
    if step is None:
        step = next((found for key in record if _counts(key) and (found := whole(record[key])) is not None), 0)
    return step


def _fresh(name: str, records: Sequence[Record], first: int) -> list[_New]:
    return [_New(_step(records[at]), name, at, records[at]) for at in range(first, len(records))]


def _mark(record: Record) -> int:
    """Return a fingerprint of a row; a column that appears later does not make it another."""
    told = [record.get(key) for key in ("step", "loss", "eval_loss", "accuracy", "output", "timestamp")]
    return zlib.crc32(repr(told).encode("utf-8", "backslashreplace"))


def _consumed(known: Marks, marks: list[int]) -> Marks:
    """Return what of this version is consumed: its beginning up to where it becomes another story."""
    comparison = Comparison()
    for one in marks:
        comparison.add(one, known)
        if comparison.parted:
            break
    if comparison.agreed == known.count or not comparison.parted:
        return known  # longer than before, or shorter and nothing new
    # A history of bounded length forgets its first rows at each write: go on after the last row that was told.
    if known.recent and known.recent[-1] in marks:
        moved = Marks()
        for one in marks[: len(marks) - marks[::-1].index(known.recent[-1])]:
            moved.add(one)
        return moved
    return known.cut(comparison.agreed)


def _is_sample(record: Record) -> bool:
    return any(isinstance(record.get(key), str) for key in ("input", "output"))


def _extras(samples: Sequence[Record]) -> dict[str, Json]:
    """Return the newest sample in the words of the status file, and the last few as its examples."""
    newest = samples[-1]
    found = {"current_prompt": newest.get("input"), "model_answer": newest.get("output")}
    found["golden_answer"] = newest.get("expected")
    examples = [
        {"step": _step(each)} | {name: each[key] for key, name in _EXAMPLE.items() if key in each}
        for each in samples[-_EXAMPLES:]
    ]
    extras = {name: bounded(value) for name, value in found.items() if value is not None}
    return extras | {"recent_examples": bounded(examples)}


def recognises(head: bytes, path: Path) -> str:
    """Return why the beginning of a file is that of a history, or nothing.

    It is a list of objects that count steps, or an object with a list of steps; a known name is asked for less.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    keys = [(match[1].decode("utf-8", "replace"), match[2]) for match in itertools.islice(_KEYS.finditer(text), 200)]
    if text[:1] not in (b"{", b"[") or any(key == "log_history" for key, _opening in keys):
        return ""
    if text[:1] == b"[" and text[1:].lstrip()[:1] == b"{":
        counted = any(_counts(key) and opening is None for key, opening in keys)
        return "it is a list of objects that count steps, as metrics_history.json is" if counted else ""
    lists = [key for key, opening in keys if opening == b"["]
    if any(map(_counts, lists)) and len(lists) > 1:
        return "it is an object of columns with the steps in one, as metrics_history.json is"
    if path.name in NAMES and text[:1] == b"{":
        return "it is named as a history, and holds an object"
    return ""
