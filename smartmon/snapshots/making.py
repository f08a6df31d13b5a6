"""Makes one snapshot: what was chosen, pinned, copied beside, checked again, and sealed with its metadata."""

from __future__ import annotations

import base64
import binascii
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import smartmon
from smartmon.errors import SnapshotError
from smartmon.records import Json, Severity, Snapshot, SnapshotState
from smartmon.snapshots import names
from smartmon.snapshots.choice import Choice
from smartmon.snapshots.layout_table import BY_NAME
from smartmon.snapshots.layouts import Found, look
from smartmon.snapshots.listing import Entry, Listing, Skipped
from smartmon.snapshots.metadata import MODEL, SCHEMA_VERSION, STATUS
from smartmon.snapshots.pins import Item, Pins
from smartmon.snapshots.staging import Held, Staging, method_text
from smartmon.snapshots.troubles import ChangedError, VanishedError
from smartmon.text import clean

_FROM_PAYLOAD = (
    *("epoch", "loss", "accuracy", "learning_rate", "grad_norm", "loss_history", "accuracy_history", "lr_history"),
    *("best_loss", "best_loss_step", "onset_step", "last_good_step", "detector_parameters", "config_digest"),
    *("anomalies", "note"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: the anomaly, its evidence, and where the run lives."""

    uid: str
    run: str
    attempt: int
    step: int
    at: float
    """The anomaly's moment, after which the snapshot is named."""
    kinds: tuple[str, ...]
    reasons: tuple[str, ...]
    severity: Severity
    incident_keys: tuple[str, ...]
    payload: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Contents:
    """What will be copied, and what not."""

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...]

    @property
    def bytes(self) -> int:
        """The sum of the sizes."""
        return sum(item.entry.size for item in self.items)

    def to_copy(self, held: Held) -> int:
        """The bytes that no earlier snapshot of ours holds already."""
        return sum(item.entry.size for item in self.items if item.entry.identity not in held)


def contents(
    choice: Choice, model_dir: Path | None, model: Listing, exclude: Sequence[str], skipped: Iterable[Skipped] = ()
) -> Contents:
    """List every file of a snapshot with the place it gets. `exclude` holds patterns of names to leave out."""
    items: dict[str, Item] = {}
    left_out = [*skipped, *model.skipped]
    for found in choice.checkpoints:
        left_out += found.listing.skipped
        path = found.checkpoint.path
        in_place = BY_NAME[found.checkpoint.layout].in_place
        for entry in found.listing.entries:
            items.setdefault(entry.name, Item(path.parent, entry, f"{MODEL}/{entry.name}", path, in_place))
    if model_dir is not None:
        for entry in model.entries:
            items.setdefault(entry.name, Item(model_dir, entry, f"{MODEL}/{entry.name}", model_dir / entry.name))
    excluded = {name for name in items if _matches(name, exclude)}
    left_out += [Skipped(name, "excluded in the config") for name in sorted(excluded)]
    chosen = [item for name, item in items.items() if name not in excluded]
    return Contents(tuple(chosen), tuple(sorted(set(left_out))))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern) for pattern in patterns)


def keep_apart(folder: Path, choice: Choice, model_dir: Path | None) -> None:
    """Raise SnapshotError when snapshots would land inside what is copied, or the other way round."""
    store = os.path.realpath(folder)
    for source in [os.path.realpath(found.checkpoint.path) for found in choice.checkpoints]:
        if _within(store, source) or _within(source, store):
            raise SnapshotError(
                f"the snapshots dir {clean(folder)} and the checkpoint {clean(source)} lie inside each other; "
                "set snapshots_dir to another place"
            )
    if model_dir is not None and _within(os.path.realpath(model_dir), store):
        raise SnapshotError(
            f"the snapshots dir {clean(folder)} holds the run itself; set snapshots_dir to another place"
        )


def _within(inner: str, outer: str) -> bool:
    return os.path.commonpath((inner, outer)) == outer


def own_copies(snapshots: Iterable[Snapshot]) -> dict[tuple[int, int, int, int], Path]:
    """Where earlier snapshots hold which state of which trainer's file."""
    held: dict[tuple[int, int, int, int], Path] = {}
    for snapshot in snapshots:
        if snapshot.state is not SnapshotState.OK or not snapshot.has_weights:
            continue
        for file in snapshot.metadata["files"]:
            origin = file.get("source")
            if isinstance(origin, dict) and file.get("method") != "hard_link":
                key = (origin.get("dev"), origin.get("ino"), file["bytes"], origin.get("mtime_ns"))
                held[key] = snapshot.path / file["path"]  # type: ignore[index]
    return held


