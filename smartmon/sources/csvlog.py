"""CSV logs: Lightning's `metrics.csv`, `progress.csv`, YOLO's `results.csv`, DeepSpeed's files, any with a header.

An empty cell is absent, not null. Lightning writes the whole file anew when a column appears: the rows that were taken
already are then passed over. What is YOLO's loss is said at `csv_layout.layout_of`.

Gets wrong: a run that was started again over the same file, for as long as its rows equal those of the run before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from smartmon.records import Batch, Json, Note, Severity
from smartmon.sources import trouble
from smartmon.sources.account import Account
from smartmon.sources.base import SourceSpec, shown
from smartmon.sources.csv_layout import GENERIC, Layout, layout_of, split, unclosed
from smartmon.sources.csv_seen import Seen
from smartmon.sources.nested import key_map
from smartmon.sources.rows import Row, is_point
from smartmon.sources.safe_read import Unreadable
from smartmon.sources.tail import Lines, Tail, place_from
from smartmon.sources.text_dating import dated
from smartmon.sources.text_dialects.base import Written
from smartmon.text import count

SETTLED = 5.0
"""Seconds after which a file that was written anew with fewer rows than before is taken to have become shorter."""
_QUOTED = 1 << 16
"""Characters of a row whose quoted cell spans lines; a longer one is left out."""
_LOOKED_AT = 20
_TELLING = re.compile(
    r"loss|accuracy|learning_rate|grad_norm|perplexity|reward|mAP|\br$|return|score|error", re.IGNORECASE
)
"""What at least one column of a log of training is called; a table of anything may have a step."""
_UNNAMED = 100
"""Lines without a header from which a person is told."""


@dataclass(slots=True)
class _Reading:
    """What one read has found so far, and where it stands between lines."""

    header: str = ""
    quoted: str = ""
    """The beginning of a row whose quoted cell goes on in the next line."""
    seen: Seen = field(default_factory=Seen)
    again: Seen | None = None
    """The rows of a file that was written anew, while they are compared with those taken before."""
    skip: int = 0
    """Rows at the beginning of such a file that are known to be the same."""
    stranger: int = 0
    """Whether the last row had other cells than the header: how many if more, -1 if fewer."""
    counts: str | None = None
    """Which column counts: `step`, or `epoch` where there is none."""
    unnamed: int = 0
    """Lines before any header."""
    rows: list[tuple[int, Row, Written | None]] = field(default_factory=list)
    differs: bool = False
    """Whether the file tells another story than before."""


class CsvLog:
    """Reads one table as it grows."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self._keys = key_map(spec.options.get("keys"))
        self.account = Account("CSV")
        self._name = shown(spec.id)
        self._tail = Tail(spec.path, spec.root, blank=b" \r\n\0")
        self._layout: Layout | None = None
        self._pending = 0

    def stamp(self) -> tuple[object, ...]:
        """One `stat` call."""
        self._pending += bool(self._pending)
        return (*self._tail.stamp(), self._pending)

    def read(self, cursor: Mapping[str, Json] | None, now: float) -> Batch:
        """Return the rows after the cursor: at most one chunk of the file."""
        last = dict(cursor or {})
        place = place_from(last.get("place"))
        try:
            lines = self._tail.read(place)
        except Unreadable as problem:
            episode, note = trouble.worsen(last.get("trouble"), str(problem), now, kind="warning", what=self._name)
            self._pending = 0 if episode["noted"] else 1
            return Batch(last | {"trouble": episode}, notes=(note,) if note else ())
        reading = self._resumed(last)
        since = last.get("since")
        if place is not None and place.offset and lines.start < place.offset:
            reading.header, reading.quoted, reading.skip, reading.again, since = "", "", 0, Seen(), now
        for end, line in lines.lines:
            self._line(line, end, reading)
            if reading.differs:
                return self._begin_anew(reading, last, lines)
        since = self._compared(reading, lines, since, now)
        self._pending = 1 if reading.again is not None else 0
        rows, reading.rows = reading.rows, []
        observations, at = dated(rows, lines, self.spec, now=now, at=last.get("at"), shift=0.0)
        self.account.rows += len(rows)
        reached = self._reached(reading) | {"at": at, "since": since, "told": last.get("told", False)}
        notes = [note for note in lines.notes if note.kind != "source_truncated"]
        if reading.unnamed >= _UNNAMED and not reached["told"]:
            reached["told"] = True
            message = f"{self._name} has no header that names a step or an epoch beside a metric; nothing in it is read"
            notes.append(Note("warning", message, Severity.WARNING, {"path": self._name}))
        reached |= {"place": lines.place.data() if lines.place else None}
        return Batch(reached, tuple(observations), notes=tuple(notes), more=lines.more)

    def _resumed(self, last: Mapping[str, Json]) -> _Reading:
        again = last.get("again")
        return _Reading(
            header=last.get("header") or "",
            quoted=last.get("quoted") or "",
            seen=Seen.read(last.get("seen")),
            again=Seen.read(again) if again else None,
            skip=int(last.get("skip") or 0),
            stranger=int(last.get("stranger") or 0),
            counts=last.get("counts"),
            unnamed=int(last.get("unnamed") or 0),
        )

    def _reached(self, reading: _Reading) -> dict[str, Json]:
        return {
            "header": reading.header,
            "quoted": reading.quoted,
            "seen": reading.seen.data(),
            "again": reading.again.data() if reading.again is not None else None,
            "skip": reading.skip,
            "stranger": reading.stranger,
            "counts": reading.counts,
            "unnamed": reading.unnamed,
            "trouble": None,
        }

    def _begin_anew(self, reading: _Reading, last: Mapping[str, Json], lines: Lines) -> Batch:
        """The file was written anew with other rows: read it from its start, but for those that are the same."""
        assert reading.again is not None
        common = reading.again.common(reading.seen)
        fresh = _Reading(seen=common, skip=common.count, counts=reading.counts if common.count else None)
        name = shown(self.spec.path.name)
        message = f"{name} was written anew; reading it from "
        message += f"its row {count(common.count + 1)}" if common.count else "its start"
        note = Note("source_truncated", message, data={"path": name, "rows": common.count, "size": lines.size})
        reached = self._reached(fresh) | {"at": last.get("at"), "since": None, "told": False, "place": None}
        return Batch(reached, notes=(note,), more=True)

    def _compared(self, reading: _Reading, lines: Lines, since: float | None, now: float) -> float | None:
        """End the comparison of a file that stays shorter than it was: what it holds is all that there is."""
        if reading.again is None:
            return None
        begun = now if since is None else min(since, now)
        if not lines.more and now - begun >= SETTLED:
            reading.seen, reading.again = reading.again, None
            return None
        return begun

    def _line(self, line: bytes, end: int, reading: _Reading) -> None:
        text = line.decode("utf-8", "replace").removeprefix("\ufeff")
        if '"' in text or reading.quoted:
            whole = self._whole(text, reading)
            if whole is None:
                return
            text = whole
        layout = self._of(reading)
        if layout is None or text.startswith("#"):
            self._before(text, layout, reading)
            return
        cells = split(text, layout.delimiter)
        width = len(layout.names)
        if cells[0].strip() == layout.names[0] and layout.is_header(cells):
            return
        if len(cells) == width:
            reading.stranger = 0
        elif self._other_header(text, cells, reading) or not self._fits(cells, width, reading, text):
            return
        row = layout.row(cells, careful="_" in text)
        if row.step is None and not row.values and self._other_header(text, cells, reading):
            return
        if self._is_known(layout.mark(cells), reading):
            return
        if row.step is None or reading.counts != "step":
            _count(row, layout.whole(cells, layout.epoch), reading)
        if row.step is None:
            self.account.ignore("rows without a step", text)
        elif not is_point({}, row):
            self.account.ignore("rows without a metric", text)
        else:
            reading.rows.append((end, row, None))

    def _whole(self, text: str, reading: _Reading) -> str | None:
        """Put a row together whose quoted cell spans lines; None while it is not whole."""
        joined = f"{reading.quoted}\n{text}" if reading.quoted else text
        delimiter = self._layout.delimiter if self._layout is not None else ","
        if not unclosed(joined, delimiter):
            reading.quoted = ""
            return joined.replace("\n", " ")
        if len(joined) <= _QUOTED:
            reading.quoted = joined
            return None
        self.account.ignore("rows with a quotation mark that is never closed", reading.quoted)
        reading.quoted = ""
        return text

    def _of(self, reading: _Reading) -> Layout | None:
        """Return the layout of the header that the reading stands under."""
        if not reading.header:
            return None
        if self._layout is None or self._layout.text != reading.header:
            self._layout = layout_of(reading.header, self.spec.path, self.account, self._keys)
        return self._layout

    def _before(self, text: str, layout: Layout | None, reading: _Reading) -> None:
        """Take a line that is no row: a comment, or what may be the header."""
        found = layout_of(text, self.spec.path, self.account, self._keys) if layout is None else None
        if found is not None:
            self._layout, reading.header = found, found.text
            self.account.dialect = found.dialect
        elif text.startswith("#"):
            self.account.ignore("comments", text)
        else:
            reading.unnamed += 1
            self.account.ignore("lines before a header that names a step or an epoch", text)

    def _other_header(self, text: str, cells: list[str], reading: _Reading) -> bool:
        """Take a second header within a file: a trainer that was started again with other columns."""
        found = layout_of(text, self.spec.path, self.account, self._keys) if not cells[-1][:1].isdigit() else None
        if found is None:
            return False
        self._layout, reading.header = found, found.text
        return True

    def _fits(self, cells: list[str], width: int, reading: _Reading, text: str) -> bool:
        """Whether a row of another length is still of this header.

        It is a stranger (cut off, or one of two kinds of row that a trainer writes into one file), unless one of its
        kind came directly before it: then columns were added at the end, or empty cells are not written there.
        """
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        if len(cells) == width:
            reading.stranger = 0
            return True
        kind = len(cells) if len(cells) > width else -1
        before, reading.stranger = reading.stranger, kind
        if before != kind:
            self.account.ignore("rows with more or fewer cells than the header", text)
            return False
        cells[:] = [*cells[:width], *[""] * (width - len(cells))]
        return True

    @staticmethod
    def _is_known(marked: bytes, reading: _Reading) -> bool:
        """Whether a row was taken before; notes it if not."""
        if reading.skip:
            reading.skip -= 1
            return True
        if reading.again is None:
            reading.seen.add(marked)
            return False
        reading.again.add(marked)
        if reading.again.differs(reading.seen):
            reading.differs = True
        elif reading.again.count == reading.seen.count:
            reading.again = None
        return True


