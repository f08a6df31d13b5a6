"""The daemon that watches while a command runs: the one that is there already, or one that `exec` starts and ends.

Several commands in one base dir share the daemon of the first; whoever is last ends it. The kernel's locks tell who
is there, so a killed `exec` leaves no wrong count behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smartmon import text
from smartmon.errors import SmartmonError, StoreError
from smartmon.exec.runfolder import STATUS

if TYPE_CHECKING:
    from smartmon.store import Store

SEEN_WITHIN = 15.0
"""Seconds that the daemon gets to see the end and to deliver what it says of it: more than its scans are apart."""
COPIED_WITHIN = 120.0
"""Seconds that a snapshot under way gets to be finished; the next daemon redoes one that is not."""
SOON = 10.0
"""A delivery that is due later than this waits for a receiver that does not answer."""
DEPTH = 4
"""How many folders deep a daemon looks for runs."""
_SAME = 0.001
_HANDED_OVER = 6.0
_SAY_AFTER = 3.0
_WORDS = {
    "end": "the daemon to see the end",
    "alerts": "alerts to be delivered",
    "copying": "a snapshot to be finished",
}
_LOOK_EVERY = 0.1


class Guard:
    """The watch over one base dir, as far as `exec` has a part in it."""

    def __init__(self, base_dir: Path, options: Sequence[str], open_store: Callable[[Path], Store]) -> None:
        """`options`: of `smartmon run`, besides the base dir; `open_store` opens a base dir's database to read it."""
        self._base = base_dir
        self._options = options
        self._open_store = open_store
        self._state = base_dir / ".smartmon"
        self._users = -1
        self._daemon: subprocess.Popen[bytes] | None = None
        self._shared = False
        """Whether the daemon is one that an `exec` started."""

    def begin(self) -> str:
        """See to it that a daemon watches, and say which. Raises SmartmonError where none can be started."""
        try:
            if outer := self._outer():
                self._base, self._state = outer, outer / ".smartmon"
            self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._users = os.open(self._state / "exec-users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._join()
            pid = self._watching()
            if pid:
                self._shared = pid == self._started_by_exec()
                where = f"the daemon of {text.clean(outer)}" if outer else "the daemon that is there"
                return f"watched by {where} (pid {pid})"
            return f"watched by a daemon started for it (pid {self._start()})"
        except OSError as error:
            self.leave()
            raise SmartmonError(
                f"cannot start a daemon in {text.clean(self._base)}: {error.strerror}; output is kept all the same"
            ) from None

    def _outer(self) -> Path | None:
        """Return the folder around ours that a daemon watches, near enough to find our run."""
        around = self._base.parents[: DEPTH - 1]
        hidden = next((i for i, folder in enumerate([self._base, *around]) if folder.name.startswith(".")), len(around))
        return next((folder for folder in around[:hidden] if _holder(folder / ".smartmon")), None)

    def trouble(self) -> str:
        """Return why the daemon that we started is no longer there, empty while it is or after it was told once."""
        if self._daemon is None or self._daemon.poll() is None:
            return ""
        code, self._daemon = self._daemon.returncode, None
        if self._watching():
            self._shared = self._watching() == self._started_by_exec()
            return ""  # another one was quicker
        said = b""
        with contextlib.suppress(OSError):
            said = self._log.read_bytes()[-2000:]
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        last = text.clean(lines[-1].removeprefix("smartmon: ")) if lines else f"it ended with {code}"
        return f"nothing watches this run any more: {last}"

    def finish(self, run: Path, gave_up: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Wait until the daemon has seen the end of a run and told whom it had to, then end it if it is ours to end."""
        if not self._shared:
            self.leave()
            return
        begun, told = time.monotonic(), False
        while not gave_up() and self._there():
            waited, left = time.monotonic() - begun, self._left(run)
            if not left or waited > (COPIED_WITHIN if left == "copying" else SEEN_WITHIN):
                break
            if waited > _SAY_AFTER and not told:
                told = True
                say(f"waiting for {_WORDS[left]}; Ctrl-C ends it now")
            time.sleep(_LOOK_EVERY)
        if self._alone():
            self._end()
        self.leave()

    def leave(self) -> None:
        """Take no more part in it."""
        if self._users >= 0:
            os.close(self._users)
            self._users = -1

    @property
    def _log(self) -> Path:
        return self._state / "exec-daemon.log"

    def _join(self) -> None:
        """Be one of those that use the daemon; whoever is just ending it is waited for."""
        deadline = time.monotonic() + _HANDED_OVER
        while True:
            try:
                fcntl.flock(self._users, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return
                time.sleep(_LOOK_EVERY)

    def _alone(self) -> bool:
        """Whether no other `exec` uses the daemon; from then on none does until we have left."""
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _start(self) -> int:
        words = [sys.executable, "-m", "smartmon", "run", "--base-dir", str(self._base), *self._options]
        with self._log.open("wb") as log:
            self._daemon = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._shared = True
        (self._state / "exec-daemon").write_text(f"{self._daemon.pid}\n", encoding="ascii")
        return self._daemon.pid

    def _watching(self) -> int:
        """Return the process id of the daemon that holds the base dir, or 0."""
        return _holder(self._state)

    def _started_by_exec(self) -> int:
        with contextlib.suppress(OSError):
            return _pid((self._state / "exec-daemon").read_bytes())
        return 0

    def _left(self, run: Path) -> str:
        """Return what the daemon still has to do for a run: `end`, `alerts`, `copying`, or nothing."""
        try:
            with self._open_store(self._base) as store:
                row = next((row for row in store.runs() if row.path == run), None)
                read = store.cursor(row.id, str(STATUS)) if row else None
                # The last thing that changes is the status: whoever has read this one has seen the end.
                if not read or abs(float(read.get("mtime") or 0.0) - (run / STATUS).stat().st_mtime) > _SAME:
                    return "end"
                soon = time.time() + SOON
                due = store.deliveries(states=("pending", "sending"), limit=100)
                if any(row.state == "sending" or (row.next_at or 0) <= soon for row in due):
                    return "alerts"
                return "copying" if store.keeps(states=("pending", "copying"), limit=1) else ""
        except (StoreError, OSError):
            return "end"

    def _there(self) -> bool:
        """Whether a daemon watches, or is about to."""
        return bool(self._watching()) or (self._daemon is not None and self._daemon.poll() is None)

    def _end(self) -> None:
        pid = self._watching()
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.terminate()
        elif pid > 0 and pid == self._started_by_exec():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        else:
            return
        deadline = time.monotonic() + _HANDED_OVER
        while self._there() and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY / 4)


def _pid(data: bytes) -> int:
    try:
        return int(data.split(b"\n")[0])
    except ValueError:
        return 0


def _holder(state: Path) -> int:
    """Return the process id of whoever holds the lock in a state folder: 0 for nobody, -1 for somebody unknown."""
    try:
        lock = os.open(state / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _pid(os.pread(lock, 32, 0)) or -1
    finally:
        os.close(lock)
    return 0