def copy_into(
    staging: Staging,
    choice: Choice,
    wanted: Contents,
    *,
    held: Held,
    hard_links: bool = False,
) -> bool:
    """Pin everything, look again, copy. Returns whether the trainer deleted any of it meanwhile.

    Raises VanishedError when rotation was quicker, ChangedError when something is still written.
    """
    with Pins(wanted.items) as pins:
        gone = [found for found in choice.checkpoints if _deleted(found, pins)]
        for item in wanted.items:
            staging.add(pins, item, held, hard_links=hard_links)
        return bool(gone) or pins.vanished


def _deleted(found: Found, pins: Pins) -> bool:
    """Look at a checkpoint once more, now that its files are held open."""
    path = found.checkpoint.path
    before = {entry.name: entry.identity for entry in found.listing.entries}
    now: dict[str, tuple[int, int, int, int]] = {}
    try:
        entries: Sequence[Entry] = look(path, BY_NAME[found.checkpoint.layout]).entries
        now = {entry.name: entry.identity for entry in entries}
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ChangedError(f"{path.name} is not what it was: {error.strerror}", path) from None
    if not now.items() <= before.items():
        raise ChangedError(f"{path.name} is being written", path)
    if len(now) == len(before):
        return False
    if not pins.all_held:
        raise VanishedError(f"{path.name} was deleted before all of it could be held", path)
    return True


def metadata(
    request: Request, choice: Choice, wanted: Contents, staging: Staging, made_at: float, *, vanished: bool
) -> dict[str, Json]:
    """Everything that `metadata.json` says."""
    main = choice.checkpoints[0].checkpoint if choice.checkpoints else None
    payload = request.payload
    return {
        "schema_version": SCHEMA_VERSION,
        "name": names.name(request.at, request.reasons),
        "timestamp": names.stamp(request.at),
        "created_at": names.created_at(request.at),
        "made_at": names.created_at(made_at),
        "run": request.run,
        "attempt": request.attempt,
        "reason": names.reason(request.reasons),
        "triggers": list(request.reasons),
        "kinds": list(request.kinds),
        "severity": request.severity.value,
        "step": request.step,
        **{key: payload.get(key) for key in _FROM_PAYLOAD},
        "checkpoint_step": main.step if main is not None else None,
        "checkpoint_age_steps": request.step - main.step if main is not None else None,
        "last_good_checkpoint_step": choice.last_good_step,
        "checkpoints": [
            {"path": str(found.checkpoint.path), "step": found.checkpoint.step, "bytes": found.listing.bytes}
            for found in choice.checkpoints
        ],
        "checkpoint_files": _checkpoint_files(choice, wanted),
        "source_vanished": vanished,
        "files": sorted(staging.files, key=lambda file: str(file["path"])),
        "skipped": [{"path": skipped.name, "why": skipped.why} for skipped in wanted.skipped],
        "bytes": wanted.bytes,
        "copy_method": method_text(staging.methods),
        "incident_keys": list(request.incident_keys),
        "request": request.uid,
        "state": (SnapshotState.OK if main is not None else SnapshotState.NO_CHECKPOINT).value,
        "run_path": payload.get("run_path"),
        "base_dir": payload.get("base_dir"),
        "smartmon_version": smartmon.__version__,
        "host": socket.gethostname(),
    }


def _checkpoint_files(choice: Choice, wanted: Contents) -> list[str]:
    owners = {found.checkpoint.path for found in choice.checkpoints}
    return sorted(item.target for item in wanted.items if item.owner in owners)


def moment_of(told: Mapping[str, Any], otherwise: float) -> float:
    """The moment that a sealed snapshot is named after."""
    try:
        return datetime.fromisoformat(told["created_at"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return otherwise


def status_bytes(payload: Mapping[str, Any]) -> bytes:
    """The status file as it was when the anomaly was seen; empty where there was none."""
    try:
        return base64.b64decode(payload.get("status_b64") or b"")
    except (binascii.Error, ValueError, TypeError):
        return b""


def make(
    staging: Staging,
    request: Request,
    choice: Choice,
    wanted: Contents,
    *,
    held: Held,
    made_at: float,
    hard_links: bool = False,
) -> dict[str, Json]:
    """Fill and seal an open staging folder; returns the metadata it was sealed with."""
    vanished = copy_into(staging, choice, wanted, held=held, hard_links=hard_links)
    status = status_bytes(request.payload)
    if status:
        staging.write(STATUS, status)
    told = metadata(request, choice, wanted, staging, made_at, vanished=vanished)
    staging.seal(told)
    return told
