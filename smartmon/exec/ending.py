"""How a command ended, in the words of a status file: what killed it, and what it printed last."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_TRACEBACK = "Traceback (most recent call last):"
_ERROR = re.compile(r"([A-Za-z_][\w.]*)(?:: (.*))?")
_LINES = 20
_LINE = 300
_MESSAGE = 1000
ANSWER_WITHIN = 900.0
"""Seconds after a signal that asks to end within which an end is the answer to it: saving takes its time."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a command."""

    state: str
    """`completed`, `stopped` or `crashed`."""
    exit_code: int
    """As a shell tells it: 128 + n for signal n."""
    signal: int = 0
    error_type: str = ""
    error_message: str = ""
    last_lines: tuple[str, ...] = ()

    @property
    def signal_name(self) -> str:
        """`SIGKILL`, or nothing."""
        return signal_name(self.signal) if self.signal else ""

    @property
    def told(self) -> str:
        """Say how it ended, in half a sentence."""
        if self.signal:
            return f"was killed by {self.signal_name}"
        return "ended well" if not self.exit_code else f"ended with exit code {self.exit_code}"


def ending(status: int, *, output: bytes, asked: int, kills: str) -> Ending:
    """Return what a wait status means.

    `output`: the last of what was printed; `asked`: the signal that asked it to end shortly before, or 0; `kills`: what
    the OOM killer's counters say.
    """
    code = os.waitstatus_to_exitcode(status)
    number = -code if code < 0 else 0
    shell = 128 + number if number else code
    lines = last_lines(output)
    if code == 0:
        return Ending("stopped" if asked else "completed", 0)
    by_kernel = kills if number in (0, signal.SIGKILL) else ""
    if asked and not by_kernel:
        how = "" if number == asked else f", with {signal_name(number) if number else f'exit code {code}'}"
        message = f"asked to end by {signal_name(asked)}, and did{how}"
        return Ending("stopped", shell, number, "", message, lines)
    kind, message = _cause(number, code, lines, by_kernel)
    return Ending("crashed", shell, number, kind, message[:_MESSAGE], lines)


def _cause(number: int, code: int, lines: tuple[str, ...], kills: str) -> tuple[str, str]:
    """Return the type and the message of an error."""
    printed = f"; it last printed: {lines[-1]}" if lines else ""
    if number:
        name, what = signal_name(number), signal.strsignal(number) or "killed"
        if kills:
            return "OOM", f"killed by {name}; {kills}{printed}"
        by = " by somebody, a job scheduler or the system" if number == signal.SIGKILL else ""
        return name, f"{what}{by}{printed}"
    if kills:
        return "OOM", f"exit code {code}; {kills}{printed}"
    if (found := raised(lines)) is not None:
        kind, said = found
        return kind, f"{said} (exit code {code})" if said else f"exit code {code}"
    return f"exit code {code}", "\n".join(lines[-5:]) if lines else "it printed nothing"


def raised(lines: tuple[str, ...]) -> tuple[str, str] | None:
    """Return type and message of the Python error that the output ends with, if it does."""
    starts = [index for index, line in enumerate(lines) if _TRACEBACK in line]
    inside = starts or any(line.startswith('  File "') for line in lines)
    if not inside:
        return None
    for line in reversed(lines[starts[-1] + 1 :] if starts else lines):
        found = _ERROR.fullmatch(line)
        if found is not None and re.search(r"(?:Error|Exception|Interrupt|Exit|OutOfMemory)$", found[1]):
            return found[1].rpartition(".")[2], found[2] or ""
    return None


def last_lines(output: bytes) -> tuple[str, ...]:
    """Return the last lines that say something, as a person would have seen them: of a bar its last drawing."""
    text = _ANSI.sub("", output.decode("utf-8", "replace"))
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))
    kept = ["".join(c if c.isprintable() else "\ufffd" for c in line)[:_LINE] for line in lines if line.strip()]
    return tuple(kept[-_LINES:])


def signal_name(number: int) -> str:
    """Return `SIGTERM` for 15, and `signal 77` for what has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
