"""`exec` from beginning to end: a folder for the run, a daemon to watch it, the command, and what became of it.

What it cannot do: an `exec` that is itself killed by SIGKILL leaves the command at a closed pipe, as any `| tee` would.
The next one of that name says so; the daemon stays, and tells that the run no longer moves.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime

from smartmon import text
from smartmon.errors import SmartmonError, SourceError
from smartmon.exec import command, memory
from smartmon.exec.ending import ANSWER_WITHIN, Ending, ending
from smartmon.exec.guard import Guard
from smartmon.exec.instrument import environment
from smartmon.exec.outputlog import OutputLog
from smartmon.exec.runfolder import RunFolder
from smartmon.exec.signals import ASK_TO_END, Signals
from smartmon.exec.supervise import Supervisor, leave_to_itself
from smartmon.exec.terminal import Terminal


class Run:
    """One command under watch, in a folder that is held. Main thread only: it takes the signals."""

    def __init__(self, folder: RunFolder, guard: Guard | None) -> None:
        """`guard` sees to the daemon; None: files only. Raises SourceError where the log cannot be written."""
        self._folder = folder
        self._guard = guard
        self._signals = Signals()
        try:
            self._log = OutputLog(folder.log)
        except OSError as error:
            raise SourceError(
                f"cannot write {text.clean(folder.log)}: {error.strerror}; choose another --base-dir or --run-dir"
            ) from None
        self._supervisor: Supervisor | None = None

    def run(self, words: Sequence[str], *, instrument: bool | None = None, detail_steps: int = 0) -> Ending:
        """Run the command to its end and return that.

        Raises NotFoundError and NotRunnableError where it cannot be started, SourceError where the status cannot be
        written.
        """
        folder = self._folder
        self._signals.take_over()
        kills = memory.kills()
        if folder.attempt > 1:
            self._log.separate(f"attempt {folder.attempt}, {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}")
        folder.begin(words)
        given = environment(os.environ, folder.path, folder.attempt, instrument=instrument, detail_steps=detail_steps)
        try:
            started = command.start(words, given)
        except SmartmonError as error:
            folder.end(Ending("crashed", error.exit_code, error_type="NotStarted", error_message=str(error)))
            raise
        folder.beat(pid=started.pid)
        supervisor = self._supervisor = Supervisor(started, self._log, self._signals, Terminal(), beat=self._beat)
        self._open()
        status = supervisor.run()
        if not supervisor.flush_log():
            self._say(f"the disk of {text.clean(folder.log)} does not answer; the end of the log may be missing")
        asked = supervisor.asked if time.monotonic() - supervisor.asked_at < ANSWER_WITHIN else 0
        killed = memory.told(kills, memory.kills(), machine=os.WIFSIGNALED(status))
        end = ending(status, output=supervisor.output, asked=asked, kills=killed)
        self._close(end, folder.end(end).get("status") == "crashed", started)
        return end

    def _open(self) -> None:
        folder = self._folder
        which = f" (attempt {folder.attempt})" if folder.attempt > 1 else ""
        watch = "no daemon watches it"
        if self._guard is not None:
            try:
                watch = self._guard.begin()
            except SmartmonError as error:
                watch = f"NOT watched: {error}"
        self._say(f"run {text.clean(folder.path.name)}{which} in {_short(str(folder.path))}; {watch}")
        if folder.unfinished:
            self._say("nobody saw the end of the attempt before this one: its smartmon exec was killed")

    def _beat(self) -> None:
        self._folder.beat()
        if self._guard is not None and (trouble := self._guard.trouble()):
            self._say(trouble)

    def _close(self, end: Ending, crashed: bool, started: command.Command) -> None:
        """Say how it ended, hand on what readers have not taken yet, and let the daemon tell whom it has to."""
        supervisor = self._supervisor
        assert supervisor is not None
        supervisor.drain()
        for trouble in supervisor.troubles():
            self._say(trouble)
        name = text.clean(self._folder.path.name)
        if end.exit_code or crashed:
            self._say(f"{name} {end.told}; its output is in {_short(str(self._folder.log))}")
            if end.error_type == "OOM":
                self._say(f"out of memory: {end.error_message}")
        left = started.left_behind()
        if left:
            pids = ", ".join(map(str, left[:5])) + (", ..." if len(left) > 5 else "")
            self._say(f"{name} left {len(left)} process{'es' if len(left) > 1 else ''} running (pid {pids})")
        leave_to_itself(supervisor.unread, self._log)
        if self._guard is not None:
            self._guard.finish(self._folder.path, self._asked_again, self._say)
        self._log.close()
        self._folder.leave()

    def _asked_again(self) -> bool:
        return any(number in ASK_TO_END for number in self._signals.take())

    def _say(self, message: str) -> None:
        """Say something on standard error, on a line of its own; a closed terminal hears nothing."""
        line = f"smartmon: {message}\n"
        if self._supervisor is not None and sys.stderr.isatty() and self._supervisor.unfinished_line:
            line = f"\n{line}"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line)
            sys.stderr.flush()


def _short(path: str) -> str:
    """Return a path as seen from here, where that is shorter."""
    with contextlib.suppress(OSError, ValueError):
        near = os.path.relpath(path)
        if not near.startswith("..") and len(near) < len(path):
            return text.clean(near)
    return text.clean(path)
