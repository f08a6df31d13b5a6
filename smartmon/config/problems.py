"""What is wrong with a config, in sentences, all of it at once.

A value that was given is repeated only when it is a number, a boolean or one of a few words: anything else may be a
secret, and pydantic's own messages and `input` would show it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from smartmon import text
from smartmon.config import tree

_EXPECTED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda limits: f"must be greater than {limits['gt']:g}",
    "greater_than_equal": lambda limits: f"must be at least {limits['ge']:g}",
    "less_than": lambda limits: f"must be less than {limits['lt']:g}",
    "less_than_equal": lambda limits: f"must be at most {limits['le']:g}",
    "too_short": lambda limits: f"needs at least {limits['min_length']} item{'s' if limits['min_length'] > 1 else ''}",
    "too_long": lambda limits: f"takes at most {limits['max_length']} items",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": lambda limits: f"must not be longer than {limits['max_length']} characters",
    "literal_error": lambda limits: f"must be {_or(limits['expected'])}",
    "enum": lambda limits: f"must be {_or(limits['expected'])}",
    "value_error": lambda limits: str(limits["error"]),
    "finite_number": lambda _: "must be a finite number",
}
_UNKNOWN = "unknown key"
_BY_PREFIX = {
    "missing": "is missing",
    "int_": "must be a whole number",
    "float_": "must be a number",
    "bool_": "must be true or false",
    "string_": "must be text in quotes",
    "path_": "must be a path in quotes",
    "tuple_": "must be a list in [brackets]",
    "list_": "must be a list in [brackets]",
    "dict_": "must be a table",
    "mapping_": "must be a table",
    "model_": "must be a table",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    path: tree.Path
    message: str


def _or(expected: str) -> str:
    return expected.replace("'", '"')


def unknown(name: str, known: list[str]) -> str:
    """Say that a name is unknown, with the nearest right one, or with all of them when they are few."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f'{_UNKNOWN}; did you mean "{near[0]}"?'
    return f"{_UNKNOWN}; there are {', '.join(known)}"


def from_validation(error: ValidationError, model: type[BaseModel], given: Mapping[str, Any]) -> list[Problem]:
    """Turn what pydantic found into problems: one for each key, whatever unions it went through."""
    merged: dict[tree.Path, list[str]] = {}
    for item in error.errors(include_url=False):
        path = _real(item["loc"], given, keep_last=item["type"] == "missing")
        message = _sentence(item, path, model)
        if message not in merged.setdefault(path, []):
            merged[path].append(message)
    return [Problem(path, _either(messages) + _echo(given, path, messages)) for path, messages in merged.items()]


def _either(messages: list[str]) -> str:
    return " or ".join([messages[0], *(message.removeprefix("must be ") for message in messages[1:])])


def _real(loc: tuple[str | int, ...], given: Mapping[str, Any], *, keep_last: bool) -> tree.Path:
    """Return the location without the tags of unions and validators, which are no keys of the file."""
    path: tree.Path = ()
    for index, part in enumerate(loc):
        if tree.has(tree.get(given, path), part) or (keep_last and index == len(loc) - 1):
            path = (*path, part)
    return path


def _sentence(item: Any, path: tree.Path, model: type[BaseModel]) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        return unknown(str(path[-1]), _known(model, path[:-1]))
    if kind in _EXPECTED:
        return _EXPECTED[kind](item.get("ctx", {}))
    return next((text for prefix, text in _BY_PREFIX.items() if kind.startswith(prefix)), "cannot be used")


def _known(model: type[BaseModel], path: tree.Path) -> list[str]:
    """Return the keys that may stand in the section at a path."""
    for part in path:
        info = tree.fields(model).get(part) if isinstance(part, str) else None
        inner = tree.section(info.annotation)[0] if info is not None else None
        model = inner or model
    return list(tree.fields(model))


def _echo(given: Mapping[str, Any], path: tree.Path, messages: list[str]) -> str:
    value = tree.get(given, path)
    if messages[0].startswith(_UNKNOWN) or any("url" in str(part) for part in path):
        return ""
    if isinstance(value, bool):
        return f" (got {str(value).lower()})"
    if isinstance(value, (int, float)):
        # An integer may be too large for a float.
        return f" (got {value:g})" if isinstance(value, float) or abs(value) < 10**15 else " (got something huge)"
    if isinstance(value, str):
        try:
            return f" (got {float(value):g})"
        except ValueError:
            word = value.isascii() and value.replace("_", "").replace("-", "").isalpha() and len(value) <= 24
            return f' (got "{value}")' if word and messages[0].startswith('must be "') else ""
    return ""


def report(title: str, rows: list[tuple[str, str, str]]) -> str:
    """Lay problems out under a title: where it stands, the key, and what is wrong with it."""
    count = "1 problem" if len(rows) == 1 else f"{len(rows)} problems"
    cells = [(text.clean(where), text.clean(key), text.clean(message)) for where, key, message in rows]
    widths = [max(len(row[i]) for row in cells) for i in (0, 1)]
    shown = [f"  {where.ljust(widths[0])}  {key.ljust(widths[1])}  {what}".rstrip() for where, key, what in cells]
    return "\n".join([f"{title} has {count}", "", *shown])
