"""Logs as trainers print them: which dialect a file is in is told from its lines and remembered in the cursor.

Carriage returns end a line as newlines do: a progress bar is a line for each time it was drawn. What this gets wrong:
two runs that print into one file at once are read as one whose step goes back and forth.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from smartmon.linepattern import check_pattern
from smartmon.records import Batch, Json, Note, RunState, Severity, StatusReport
from smartmon.sources import trouble
from smartmon.sources.account import Account
from smartmon.sources.aliases import alias
from smartmon.sources.base import MAX_ROWS, SourceSpec, shown
from smartmon.sources.nested import key_map
from smartmon.sources.numbers import whole
from smartmon.sources.rows import Row, RowReader, is_summary
from smartmon.sources.safe_read import Unreadable
from smartmon.sources.tail import Lines, Tail, place_from
from smartmon.sources.text_dating import dated, zone_shift
from smartmon.sources.text_dialects import DIALECTS, told_by
from smartmon.sources.text_dialects.bars import Keras, Tqdm
from smartmon.sources.text_dialects.base import Dialect, Logged, Written, written
from smartmon.sources.text_dialects.generic import Generic
from smartmon.sources.text_dialects.hugging_face import HuggingFace
from smartmon.sources.text_dialects.pattern import Pattern, TooSlow
from smartmon.sources.text_failures import Failures

_LONGEST = 16384
"""Characters of a line that are looked at."""
_BAR = 400
"""Characters of a line that may be nothing but a progress bar."""
_LINES = MAX_ROWS - 1000
"""Lines of one read: dicts that waited for their step come on top, and an accuracy may double a row."""
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_PROVEN = 3
"""Lines of a dialect after which it takes as many of another, in a row, to change it."""
_WAIT = 60.0
"""Seconds after which records no longer wait for a bar that tells their step."""
_ENOUGH = 20
"""Lines after which a dialect is certain."""
_CODE = (".py", ".pyi", ".ipynb", ".js", ".ts", ".c", ".cc", ".cpp", ".cu", ".h", ".rs", ".go", ".java", ".sh")
_OTHERS = frozenset((*_CODE, ".md", ".rst", ".html", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".toml"))
"""Kinds of file that may quote a log and are none."""
_MAX_NOTES = 100
_UNCOUNTABLE = (ValueError, ArithmeticError)
"""What `int` raises for more digits than Python converts, and for what is too large for a float, or is none."""


@dataclass(slots=True)
class _Reading:
    """What one read has found so far."""

    rows: list[tuple[int, Row, Written | None]] = field(default_factory=list)
    end: tuple[Row, Written | None] | None = None
    """The summary that says the run is over, while no row follows it."""
    last: Written | None = None
    slow: bool = False


class TextLog:
    """Reads one printed log as it grows."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self.account = Account()
        self._name = shown(spec.id)
        self._patterns = _patterns(spec)
        self._tail = Tail(spec.path, spec.root, max_lines=_LINES, returns=True)
        self._rows = RowReader(keys=key_map(spec.options.get("keys")))
        self._told_full = False
        self._pending = 0

    def stamp(self) -> tuple[object, ...]:
        """One `stat` call."""
        self._pending += bool(self._pending)
        return (*self._tail.stamp(), self._pending)

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return the rows after the cursor: at most one chunk of the file."""
        last = dict(cursor or {})
        if last.get("slow") and last["slow"] == self._patterns:
            return Batch(last)
        try:
            lines = self._tail.read(place_from(last.get("place")))
        except Unreadable as problem:
            episode, note = trouble.worsen(last.get("trouble"), str(problem), now, kind="warning", what=self._name)
            self._pending = 0 if episode["noted"] else 1
            return Batch(last | {"trouble": episode}, notes=(note,) if note else ())
        if any(note.kind == "source_truncated" for note in lines.notes):
            last = {key: last[key] for key in ("at",) if key in last}
        failures = Failures(dict(last.get("failure") or {}))
        reading, state = self._read(lines, last, failures, now)
        if reading.slow:
            return Batch(last | {"slow": self._patterns}, notes=tuple(self._notes(reading, failures)))
        shift = last.get("shift") or 0.0
        if lines.lines and not lines.more:
            shift = zone_shift(reading.last, lines.mtime)
        observations, at = dated(reading.rows, lines, self.spec, now=now, at=last.get("at"), shift=shift)
        place = lines.place.data() if lines.place else None
        reached = last | state | {"failure": failures.state, "shift": shift, "at": at, "place": place, "trouble": None}
        notes = (*lines.notes, *self._notes(reading, failures))
        status = self._status(reading, at, now)
        return Batch(reached, tuple(observations), status, notes, lines.more)

    def _read(
        self, lines: Lines, last: Mapping[str, Json], failures: Failures, now: float
    ) -> tuple[_Reading, dict[str, Json]]:
        """Return what these lines say, and what must be remembered of them."""
        reading, speaker = _Reading(), _Speaker(last, self._patterns)
        for end, line in lines.lines:
            text = line[:_LONGEST].decode("utf-8", "replace")
            if "\x1b" in text:
                text = _ANSI.sub("", text)
            try:
                found = speaker.line(text, end)
            except TooSlow:
                reading.slow = True
                break
            except _UNCOUNTABLE:
                self.account.ignore("lines with a number that nobody counts to", text)
                continue
            for logged in found:
                self._add(logged, reading, failures, speaker)
            if not found and not failures.line(text, end) and not speaker.waits:
                drawn = "%|" in text and len(text) < _BAR
                self.account.ignore("drawings of progress bars" if drawn else "lines without metrics", text)
        if lines.lines:
            reading.last = written(lines.lines[-1][1][:200].decode("utf-8", "replace"))
        since = (last.get("since") or now) if speaker.waits else None
        idle = not lines.more and now - lines.mtime > _WAIT
        if since is not None and (now - since > _WAIT or idle):
            for logged in speaker.dialect.flush():
                self._add(logged, reading, failures, speaker)
            since = None
        self._pending = 1 if since is not None else 0
        self.account.dialect = speaker.name or self.account.dialect
        return reading, speaker.data() | {"since": since, "slow": None}

    def _add(self, logged: Logged, reading: _Reading, failures: Failures, speaker: _Speaker) -> None:
        row = self._rows.read(logged.record)
        if row.step is None:
            self.account.ignore("rows without a step", str(logged.record))
            return
        if is_summary(logged.record):
            reading.end = (row, logged.written)
            return
        failures.moved_on()
        if row.step < speaker.step:
            failures.restarted()
        speaker.step = row.step
        reading.end = None
        reading.rows.append((logged.end, row, logged.written))
        self.account.rows += 1
        for key in logged.record:
            if key not in self.account.metrics:
                known = alias(key)
                self.account.took(key, known.name if known else key)

    def _status(self, reading: _Reading, at: float | None, now: float) -> StatusReport | None:
        if reading.end is None:
            return None
        row, when = reading.end
        epoch = row.values.get("epoch")
        moment = when.at if when and when.at <= now else at or now
        total = whole(row.values.get("total_steps"))
        return StatusReport(moment, RunState.COMPLETED, "finished", row.step, total, epoch, timed=when is not None)

    def _notes(self, reading: _Reading, failures: Failures) -> list[Note]:
        notes = failures.notes[:_MAX_NOTES]
        if reading.slow:
            message = f"{self._name} is no longer read: its pattern takes too long on some lines; simplify the pattern"
            notes.append(Note("warning", message, Severity.WARNING, {"pattern": self._patterns}))
        if self._rows.full and not self._told_full:
            self._told_full = True
            notes.append(Note("warning", f"{self._name} has too many different metric names; new ones are left out"))
        return notes


class _Speaker:
    """The dialect of a file, as far as its lines have told, and the change to another.

    Until the first line that measures something, the lines go to the Hugging Face reader: its bars come before.
    """

    def __init__(self, last: Mapping[str, Json], patterns: list[str]) -> None:
        self._key = "pattern" if patterns else str(last.get("dialect") or "")
        self._hits, self._rival, self._rivals = int(last.get("hits") or 0), str(last.get("rival") or ""), 0
        self._rivals = int(last.get("rivals") or 0)
        self.step = int(last.get("step") or 0)
        self._before = str(last.get("before") or "")
        """Keras names the epoch on the line before its first bar."""
        state = dict(last.get("state") or {})
        self.dialect: Dialect = Pattern(state, patterns) if patterns else DIALECTS.get(self._key, HuggingFace)(state)

    @property
    def name(self) -> str:
        """What people call the dialect, empty while nothing has told it."""
        return self.dialect.name if self._key else ""

    @property
    def waits(self) -> bool:
        """Whether records wait for a later line to tell their step."""
        return bool(self.dialect.state.get("held"))

    def line(self, text: str, end: int) -> list[Logged]:
        """Return the records that a line completes, in the dialect that it makes the file's."""
        if self._key == "pattern":
            return self.dialect.line(text, end)
        guess = self._key == Generic.key and self._hits < _PROVEN
        if guess and (told := told_by(text)) not in ("", self._key):
            self._become(told)
        if self._key and (found := self.dialect.line(text, end)):
            self._hits, self._rivals = min(_PROVEN, self._hits + 1), 0
            return found
        told = "" if self._key and self.dialect.says(text) else told_by(text)
        if not told:
            if isinstance(self.dialect, HuggingFace) and not self._key:
                self.dialect.listen(text)
                self._before = text[:80] if Keras.header.match(text) else ""
            return []
        self._rivals = self._rivals + 1 if told == self._rival else 1
        self._rival = told
        if self._key and self._rivals < self._hits:
            return []
        self._become(told)
        return self.dialect.line(text, end)

    def data(self) -> dict[str, Json]:
        """Return it as JSON."""
        return {
            "dialect": self._key,
            "hits": self._hits,
            "rival": self._rival,
            "rivals": self._rivals,
            "state": self.dialect.state,
            "step": self.step,
            "before": self._before,
        }

    def _become(self, key: str) -> None:
        if self._key or key != HuggingFace.key:
            self.dialect = DIALECTS[key]()
        if self._before:
            self.dialect.line(self._before, 0)
        self._key, self._hits, self._rival, self._rivals, self._before = key, 1, "", 0, ""


