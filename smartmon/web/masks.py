"""Secrets in other people's texts: recognised by their shape, or by what stands in front of them, and not served.

Config values, logs and error messages hold what trainers were started with. This is a net with meshes, so what is
known to be secret is left out by its name besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from smartmon.notify.redact import MASK

_PLAIN = frozenset({float, int, bool, type(None)})
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[oprsu]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}"
    r"|xox[abeprs]-[\w-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+)"
    # What stands before the host of an address: a password, or a long name, which is a token.
    r"|(?<=://)(?:[^\s/@:\"'<>]{0,200}:[^\s/@\"'<>]{1,200}|[^\s/@:\"'<>]{16,200})(?=@)"
    r"|(?<=[Bb]earer )[\w.~+/-]{16,}"
)
_NAMES = r"pass(?:word|wd|phrase)|secret|credential|(?:api|access|private|auth)[_-]?key"
_ASSIGNED = re.compile(
    # A value stands after `=` or `:`, and after an option also after a space. Bounded: nothing here looks back far.
    rf"((?:(?:{_NAMES})\w{{0,20}}[\"']?\s{{0,3}}[=:]|--[\w-]{{0,20}}(?:{_NAMES}|token)\s)\s{{0,3}}[\"']?)[^\s\"',;&]{{4,}}"
    rf"|(token[\"']?\s{{0,3}}[=:]\s{{0,3}}[\"']?)[\w.-]{{16,}}",
    re.IGNORECASE,
)
_SECRET = re.compile(rf"{_NAMES}|pwd|token", re.IGNORECASE)
_TOKENS = re.compile(r"max_|num_|pad_|eos_|bos_|unk_|tokenizer|tokens", re.IGNORECASE)
"""What has `token` in its name and is no secret."""


def masked(text: str) -> str:
    """Return a text without what has the shape of a secret: for every text that is not ours."""
    return _SHAPES.sub(MASK, text) if len(text) > 8 else text


def hidden(text: str) -> str:
    """Return a text also without what is said to be a secret in it: for logs, errors and settings."""
    return _ASSIGNED.sub(lambda found: f"{found[1] or found[2]}{MASK}", masked(text))


def is_secret(name: str) -> bool:
    """Whether a setting of this name is a secret."""
    found = {word.lower() for word in _SECRET.findall(name)}
    return bool(found - {"token"}) or (bool(found) and not _TOKENS.search(name))


def legible(value: Any) -> Any:
    """Return a value with the lone surrogates in its texts spelled out (`\\ud800`)."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {legible(key): legible(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [legible(item) for item in value]
    return value


def told(value: Any) -> Any:
    """Return a value legible, and without what has the shape of a secret in its texts."""
    kind = type(value)
    # Most of what is told are numbers.
    if kind in _PLAIN:
        return value
    if isinstance(value, str):
        return masked(legible(value))
    if kind is dict:
        return {legible(key): told(item) for key, item in value.items()}
    return [item if type(item) in _PLAIN else told(item) for item in value] if kind in (list, tuple) else value
