"""Logging: one line per thing that happened, to standard error and to a file per day.

The file keeps the two greppable words of smartmon's ancestor: `ALERT` on a line for each anomaly, and
`Monitoring: Step N` statistics. Everything written passes the redactor and the control-character filter first.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import IO, Any

import structlog

from smartmon import text

EventDict = MutableMapping[str, Any]
Processor = Callable[[Any, str, EventDict], Any]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FILE_PREFIX = "smart_monitor_"

_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""The journal's `<N>` prefixes (syslog priorities)."""


class DailyFile:
    """Appends lines to `smart_monitor_YYYYMMDD.log` in a folder, one file per local day; keeps the newest `keep`.

    A full disk or a folder that vanished loses log lines, never the daemon: the failure is told once on standard error.
    """

    def __init__(self, folder: Path, keep: int = 30) -> None:
        self.folder = folder
        self._keep = keep
        self._day = ""
        self._file: IO[str] | None = None
        self._failed = False

    def write(self, line: str, at: float) -> None:
        """Append one line; `at` (seconds since the epoch) picks the day."""
        day = time.strftime("%Y%m%d", time.localtime(at))
        try:
            if self._file is None or day != self._day:
                self._turn(day)
            assert self._file is not None
            self._file.write(line + "\n")
            self._file.flush()
            self._failed = False
        except OSError as error:
            self.close()
            if not self._failed:
                self._failed = True
                trouble = f"smartmon: cannot write the log in {text.clean(self.folder)}: {error.strerror}\n"
                with contextlib.suppress(OSError, ValueError):
                    sys.stderr.write(trouble)

    def _turn(self, day: str) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = (self.folder / f"{FILE_PREFIX}{day}.log").open("a", encoding="utf-8", errors="backslashreplace")
        self._day = day
        for old in sorted(self.folder.glob(f"{FILE_PREFIX}????????.log"))[: -self._keep]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file of the day, if one is open."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


class _Sink:
    """Where finished lines go. structlog calls the method named after the level."""

    def __init__(self, stream: IO[str] | None, file: DailyFile | None, *, journal: bool) -> None:
        self._stream = stream
        self._file = file
        self._journal = journal
        self._lock = threading.Lock()

    def _write(self, level: str, line: str) -> None:
        with self._lock:
            if self._stream is not None:
                prefix = f"<{_PRIORITY[level]}>" if self._journal else ""
                # A closed standard error must not end the watch.
                with contextlib.suppress(OSError, ValueError):
                    self._stream.write(prefix + line + "\n")
                    self._stream.flush()
            if self._file is not None:
                self._file.write(line, time.time())

    def debug(self, line: str) -> None:
        self._write("debug", line)

    def info(self, line: str) -> None:
        self._write("info", line)

    def warning(self, line: str) -> None:
        self._write("warning", line)

    def error(self, line: str) -> None:
        self._write("error", line)

    msg = info
    exception = error
    critical = fatal = error


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    shown = text.clean(value)
    return json.dumps(shown, ensure_ascii=False) if not shown or " " in shown or '"' in shown else shown


def as_text(_logger: object, _method: str, event: EventDict) -> str:
    """Render `2025-11-12 14:30:22 WARNING ALERT loss_spike_40.7pct run=my-run step=17500`."""
    stamp, level, name = event.pop("timestamp"), event.pop("level"), event.pop("event")
    trouble = event.pop("exception", None)
    fields = "".join(f" {key}={_plain(value)}" for key, value in event.items())
    line = f"{stamp} {level.upper():<7} {text.clean(name)}{fields}"
    return line if trouble is None else line + "\n" + "\n".join(text.clean(row) for row in str(trouble).splitlines())


def as_json(_logger: object, _method: str, event: EventDict) -> str:
    """Render one JSON object a line, ASCII only."""
    return json.dumps(event, default=str)


def _stamp(zone: bool) -> Processor:
    def stamp(_logger: object, _method: str, event: EventDict) -> EventDict:
        now = time.localtime()
        event["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%S%z" if zone else "%Y-%m-%d %H:%M:%S", now)
        return event

    return stamp


def setup(
    *,
    form: str = "auto",
    level: str = "info",
    folder: Path | None = None,
    redact: Callable[[str], str] | None = None,
    environ: Mapping[str, str] = os.environ,
    stream: IO[str] | None = None,
) -> Callable[[], None]:
    """Send every log line to `stream` (standard error) and, with `folder`, to that folder's daily file.

    `form` is `text`, `json`, or `auto`: JSON with priorities where systemd's journal listens, else text. `redact`
    gets every finished line, so no secret can leave through a field that nobody thought of. Returns what closes the
    file, to be called before the next `setup` and at the end.
    """
    journal = form == "auto" and "JOURNAL_STREAM" in environ
    render = as_json if journal or form == "json" else as_text

    def finish(logger: object, method: str, event: EventDict) -> str:
        line = render(logger, method, event)
        return redact(line) if redact is not None else line

    file = DailyFile(folder) if folder else None
    sink = _Sink(sys.stderr if stream is None else stream, file, journal=journal)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _stamp(zone=render is as_json),
            finish,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    # Libraries speak through the standard logging module; what they say at warning and above joins our lines.
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)
    # What it warns of, events that were lost and folders that went away, is what the periodic scan is for.
    logging.getLogger("watchdog").setLevel(logging.ERROR)
    return file.close if file is not None else lambda: None


class _Bridge(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().warning("library.spoke", library=record.name, message=record.getMessage())