def _count(row: Row, epoch: int | None, reading: _Reading) -> None:
    """Count by epochs in a file whose first countable row has an epoch and no step; never mix the two."""
    if reading.counts == "step":
        return
    if reading.counts is None and (row.step is not None or epoch is not None):
        reading.counts = "epoch" if row.step is None else "step"
    if reading.counts == "epoch":
        row.step = epoch


def recognises(head: bytes, path: Path) -> str:
    """Say which header shows a file to be a CSV log; nothing if none does."""
    lines = [line for line in head.decode("utf-8", "replace").removeprefix("\ufeff").splitlines() if line.strip()]
    layout, rows = None, []
    for number, line in enumerate(lines[:_LOOKED_AT]):
        layout = layout_of(line, path)
        if layout is not None or not line.startswith("#"):
            rows = lines[number + 1 : number + 1 + _LOOKED_AT]
            break
    if layout is None or (rows and not any(_counts(layout, row) for row in rows)):
        return ""
    telling = [named.name for _, named in layout.columns if _TELLING.search(named.name)]
    if not telling and not layout.single:
        return ""
    index = layout.step if layout.step is not None else layout.epoch
    assert index is not None  # a layout without either is none
    metric = min(telling, key=lambda name: (name != "loss", "loss" not in name), default=layout.names[1])
    whose = f", as {layout.dialect.partition(' (')[0]} writes it" if layout.dialect != GENERIC else ""
    return f"its header names {layout.names[index]} and {metric}{whose}"


def _counts(layout: Layout, line: str) -> bool:
    cells = split(line, layout.delimiter)
    if len(cells) != len(layout.names):
        return False
    row = layout.row(cells, careful=True)
    return bool(row.values) and (row.step is not None or layout.whole(cells, layout.epoch) is not None)
