"""The file `metadata.json` of a snapshot: how it is read back, with every doubt, and how it is written."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smartmon.records import Json, Severity, Snapshot, SnapshotState
from smartmon.snapshots.listing import FILE
from smartmon.text import clean

SCHEMA_VERSION = 1
METADATA = "metadata.json"
STATUS = "training_status.json"
DIGESTS = "digests.json"
MODEL = "model"
PINNED = "pinned"

_LONGEST = 16 << 20


class DamagedError(Exception):
    """Why a snapshot cannot be read, as a fact about it."""


def dumps(value: Mapping[str, Json]) -> bytes:
    """JSON that every reader takes: NaN and the infinities become null."""
    return (json.dumps(_finite(value), indent=2, allow_nan=False) + "\n").encode("ascii")


def _finite(value: Json) -> Json:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read one of a snapshot's own JSON files. Raises DamagedError."""
    name = path.name
    try:
        descriptor = os.open(path, FILE)
    except FileNotFoundError:
        raise DamagedError(f"{name} is missing") from None
    except OSError as error:
        raise DamagedError(f"{name} cannot be opened: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > _LONGEST:
            raise DamagedError(f"{name} is no plain file of a plausible size")
        try:
            value = json.loads(file.read(_LONGEST))
        except (ValueError, RecursionError, MemoryError, OSError):
            raise DamagedError(f"{name} is cut off or no JSON") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{name} holds no object")
    return value


def read_snapshot(path: Path) -> Snapshot:
    """Return the snapshot in a folder; a damaged one says why in `problem`. Never raises for bad data."""
    try:
        data = read_json(path / METADATA)
        if data.get("schema_version") != SCHEMA_VERSION:
            found = clean(data.get("schema_version"))[:20]
            raise DamagedError(f"metadata.json has schema version {found}, not {SCHEMA_VERSION}")
        return _snapshot(path, data)
    except DamagedError as error:
        return _damaged(path, str(error))


def _snapshot(path: Path, data: dict[str, Any]) -> Snapshot:
    try:
        slim = data.get("slimmed_at") is not None
        problem = _files_problem(path, data["files"], slim)
        state = SnapshotState(data["state"])
        return Snapshot(
            name=path.name,
            path=path,
            run=_text(data["run"]),
            created_at=_text(data["created_at"]),
            reason=_text(data["reason"]),
            triggers=tuple(_text(trigger) for trigger in data["triggers"]),
            step=_integer(data["step"]),
            loss=_number(data["loss"]),
            accuracy=_number(data["accuracy"]),
            checkpoint_step=_integer(data["checkpoint_step"]),
            bytes=0 if slim else _integer(data["bytes"]) or 0,
            pinned=os.path.lexists(path / PINNED),
            state=SnapshotState.DAMAGED if problem else state,
            severity=Severity(data["severity"]),
            attempt=_integer(data["attempt"]) or 1,
            problem=problem,
            has_weights=not slim and bool(data["files"]),
            metadata=data,
        )
    except KeyError as error:
        raise DamagedError(f"metadata.json lacks {error.args[0]}") from None
    except (TypeError, ValueError):
        raise DamagedError("metadata.json holds values of the wrong kind") from None


def _files_problem(path: Path, files: object, slim: bool) -> str:
    if not isinstance(files, list):
        raise TypeError
    if slim:
        return ""
    for file in files:
        name, size = _text(file["path"]), _integer(file["bytes"])
        if name.startswith("/") or ".." in name.split("/"):
            raise DamagedError("metadata.json names files outside of the snapshot")
        try:
            seen = (path / name).lstat()
        except (OSError, ValueError):
            return f"{name} is missing"
        if not stat.S_ISREG(seen.st_mode) or seen.st_size != size:
            return f"{name} is {seen.st_size} bytes long, not {size}"
    return ""


def _damaged(path: Path, problem: str) -> Snapshot:
    return Snapshot(
        name=path.name,
        path=path,
        run="",
        created_at="",
        reason="",
        triggers=(),
        step=None,
        loss=None,
        accuracy=None,
        checkpoint_step=None,
        bytes=0,
        pinned=os.path.lexists(path / PINNED),
        state=SnapshotState.DAMAGED,
        problem=problem,
        has_weights=False,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: object) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError
    return value


def _number(value: object) -> float | None:
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise TypeError
    return value
