"""Sets two snapshots side by side: what they are of, what the metrics were, which files are the same."""

from __future__ import annotations

from typing import Any

from smartmon.records import Snapshot
from smartmon.snapshots.digests import digest, digests_of
from smartmon.snapshots.metadata import DamagedError

FACTS = (
    *("run", "attempt", "created_at", "reason", "severity", "step", "epoch", "checkpoint_step", "state"),
    *("bytes", "copy_method", "config_digest"),
)
NUMBERS = ("loss", "accuracy", "learning_rate", "grad_norm", "best_loss")


def compare(first: Snapshot, second: Snapshot) -> dict[str, Any]:
    """Return `a`, `b` (facts), `numbers` (name -> a, b, difference), `parameters` that differ, and `files`."""
    return {
        "a": _facts(first),
        "b": _facts(second),
        "numbers": {name: _difference(first.metadata.get(name), second.metadata.get(name)) for name in NUMBERS},
        "parameters": _parameters(first, second),
        "files": _files(first, second),
    }


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    return {"name": snapshot.name, **{key: snapshot.metadata.get(key) for key in FACTS}}


def _difference(first: Any, second: Any) -> dict[str, Any]:
    numbers = isinstance(first, (int, float)) and isinstance(second, (int, float))
    return {"a": first, "b": second, "difference": second - first if numbers else None}


def _parameters(first: Snapshot, second: Snapshot) -> dict[str, Any]:
    one, other = _flat(first.metadata.get("detector_parameters")), _flat(second.metadata.get("detector_parameters"))
    return {
        name: {"a": one.get(name), "b": other.get(name)}
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    }


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix.rstrip("."): value} if prefix else {}
    return {name: leaf for key in value for name, leaf in _flat(value[key], f"{prefix}{key}.").items()}


def _files(first: Snapshot, second: Snapshot) -> dict[str, list[str]]:
    """Sort files by whether both snapshots hold the same. A file inside a checkpoint is named without its step."""
    one, other = _by_role(first), _by_role(second)
    found: dict[str, list[str]] = {"same": [], "different": [], "only_a": [], "only_b": []}
    known = [_digests(snapshot) for snapshot in (first, second)]
    for role in sorted(one.keys() | other.keys()):
        if role not in other:
            found["only_a"].append(role)
        elif role not in one:
            found["only_b"].append(role)
        else:
            same = _same((first, one[role]), (second, other[role]), known)
            found["same" if same else "different"].append(role)
    return found


def _by_role(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    if not snapshot.has_weights:
        return {}
    main = f"checkpoint-{snapshot.checkpoint_step}/"
    return {str(file["path"]).replace(main, "checkpoint-N/", 1): file for file in snapshot.metadata["files"]}


def _digests(snapshot: Snapshot) -> dict[str, str]:
    try:
        return digests_of(snapshot) or {}
    except DamagedError:
        return {}


def _same(
    first: tuple[Snapshot, dict[str, Any]], second: tuple[Snapshot, dict[str, Any]], known: list[dict[str, str]]
) -> bool:
    paths = [snapshot.path / file["path"] for snapshot, file in (first, second)]
    if first[1]["bytes"] != second[1]["bytes"]:
        return False
    try:
        if paths[0].samefile(paths[1]):
            return True
        taken = [
            digests.get(file["path"]) or digest(path) for digests, (_, file), path in zip(known, (first, second), paths)
        ]
    except OSError:
        return False
    return taken[0] == taken[1]
