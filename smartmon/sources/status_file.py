"""The status file: one small JSON object that a trainer replaces at every step. It tells the last value only."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smartmon.records import Batch, Json, Observation, RunState, StatusReport
from smartmon.sources import jsontext, trouble
from smartmon.sources.account import Account
from smartmon.sources.aliases import TEXTS, known_keys, run_state
from smartmon.sources.base import SourceSpec, shown, stat_key
from smartmon.sources.dating import plausible
from smartmon.sources.numbers import whole
from smartmon.sources.rows import Row, RowReader, bounded, storable
from smartmon.sources.safe_read import Changing, Contents, Missing, Unreadable, read_file

KIND = "status_unreadable"
_NAMES = ("training_status.json", "training_detail.json")
_OWN = re.compile("current_step|step|global_step|status")
_LINES = (".jsonl", ".ndjson")
"""Endings of logs, whose first row may be the only one as yet."""
_SIGNS = re.compile(rb'"(current_step|step|global_step|status)"\s*:')
_EXTRAS = 64
_TOLD = frozenset({"status", "state", "error_type", "error_message", "error", "model_name"})
"""Texts that have a place of their own in a report."""
_OF_A_SAMPLE = frozenset(
    {"sample_idx", "samples", "row", "matches", "total", "accuracy", "golden_loss", "golden_accuracy"}
    | {"seconds", "share", "looks", "skipped"}
)
"""Numbers of the one sample that a detail file shows, and of the look at it: the next sample has others."""
_EVAL_STEP = "eval_step"
"""The step that the values of an evaluation are of, where a status tells it."""
_OF_THE_PROCESS = frozenset({_EVAL_STEP, "pid", "attempt", "checkpoint_step", "checkpoint_bytes", "checkpoint_seconds"})
"""Numbers that tell which process wrote, or how it saved: none of them measures the training."""
_PLACEHOLDERS = ("loss", "eval_loss", "perplexity", "eval_perplexity")
_LATE = 600.0
"""Seconds by which a status may tell an earlier moment than the one at which it was seen to be written."""
_ZONES = 86400.0
"""Seconds past which no time zone explains it."""
_RACY = 0.05
"""Seconds within which a second write may leave the same mtime, size and inode behind."""


class StatusFile:
    """Reads a status or detail file. With the option `state: false` it is taken for metrics and samples only."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self._rows = RowReader()
        self._account = Account("smartmon")
        self._looks = itertools.count()
        self._pending = False
        """Whether the next look must read again even if the file does not seem to have changed."""

    @property
    def account(self) -> Account:
        """What was taken and what was left out so far."""
        return self._rows.accounted(self._account)

    def stamp(self) -> tuple[object, ...]:
        """One `stat` call."""
        return (*stat_key(self.spec.path), next(self._looks) if self._pending else None)

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return the status if it is another than at the cursor; a half-written one waits."""
        last = dict(cursor or {})
        self._pending = False
        try:
            contents = read_file(self.spec.path, root=self.spec.root)
        except Missing:
            return Batch(last)
        except Changing:
            self._pending = True
            return Batch(last)
        except Unreadable as problem:
            return self._troubled(last, str(problem), now)
        self._pending = abs(now - contents.mtime) < _RACY
        digest = hashlib.sha256(contents.data).hexdigest()[:32]
        try:
            record = jsontext.load_object(contents.data) if digest != last.get("digest") else None
        except jsontext.BadJson as problem:
            return self._troubled(last, str(problem), now)
        note = trouble.recover(last.get("trouble"), now, kind=KIND, what=shown(self.spec.id))
        notes = (note,) if note else ()
        reached: dict[str, Json] = {"digest": digest, "mtime": contents.mtime}
        if record is None:
            return Batch(last | reached | {"trouble": None}, notes=notes)
        row = self._rows.read(self._metrics_of(record))
        report = self._report(record, row, contents, now, seen="digest" in last)
        return Batch(reached, self._observations(record, row, report), report, notes)

    def _metrics_of(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leave out what is told of the process, and of a sample: its accuracy is not the run's."""
        if not _OF_THE_PROCESS.isdisjoint(record):
            record = {key: value for key, value in record.items() if key not in _OF_THE_PROCESS}
        if not {"golden", "predicted"} <= record.keys():
            return record
        if own := sorted(_OF_A_SAMPLE & record.keys()):
            self._account.ignore("numbers of one sample, not of the run", ", ".join(own))
        return {key: value for key, value in record.items() if key not in _OF_A_SAMPLE}

    def _troubled(self, last: dict[str, Json], problem: str, now: float) -> Batch:
        episode, note = trouble.worsen(last.get("trouble"), problem, now, kind=KIND, what=shown(self.spec.id))
        self._pending = not episode["noted"]
        return Batch(last | {"trouble": episode}, notes=(note,) if note else ())

    def _report(
        self, record: Mapping[str, Any], row: Row, contents: Contents, now: float, *, seen: bool
    ) -> StatusReport:
        at = plausible(row.at, now)
        timed, written = at is not None or seen, min(contents.mtime, now)
        if at is not None and at < written - _LATE:
            # A late clock or another time zone, or a file that was copied: known once it changes under our eyes.
            timed = seen or at < written - _ZONES
            at = written if seen else at
        if at is None:
            # The moment of writing, unless that clock makes no sense here.
            at = written
        speaks = self.spec.options.get("state", True) is not False
        word = record.get("status", record.get("state")) if speaks else None
        return StatusReport(
            at=at,
            state=run_state(word),
            word=_text(word, 64),
            step=row.step,
            total_steps=whole(row.values.get("total_steps")),
            epoch=row.values.get("epoch"),
            error_type=_text(record.get("error_type"), 200),
            error_message=_text(record.get("error_message", record.get("error")), 2000),
            model_name=_text(record.get("model_name"), 500),
            extras=_extras(record),
            raw=contents.data if speaks else b"",
            timed=timed,
        )

    def _observations(self, record: Mapping[str, Any], row: Row, report: StatusReport) -> tuple[Observation, ...]:
        if row.step is None:
            self._account.ignore("a status without a step")
            return ()
        if row.step == 0:
            if not (row.values or row.nulls):
                return ()
            if report.state is RunState.PENDING:
                return ()
            # Trainers write zeros before they have anything to say; as a loss it would be the best ever.
            row.values = {k: v for k, v in row.values.items() if v != 0.0 or k not in _PLACEHOLDERS}
        if whole(record.get(_EVAL_STEP)) not in (None, row.step):
            # They were logged at their own step, by whoever writes such a status.
            row.values = {k: v for k, v in row.values.items() if not k.startswith("eval_")}
        self._rows.kept((row,))
        self._account.rows += 1
        return tuple(row.observations(self.spec, report.at, report.timed))


def _text(value: object, limit: int) -> str:
    return storable(value, limit) if isinstance(value, str) else ""


def _extras(record: Mapping[str, Any]) -> dict[str, Json]:
    """Keep what is no metric: sample fields under their usual names first, then texts, flags and nested values."""
    extras = {name: bounded(record[key]) for key, name in TEXTS.items() if record.get(key) is not None}
    told = known_keys() | _TOLD | TEXTS.keys()
    for key, value in record.items():
        if len(extras) >= _EXTRAS:
            break
        if isinstance(value, str | bool | list | dict) and key not in told:
            extras.setdefault(storable(key, 200), bounded(value))
    return extras


def recognises(head: bytes, path: Path) -> str:
    """Return why a file is a status file, or nothing: one JSON object with a step or a status, and no history in it."""
    try:
        record = jsontext.load_object(head)
    except jsontext.BadJson:
        if path.name not in _NAMES or not _SIGNS.search(head):
            return ""
        return "it is named as a status file, and holds a status or a step"
    own = [key for key in record if _OWN.fullmatch(key)]
    others = path.suffix in _LINES or "log_history" in record or any(isinstance(record[key], list) for key in own)
    return f"it is one JSON object that holds a {own[0]}" if own and not others else ""
