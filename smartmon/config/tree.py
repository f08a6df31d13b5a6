"""Nested settings as the file has them, and what the models say about each key."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Path = tuple[str | int, ...]


def fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a section by the names that the file uses."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the section that a field holds, if it holds one, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    if typing.get_origin(annotation) is tuple:
        inner = typing.get_args(annotation)[0]
        return (inner, True) if isinstance(inner, type) and issubclass(inner, BaseModel) else (None, True)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for choice in typing.get_args(annotation):
            found, many = section(choice)
            if found is not None:
                return found, many
    return None, False


def is_list(annotation: Any) -> bool:
    """Whether a field holds a list of plain values."""
    return typing.get_origin(annotation) is tuple


def leaves(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Yield the path and field of every setting; a list of sections counts as one."""
    for name, info in fields(model).items():
        inner, many = section(info.annotation)
        if inner is not None and not many:
            yield from leaves(inner, (*prefix, name))
        else:
            yield (*prefix, name), info


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one tree over another: tables are merged key by key, anything else replaces what was there."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return result


def put(tree: MutableMapping[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a value deep in a tree, making the tables on the way; what stands in the way is replaced."""
    for part in path[:-1]:
        below = tree.get(part)
        if not isinstance(below, MutableMapping):
            below = tree[part] = {}
        tree = below
    tree[path[-1]] = value


def get(tree: Any, path: Path) -> Any:
    """Return the value at a path, or None where the tree does not reach."""
    for part in path:
        if not has(tree, part):
            return None
        tree = tree[part]
    return tree


def has(tree: Any, part: str | int) -> bool:
    """Whether a table has a key, or a list an index."""
    if isinstance(tree, Mapping):
        return part in tree
    return isinstance(tree, (list, tuple)) and isinstance(part, int) and 0 <= part < len(tree)


def entry(value: Any, index: int) -> str:
    """Write an entry of a list for a person: by its name, or else by its number counted from 1."""
    name = get(value, ("name",))
    return f".{name}" if isinstance(name, str) and name and name.isprintable() else f"[{index + 1}]"


def dotted(tree: Any, path: Path) -> str:
    """Write a path for a person."""
    text = ""
    for index, part in enumerate(path):
        if isinstance(part, int):
            text += entry(get(tree, path[: index + 1]), part)
        else:
            text += f".{part}" if text else part
    return text
