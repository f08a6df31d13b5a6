"""What a printed log tells about the end of a run: tracebacks, errors, kills. Each becomes a note, told once."""

from __future__ import annotations

import re

from smartmon.records import Note, Severity
from smartmon.sources.rows import storable
from smartmon.sources.text_dialects.base import State
from smartmon.text import clean

_TRACEBACK = "Traceback (most recent call last):"
_ERROR = re.compile(
    r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit|Failure|OutOfMemory|Timeout|NotFound))(?::\s?(.*))?"
)
_DOTTED = re.compile(r"((?:[a-z_]\w*\.)+[A-Z]\w*)(?::\s?(.*))?")
_ALONE = re.compile(r"(?:\[?\w{0,20}\]?: ?)?(\w[\w.]*(?:Error|Exception)): (.+)")
_KILLED = re.compile(
    r"Killed|.{0,80}: line \d+: +\d+ (?:Killed|Segmentation fault|Aborted|Bus error|Terminated)\b.*"
    r"|(?:Segmentation fault|Aborted|Bus error|Floating point exception)(?: \(core dumped\))?"
    r"|slurmstepd: error: .{0,200}(?:oom|OOM|CANCELLED|killed).*"
)
_KILLS = ("Killed", "Segmentation fault", "Aborted", "Bus error", "Terminated", "Floating point", "slurmstepd")
_LONGEST = 8000
_MOST_LINES = 400
_TOLD = 16


class Failures:
    """Follows tracebacks over lines and reads. The same error told by every rank is one note."""

    def __init__(self, state: State | None) -> None:
        self.state: State = {} if state is None else state
        self.notes: list[Note] = []

    def line(self, text: str, offset: int) -> bool:
        """Take one line; return whether it told of a failure."""
        begun = text.find(_TRACEBACK)
        if begun >= 0:
            self._close()
            self.state |= {"prefix": text[:begun][-100:], "lines": [_TRACEBACK], "offset": offset}
            return True
        if self.state.get("lines"):
            return self._continue(text, offset)
        if any(word in text for word in _KILLS) and _KILLED.fullmatch(text):
            self._tell(text, "", offset, [])
            return True
        if "Error: " in text[:120] or "Exception: " in text[:120]:
            found = _ALONE.fullmatch(text)
            if found is not None:
                self._tell(found[1], found[2], offset, [])
                return True
        return False

    def moved_on(self) -> None:
        """Take note that the run logged again: a traceback without an end was none that ended it."""
        self._close()

    def restarted(self) -> None:
        """Tell the same errors again: it is another attempt."""
        self.state["told"] = []

    def _continue(self, text: str, offset: int) -> bool:
        prefix, lines = str(self.state.get("prefix") or ""), self.state["lines"]
        text = text.removeprefix(prefix) if prefix else text
        found = _ERROR.fullmatch(text) or _DOTTED.fullmatch(text)
        lines.append(text[:300])
        if found is not None:
            self._tell(found[1], found[2] or "", offset, lines)
            self.state["lines"] = []
        elif len(lines) > _MOST_LINES:
            self._close()
        elif sum(map(len, lines)) > _LONGEST:
            del lines[1:3]  # the innermost calls, which come last, say most
        return True

    def _close(self) -> None:
        lines = self.state.get("lines")
        if lines:
            self._tell("a traceback", "", int(self.state.get("offset") or 0), lines)
            self.state["lines"] = []

    def _tell(self, kind: str, text: str, offset: int, lines: list[str]) -> None:
        told = self.state.setdefault("told", [])
        same = re.sub(r"\d+", "#", f"{kind}: {text}")[:200]
        if same in told:
            return
        self.state["told"] = [*told, same][-_TOLD:]
        first = clean(text.strip()[:300])
        what = f"{clean(kind[:200])}: {first}" if first else clean(kind[:200])
        asked = kind.endswith("KeyboardInterrupt")
        data = {
            "error_type": storable(kind, 200),
            "error_message": storable(text, 2000),
            "offset": offset,
            "traceback": storable("\n".join(lines), _LONGEST) if lines else None,
        }
        severity = Severity.INFO if asked else Severity.WARNING
        self.notes.append(Note("warning", f"the trainer printed {what}", severity, data))
