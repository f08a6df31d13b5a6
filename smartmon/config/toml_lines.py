"""On which line of a TOML file each key stands: `tomllib` does not tell.

A key that this reader does not find only costs the line number in a message.
"""

from __future__ import annotations

import re

_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.?)""")
_SKIP = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL)


def lines(text: str) -> dict[tuple[str | int, ...], int]:
    """Return path -> line number, counted from 1; an entry of a list of tables has its index in the path."""
    # Strings and comments may hold anything that looks like a key; blank them, keeping their line ends.
    bare = _SKIP.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    found: dict[tuple[str | int, ...], int] = {}
    counts: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    depth = 0
    for number, (shown, row) in enumerate(zip(bare.split("\n"), text.split("\n"), strict=True), 1):
        inside, depth = depth, max(0, depth + _opened(shown))
        head = re.match(r"\s*(\[\[?)(.+?)\]", row) if inside == 0 and shown.lstrip().startswith("[") else None
        if head is not None:
            depth = 0
            table = _table(head[2], counts, array=head[1] == "[[")
            found.setdefault(table, number)
            found.setdefault(table[:-1] if isinstance(table[-1], int) else table, number)
        elif inside == 0 and "=" in shown:
            path = table
            for part in _parts(row):
                path = (*path, part)
                found.setdefault(path, number)
    return found


def _opened(row: str) -> int:
    value = row.partition("=")[2] if "=" in row else row
    return sum(value.count(char) for char in "[{") - sum(value.count(char) for char in "]}")


def _parts(text: str) -> list[str]:
    parts, at = [], 0
    while (match := _PART.match(text, at)) is not None:
        parts.append(next(group for group in match.groups()[:3] if group is not None))
        at = match.end()
        if not match[4]:
            break
    return parts


def _table(text: str, counts: dict[tuple[str | int, ...], int], *, array: bool) -> tuple[str | int, ...]:
    path: tuple[str | int, ...] = ()
    parts = _parts(text)
    for index, part in enumerate(parts):
        path = (*path, part)
        if array and index == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path
