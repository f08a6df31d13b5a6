"""The folder of a run under `exec`: what it is called, who holds it, and the status file that tells of the command."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.errors import LockedError, SourceError
from smartmon.exec.ending import Ending

LOG = Path("logs", "output.log")
STATUS = Path("status", "training_status.json")
LOCK = ".smartmon-exec"
_FINAL = frozenset({"completed", "stopped", "crashed", "error"})
_FAILED = frozenset({"crashed", "error"})
_TAKEN = frozenset(
    {"logs", "status", "runs", "snapshots", "current_model", "training_viz", "node_modules"}
) | frozenset({"tensorboard", "tb", "tb_logs", "tensorboard_logs"})
"""Names that mean something in a base dir, and none of them a run."""
_SCRIPT = re.compile(r".+\.(?:py|sh|bash|ipynb|pl|rb|jl|lua)")
_LEAST, _MOST = 2, 1000


def name_of(words: Sequence[str]) -> str:
    """Return what to call the run of a command: `train` for `torchrun --nproc-per-node 8 train.py --lr 1e-4`."""
    rest = list(words)
    while len(rest) > 1 and (Path(rest[0]).name == "env" or re.fullmatch(r"\w+=.*", rest[0])):
        rest = rest[1:]
    script = next((word for word in rest if _SCRIPT.fullmatch(word) and not word.startswith("-")), "")
    if not script and re.fullmatch(r"python[\d.]*", Path(rest[0]).name) and "-m" in rest[:-1]:
        script = rest[rest.index("-m") + 1].rpartition(".")[2]
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", Path(script or rest[0]).name)
    name = (re.sub(_SUFFIX, "", name) if script else name).lstrip(".-")[:60].rstrip(".-")
    odd = not name or name in _TAKEN or re.fullmatch(r"checkpoint-\d+|iter_\d+|step-\d+|global_step_?\d+", name)
    return f"run-{name}".rstrip("-") if odd else name


_SUFFIX = re.compile(r"\.\w+$")


class RunFolder:
    """A run's folder that we hold, and its status file: the child's while it lives and writes there, ours else."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._facts: dict[str, Any] = {}
        self._mine: tuple[int, int] | None = None
        """Inode and mtime of the status as we wrote it last: another one is the child's."""
        self.before = _read(path / STATUS)
        """The status that the attempt before this one left."""

    @property
    def log(self) -> Path:
        """Where what is printed goes."""
        return self.path / LOG

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        before = self.before.get("attempt")
        return before + 1 if isinstance(before, int) and before > 0 else 1

    @property
    def unfinished(self) -> bool:
        """Whether the attempt before this one was under `exec` as well, and nobody lived to tell its end."""
        return bool(self.before.get("exec_pid")) and self.before.get("status") not in _FINAL

    def begin(self, words: Sequence[str]) -> None:
        """Say that a command is started. Raises SourceError where the file cannot be written."""
        now = _moment()
        self._facts = {
            "attempt": self.attempt,
            "exec_pid": os.getpid(),
            "host": platform.node(),
            "command": _shown(words),
            "started": now,
        }
        if isinstance(self.before.get("output_dir"), str):
            # Until the trainer says it anew: its checkpoints must not look like another run's meanwhile.
            self._facts["output_dir"] = self.before["output_dir"]
        try:
            self._write({"status": "training", **self._facts, "timestamp": now, "heartbeat": now})
        except OSError as error:
            raise SourceError(
                f"cannot write the status in {text.clean(self.path)}: {error.strerror}; choose another --base-dir"
            ) from None

    def beat(self, **facts: Any) -> None:
        """Say that the command lives, and these facts, unless it speaks for itself."""
        self._facts |= facts
        if self._mine is not None and self._mine == _identity(self.path / STATUS):
            now = _moment()
            with contextlib.suppress(OSError):
                self._write({"status": "training", **self._facts, "timestamp": now, "heartbeat": now})

    def end(self, ending: Ending) -> Mapping[str, Any]:
        """Write the end into the status, beside what the command said of itself, and return it.

        What the command said of its own crash is better than what a parent can know, and stays.
        """
        told = _read(self.path / STATUS)
        theirs = told if self._mine != _identity(self.path / STATUS) else {}
        word = str(theirs.get("status") or "")
        now = _moment()
        status = {
            **self._facts,
            **told,
            **self._told_by_us(),
            "status": ending.state,
            "ended": now,
            "exit_code": ending.exit_code,
        }
        status |= {"timestamp": now, "heartbeat": now}
        if ending.signal:
            status["signal"] = ending.signal_name
        if ending.state == "completed" and word in _FINAL:
            status["status"] = word
        elif ending.state != "completed":
            if not (word in _FAILED and theirs.get("error_message")) or ending.signal or ending.state == "stopped":
                status |= {"error_type": ending.error_type, "error_message": ending.error_message}
            status["last_lines"] = list(ending.last_lines)
        if status["status"] not in _FAILED and not (theirs and word in _FAILED):
            status.pop("error_type", None)
            if status["status"] == "completed":
                status.pop("error_message", None)
        with contextlib.suppress(OSError):
            self._write(status, sync=True)
        return status

    def _told_by_us(self) -> dict[str, Any]:
        return {
            name: self._facts[name] for name in ("attempt", "exec_pid", "command", "started") if name in self._facts
        }

    def leave(self) -> None:
        """Let go of the folder: the next one of this name continues in it."""
        with contextlib.suppress(OSError):
            os.close(self._lock)

    def _write(self, status: Mapping[str, Any], *, sync: bool = False) -> None:
        target = self.path / STATUS
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.exec")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(status))
            if sync:
                file.flush()
                os.fsync(file.fileno())
        self._mine = _identity(temporary)
        temporary.replace(target)


def hold(base_dir: Path, name: str | None, run_dir: Path | None, words: Sequence[str]) -> RunFolder:
    """Make the folder of a run and hold it.

    A name made up from the command gets a number where a live one holds it, or where the folder is somebody else's.
    Raises LockedError where the name was given and is held, SourceError where no folder can be made.
    """
    if run_dir is not None or name is not None:
        path = run_dir if run_dir is not None else base_dir / str(name)
        lock = _locked(path)
        if lock is None:
            raise LockedError(
                f"another smartmon exec is running in {text.clean(path)}; wait for it, or choose another --name"
            )
        return RunFolder(path, lock)
    guess = name_of(words)
    for number in range(1, _MOST):
        path = base_dir / (guess if number < _LEAST else f"{guess}-{number}")
        if _usable(path) and (lock := _locked(path)) is not None:
            return RunFolder(path, lock)
    raise SourceError(f"{text.clean(base_dir)} holds {_MOST:,} folders named {guess}; choose a --name")


def _usable(path: Path) -> bool:
    """Whether a folder is ours or can become so: a package `train/` beside `train.py` is not for us to write into."""
    try:
        return (path / LOCK).exists() or not any(path.iterdir())
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _locked(path: Path) -> int | None:
    """Make a folder and hold it; None: another one holds it. The kernel lets go when we end, however that is."""
    try:
        (path / LOG.parent).mkdir(parents=True, exist_ok=True)
        (path / STATUS.parent).mkdir(exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise SourceError(
            f"cannot keep the run in {text.clean(path)}: {error.strerror}; choose another --base-dir or --run-dir"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        pass  # a file system without locks: better watched than refused
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _moment() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _shown(words: Sequence[str]) -> str:
    import shlex

    return text.clean(shlex.join(words))[:2000]
