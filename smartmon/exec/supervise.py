"""The one loop of `exec`: passes on what the command prints, passes in what it is sent, and waits for its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

from smartmon.exec.command import Channel, Command
from smartmon.exec.outlet import PIPE_ROOM, TERMINAL_ROOM, Outlet, to_descriptor
from smartmon.exec.outputlog import OutputLog
from smartmon.exec.signals import ASK_TO_END, Signals
from smartmon.exec.terminal import Terminal

READ = 64 * 1024
KEPT = 16 * 1024
"""Bytes of the last output that are remembered, to say how it ended."""
FIRST_BEAT, BEAT_EVERY = 3.0, 30.0
LEFT_BEHIND = 2.0
"""Seconds that output is awaited for after the command's end, while a process that it left behind holds its pipe."""
_IDLE = 0.2
"""Seconds without output after which nothing more is expected from one that was left behind."""
_FULL = 0.25
"""Seconds between two looks at an output that does not take what it is given."""


class Supervisor:
    """One running command. `run` returns its wait status."""

    def __init__(
        self,
        command: Command,
        log: OutputLog,
        signals: Signals,
        terminal: Terminal,
        *,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`beat` is called after 3 seconds and then every 30, and must be quick."""
        self._command = command
        self._signals = signals
        self._terminal = terminal
        self._beat = beat
        self._log = Outlet(log.write, wake=signals.wake)
        self._outlets = {channel.outer: _outlet(channel, signals) for channel in command.channels}
        self._open = {channel.inner: channel for channel in command.channels}
        self._status: int | None = None
        self._ended_at = 0.0
        self._last_output = time.monotonic()
        self._tstp_passed_on = False
        self._hurry = False
        """Whether somebody asked us to end while a reader outside is behind."""
        self.output = b""
        """The last of what was printed."""
        self.printed = 0
        """Bytes in all."""
        self.asked = 0
        """The signal that asked the command to end, and when."""
        self.asked_at = 0.0
        self.hung_up = False
        """Whether the terminal was closed, and the command left running."""
        self.unread: tuple[Channel, ...] = ()
        """Outputs that processes which were left behind still hold."""

    def run(self) -> int:
        """Attend to the command until it has ended and its output is read."""
        next_beat = time.monotonic() + FIRST_BEAT
        while not self._done():
            poll = select.poll()
            poll.register(self._signals.ear, select.POLLIN)
            waiting = [inner for inner, channel in self._open.items() if self._takes(channel)]
            for inner in waiting:
                poll.register(inner, select.POLLIN)
            held_up = len(waiting) < len(self._open)
            for descriptor, _event in poll.poll(1000 * self._patience(next_beat, held_up)):
                if descriptor != self._signals.ear:
                    self._read(descriptor)
            for number in self._signals.take():
                self._on_signal(number)
            self._look_after()
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + BEAT_EVERY
                self._beat()
        self._terminal.take_back()
        assert self._status is not None
        return self._status

    @property
    def unfinished_line(self) -> bool:
        """Whether the cursor of a terminal stands in a line of the command's."""
        return bool(self.output) and not self.output.endswith((b"\n", b"\r"))

    def flush_log(self, timeout: float = 10.0) -> bool:
        """Wait until all output is in the log."""
        self._log.close()
        return self._log.drained(timeout)

    def drain(self) -> None:
        """Hand on what still waits for the readers outside. A stuck terminal, or a signal, ends the patience."""
        for outlet in self._outlets.values():
            outlet.close()
        for channel in self._command.channels:
            outlet = self._outlets[channel.outer]
            while not outlet.drained(_FULL):
                asked = any(number in ASK_TO_END for number in self._signals.take())
                if asked or (channel.is_terminal and outlet.stuck):
                    break

    def troubles(self) -> list[str]:
        """Return what readers outside did not get, in sentences."""
        found = []
        for number, outlet in self._outlets.items():
            name = "standard output" if number == 1 else "standard error"
            if outlet.dropped:
                found.append(f"{outlet.dropped:,} bytes were not shown while the terminal took none; the log has them")
            if outlet.error is not None and not isinstance(outlet.error, BrokenPipeError) and not self.hung_up:
                found.append(f"{name} could not be written: {outlet.error.strerror}; the log has it all")
        return found

    def _done(self) -> bool:
        if self._status is None:
            return False
        if not self._open:
            return True
        now = time.monotonic()
        quiet = now - max(self._last_output, self._ended_at) > _IDLE
        if any(not self._takes(channel) for channel in self._open.values()):
            # A reader that is behind gets the rest, however long it takes; unless somebody does not want to wait.
            over = self._hurry
        else:
            over = quiet or now - self._ended_at > LEFT_BEHIND
        if over:
            self.unread = tuple(self._open.values())
        return over

    def _patience(self, next_beat: float, held_up: bool) -> float:
        patience = max(0.0, next_beat - time.monotonic())
        if self._status is not None:
            patience = min(patience, _IDLE)
        return min(patience, _FULL) if held_up else patience

    def _takes(self, channel: Channel) -> bool:
        return not self._outlets[channel.outer].full() and not self._log.full()

    def _read(self, inner: int) -> None:
        try:
            data = os.read(inner, READ)
        except OSError:
            data = b""  # a terminal that nobody holds any more says so by an error
        if not data:
            os.close(inner)
            channel = self._open.pop(inner)
            channel.inner = -1
            return
        self._last_output = time.monotonic()
        self.printed += len(data)
        self.output = data[-KEPT:] if len(data) >= KEPT else (self.output + data)[-KEPT:]
        self._log.put(data)
        self._outlets[self._open[inner].outer].put(data)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self._command.resize()
        elif number == signal.SIGHUP and self._terminal.gone():
            # Whoever went to bed closed the window: the training goes on, as under nohup.
            self.hung_up = True
        elif self._status is not None:
            self._hurry = self._hurry or number in ASK_TO_END
        elif number != signal.SIGCHLD:
            if number in ASK_TO_END:
                self.asked, self.asked_at = number, time.monotonic()
            self._tstp_passed_on = number == signal.SIGTSTP
            self._command.send(number)
            if number in ASK_TO_END:
                self._command.send(signal.SIGCONT)

    def _look_after(self) -> None:
        """Take note of an end; follow a stop, as a job of the shell does that runs without us."""
        while self._status is None and (news := self._command.stopped_or_ended()) is not None:
            what, number = news
            if what == "ended":
                self._status, self._ended_at = number, time.monotonic()
            elif number in (signal.SIGTTIN, signal.SIGTTOU):
                if not self._terminal.lend(self._command.pid):
                    self._pause()
                self._command.send(signal.SIGCONT)
            elif number == signal.SIGTSTP and (self._tstp_passed_on or self._terminal.lent):
                self._pause()
                self._command.send(signal.SIGCONT)

    def _pause(self) -> None:
        """Stop with the command, and when continued give it the keyboard again if it had it."""
        had = self._terminal.lent
        self._terminal.take_back()
        self._tstp_passed_on = False
        self._signals.stop_ourselves()
        if had:
            self._terminal.lend(self._command.pid)


def leave_to_itself(unread: tuple[Channel, ...], log: OutputLog) -> None:
    """Let a small process of its own go on reading what left-behind processes print, so that they do not die of it.

    It holds none of our files but the log and those outputs: whoever waits for our end of a pipe is not kept waiting.
    """
    if not unread or os.fork():
        return
    try:
        os.setsid()
        empty = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(empty, number)
        inners = {channel.inner for channel in unread}
        _close_all_but(inners | {log.descriptor})
        while inners:
            for inner in select.select(list(inners), [], [])[0]:
                data = b""
                with contextlib.suppress(OSError):
                    data = os.read(inner, READ)
                if data:
                    log.write(data)
                else:
                    inners.discard(inner)
    finally:
        os._exit(0)


def _close_all_but(keep: set[int]) -> None:
    start = 3
    for number in sorted(keep):
        os.closerange(start, number)
        start = number + 1
    os.closerange(start, 65536)


def _outlet(channel: Channel, signals: Signals) -> Outlet:
    room = TERMINAL_ROOM if channel.is_terminal else PIPE_ROOM
    return Outlet(to_descriptor(channel.outer), room=room, lossy=channel.is_terminal, wake=signals.wake)
