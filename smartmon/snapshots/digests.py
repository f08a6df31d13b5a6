"""Digests of a snapshot's files: taken after publication, a little at a time, and compared when it is verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smartmon.records import Snapshot, SnapshotState
from smartmon.snapshots import complete, syscalls
from smartmon.snapshots.folder import replace
from smartmon.snapshots.listing import folder_at, open_below
from smartmon.snapshots.metadata import DIGESTS, DamagedError, dumps, read_json

SLICE = 64 << 20
_CHUNK = 1 << 20
_ALGORITHM = "sha256"


_LARGE = 16 << 20
"""Bytes of a file from which OpenSSL, several times as fast, is worth the memory that loading it takes."""


def _new(size: int) -> hashlib._Hash:
    """Return a new digest for a file of so many bytes."""
    if size < _LARGE:
        return hashlib.sha256()
    try:
        from _hashlib import openssl_sha256
    except ImportError:
        return hashlib.sha256()
    return openssl_sha256(usedforsecurity=False)


class Digester:
    """Takes the digests of one snapshot in slices, so that its thread can do other work in between."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._path = snapshot.path
        self._files = [(str(file["path"]), int(file["bytes"])) for file in snapshot.metadata.get("files", ())]
        self._digests: dict[str, str] = {}
        self._hash = _new(self._files[0][1] if self._files else 0)
        self._offset = 0

    def step(self, budget: int = SLICE) -> bool:
        """Read up to `budget` bytes; True once the digests are written, or there is nothing left to take them of."""
        buffer = memoryview(bytearray(min(_CHUNK, budget)))
        with syscalls.idle_io(), folder_at(self._path) as root:
            while self._files and budget > 0:
                name, size = self._files[0]
                descriptor = open_below(root, name)
                try:
                    part = os.preadv(descriptor, [buffer], self._offset)
                    os.posix_fadvise(descriptor, self._offset, part, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)
                self._hash.update(buffer[:part])
                self._offset += part
                budget -= max(part, 4096)
                if not part or self._offset >= size:
                    self._digests[name] = self._hash.hexdigest()
                    del self._files[0]
                    self._hash, self._offset = _new(self._files[0][1] if self._files else 0), 0
        if self._files:
            return False
        told = {"schema_version": 1, "algorithm": _ALGORITHM, "files": self._digests}
        replace(self._path / DIGESTS, dumps(told))
        return True


def digests_of(snapshot: Snapshot) -> dict[str, str] | None:
    """The digests that were taken of a snapshot's files; None before that. Raises DamagedError."""
    if not os.path.lexists(snapshot.path / DIGESTS):
        return None
    data = read_json(snapshot.path / DIGESTS)
    files = data.get("files")
    if data.get("algorithm") != _ALGORITHM or not isinstance(files, dict):
        raise DamagedError(f"{DIGESTS} is not what it should be")
    return {str(name): str(digest) for name, digest in files.items()}


def digest(path: Path, beat: Callable[[], None] = lambda: None) -> str:
    """The digest of one file of ours."""
    taken = _new(path.stat().st_size)
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            beat()
            taken.update(part)
    return taken.hexdigest()


def verify(snapshot: Snapshot, *, full: bool = False, beat: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Check a snapshot: every file is there, as long as it was, whole as its format tells; with `full`, bit by bit.

    The answer has `name`, `ok`, `checked` (`sizes` or `digests`), `files` and `problems`.
    """
    problems = [snapshot.problem] if snapshot.state is SnapshotState.DAMAGED else []
    files = [] if not snapshot.has_weights else snapshot.metadata["files"]
    checked = "sizes"
    if not problems:
        problems += _format_problems(snapshot, files)
    if full and not problems:
        try:
            known = digests_of(snapshot)
        except DamagedError as error:
            known, problems = {}, [str(error)]
        if known is not None:
            checked = "digests"
            for file in files:
                if known.get(file["path"]) != digest(snapshot.path / file["path"], beat):
                    problems.append(f"{file['path']} is not what was copied")
        elif files:
            problems.append("no digests have been taken yet; the daemon does that when it is idle")
    return {
        "name": snapshot.name,
        "ok": not problems,
        "checked": checked,
        "files": len(files),
        "problems": problems,
    }


def _format_problems(snapshot: Snapshot, files: list[dict[str, Any]]) -> list[str]:
    problems = []
    for file in files:
        name, size = str(file["path"]), int(file["bytes"])
        if not name.endswith(complete.WEIGHTS):
            continue
        try:
            with folder_at(snapshot.path) as root:
                descriptor = open_below(root, name)
            try:
                problem = complete.file_problem(
                    name,
                    size,
                    lambda at, length, fd=descriptor: complete.read_range(fd, at, length),  # type: ignore[misc]
                )
            finally:
                os.close(descriptor)
        except OSError as error:
            problem = f"{name} cannot be read: {error.strerror}"
        if problem:
            problems.append(problem)
    return problems
