"""The command as a process: in a group of its own, each output at a pipe, or at a terminal where ours is one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smartmon import text
from smartmon.errors import SmartmonError
from smartmon.exec import terminal

STDOUT, STDERR = 1, 2
_PIPE = 2**20
"""Bytes that a pipe holds where the kernel lets us: the command waits less often."""


class NotFoundError(SmartmonError):
    """There is no such program; shells end with the same code."""

    exit_code = 127


class NotRunnableError(SmartmonError):
    """The program is there and cannot be run; shells end with the same code."""

    exit_code = 126


@dataclass(slots=True)
class Channel:
    """One output of the command, on its way to one of ours."""

    inner: int
    """What we read."""
    outer: int
    """Our standard output or standard error."""
    is_terminal: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was started. Its process group has the number of its process."""

    pid: int
    channels: tuple[Channel, ...]

    def send(self, number: int) -> None:
        """Send a signal to the whole process group; nobody there is no error."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, number)

    def resize(self) -> None:
        """Give its terminals the size of ours, and say so as a terminal does."""
        for channel in self.channels:
            if channel.is_terminal and channel.inner >= 0:
                terminal.copy_size(channel.outer, channel.inner)
        self.send(signal.SIGWINCH)

    def stopped_or_ended(self) -> tuple[str, int] | None:
        """Return `("stopped", signal)` or `("ended", wait status)` where that is news."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return "ended", 0
        if not pid:
            return None
        return ("stopped", os.WSTOPSIG(status)) if os.WIFSTOPPED(status) else ("ended", status)

    def left_behind(self) -> list[int]:
        """Return the processes of its group that are still there; none where the system does not tell."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name in parentheses may hold anything: the fields that matter come after the last one.
                fields = entry.read_text("utf-8", "replace").rpartition(")")[2].split()
                if int(fields[2]) == self.pid and fields[0] not in "ZX":
                    found.append(int(entry.parent.name))
        return sorted(found)


def check(words: Sequence[str]) -> None:
    """Raise NotFoundError or NotRunnableError for what cannot be started, before anything is made for it."""
    if shutil.which(words[0]) is None:
        there = os.path.lexists(words[0]) and "/" in words[0]
        raise _refused(words[0], OSError(errno.EACCES if there else errno.ENOENT, ""))


def start(words: Sequence[str], environ: Mapping[str, str]) -> Command:
    """Start a command. Raises NotFoundError and NotRunnableError, as a shell would."""
    channels, ends = _channels()
    actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in ends.items()]
    defaults = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU]
    try:
        pid = os.posix_spawnp(
            words[0], list(words), dict(environ), file_actions=actions, setpgroup=0, setsigdef=defaults
        )
    except OSError as error:
        for channel in channels:
            os.close(channel.inner)
        raise _refused(words[0], error) from None
    finally:
        for end in set(ends.values()):
            os.close(end)
    return Command(pid, channels)


def _channels() -> tuple[tuple[Channel, ...], dict[int, int]]:
    """Return what we read, and which end of it the command gets as which number.

    Where standard output and standard error are one thing outside, they are one thing inside: the order is kept.
    """
    channels, ends = [], {}
    outer = [STDOUT] if _same(STDOUT, STDERR) else [STDOUT, STDERR]
    for number in outer:
        is_terminal = os.isatty(number)
        inner, end = terminal.open_like(number) if is_terminal else os.pipe()
        if not is_terminal and hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _PIPE)
        channels.append(Channel(inner, number, is_terminal))
        ends[number] = end
    ends.setdefault(STDERR, ends[STDOUT])
    return tuple(channels), ends


def _same(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _refused(program: str, error: OSError) -> SmartmonError:
    name = text.clean(program)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.lexists(program) and "/" in program:
            return NotRunnableError(f"cannot run {name}: it is there, but the interpreter that it names is not")
        where = "it is not on the PATH" if "/" not in program else "there is no such file"
        return NotFoundError(f"cannot run {name}: {where}; check how it is spelled")
    if error.errno == errno.EACCES:
        return NotRunnableError(f"cannot run {name}: it is no program that you may run; try: chmod +x {name}")
    if error.errno == errno.ENOEXEC:
        return NotRunnableError(f"cannot run {name}: it is in no format that runs here; name its interpreter before it")
    return NotRunnableError(f"cannot run {name}: {error.strerror}")