def recognises(head: bytes, path: Path) -> str:
    """Return why this is a printed log of a trainer (`12 of its lines are as Megatron-LM prints them`), else `""`."""
    if path.suffix.lower() in _OTHERS:
        return ""
    whole = head[: max(head.rfind(b"\n"), head.rfind(b"\r")) + 1] or head
    lines = [line for line in _ANSI.sub("", whole.decode("utf-8", "replace")).splitlines() if line.strip(" \t\0")]
    if 2 * sum(line.lstrip()[:1] in ("{", "<") for line in lines[:200]) > len(lines[:200]):
        return ""  # JSON Lines, or a page
    hits: Counter[str] = Counter()
    steps: dict[str, set[object]] = {}
    speakers: dict[str, Dialect] = {}
    for line in lines:
        text = line[:_LONGEST].strip(" \t\0")
        with contextlib.suppress(*_UNCOUNTABLE):
            if not (key := told_by(text)):
                continue
            speaker = speakers.setdefault(key, DIALECTS[key]())
            found = [logged.record.get("step") for logged in [*speaker.line(text, 0), *speaker.flush()]]
            hits[key] += bool(found)
            steps.setdefault(key, set()).update(found)
            if hits[key] >= _ENOUGH:
                break
    for key, count in hits.most_common(1):
        doubtful = key in (Generic.key, Tqdm.key)
        if count >= (3 if doubtful else 1) and (not doubtful or len(steps[key]) > 1):
            least = "at least " if count >= _ENOUGH else ""
            return f"{least}{count} of its lines are {_in_words(key)}"
    return ""


def _in_words(key: str) -> str:
    return DIALECTS[key].name if key in (Generic.key, Tqdm.key) else f"as {DIALECTS[key].name} prints them"


def _patterns(spec: SourceSpec) -> list[str]:
    given = spec.options.get("pattern") or []
    return [check_pattern(str(text)) for text in ([given] if isinstance(given, str) else given)]
