"""Records whose metrics lie deeper than the top: `{"step": 1, "metrics": {"train": {"loss": 2.0}}}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smartmon.records import Json

MAX_FLAT = 256
"""Values that are taken out of nested objects."""
_DEPTH = 3
"""Levels below the top."""
_WRAPPERS = frozenset({"data", "metrics", "log", "logs", "values", "scalars"})
"""Objects whose name says nothing: what lies in them keeps its own."""
_MAX_KEYS = 256
_MISSING = object()


def key_map(option: Json) -> dict[str, str]:
    """Return the map of keys that a source's options hold: the file's own key -> the name it is to have."""
    pairs = list(option.items())[:_MAX_KEYS] if isinstance(option, Mapping) else []
    return {key: name for key, name in pairs if isinstance(key, str) and isinstance(name, str) and key and name}


def lifted(record: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return the record with what dotted keys reach into (`metrics.train.ce`) at its top, under those keys."""
    found = {}
    for path in paths:
        if path in record or "." not in path:
            continue
        value: Any = record
        for part in path.split("."):
            value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
        if value is not _MISSING:
            found[path] = value
    return record | found if found else record


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with the values of its nested objects at the top, as `train/loss`; what was there wins."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            _add(found, _below("", key), value, _DEPTH)
    return found | {key: value for key, value in record.items() if not isinstance(value, dict)}


def _add(found: dict[str, Any], prefix: str, values: Mapping[str, Any], depth: int) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            if depth > 1:
                _add(found, _below(prefix, key), value, depth - 1)
        elif len(found) < MAX_FLAT and not isinstance(value, list):
            found.setdefault(f"{prefix}{key}", value)


def _below(prefix: str, key: str) -> str:
    return prefix if key in _WRAPPERS else f"{prefix}{key}/"
