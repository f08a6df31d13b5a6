"""What no single field can know is wrong: names given twice, folders inside each other, secrets given in two ways.

These look at the raw tree, so that they are told together with everything else that is wrong.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smartmon.config import tree
from smartmon.config.problems import Problem
from smartmon.detectors.settings import PROFILES


def check(given: Mapping[str, Any], base_dirs: Sequence[Path]) -> list[Problem]:
    """Return every problem between fields."""
    return [
        *_profile(given.get("profile")),
        *_web(("heartbeat_url",), given.get("heartbeat_url")),
        *_web(("dashboard", "public_url"), tree.get(given, ("dashboard", "public_url"))),
        *_notifiers(_tables(given, "notifiers")),
        *_twice(_tables(given, "runs"), "runs"),
        *_phases(_tables(given, "phases")),
        *_base_dirs(base_dirs),
        *_stores(given, base_dirs),
    ]


def _tables(given: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = given.get(name)
    return [entry if isinstance(entry, Mapping) else {} for entry in entries] if isinstance(entries, list) else []


def _profile(name: Any) -> Iterable[Problem]:
    if isinstance(name, str) and name not in PROFILES:
        near = difflib.get_close_matches(name, PROFILES, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(PROFILES)}"
        yield Problem(("profile",), f"names no profile{hint}")


def _web(path: tree.Path, url: Any) -> Iterable[Problem]:
    # A variable may hold the whole of it.
    if isinstance(url, str) and not url.strip().startswith(("http://", "https://", "${")):
        yield Problem(path, "must start with http:// or https://")


def _notifiers(entries: list[Mapping[str, Any]]) -> Iterable[Problem]:
    for index, entry in enumerate(entries):
        if "url" in entry and "url_file" in entry:
            yield Problem(("notifiers", index, "url_file"), "is one too many; give a url or a url_file, not both")
        elif "url" not in entry and "url_file" not in entry:
            message = "is missing; give a url, or url_file to keep it out of this file"
            yield Problem(("notifiers", index, "url"), message)
        elif entry.get("url") == "":
            yield Problem(("notifiers", index, "url"), "must not be empty")
    yield from _twice(entries, "notifiers")


def _twice(entries: list[Mapping[str, Any]], section: str) -> Iterable[Problem]:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name = entry.get("name")
        if isinstance(name, str):
            if name in seen:
                yield Problem((section, index, "name"), "is used twice; names must differ")
            seen.add(name)


def _phases(entries: list[Mapping[str, Any]]) -> Iterable[Problem]:
    last = 0
    for index, entry in enumerate(entries):
        until = entry.get("until_step")
        if isinstance(until, int) and not isinstance(until, bool):
            if last and until <= last:
                yield Problem(("phases", index, "until_step"), f"must be greater than that of the phase before, {last}")
            last = until


def _base_dirs(base_dirs: Sequence[Path]) -> Iterable[Problem]:
    for one in base_dirs:
        for other in base_dirs:
            if one != other and one.is_relative_to(other):
                yield Problem(("base_dirs",), f"{one} lies inside {other}, which is watched as a whole; remove one")


def _stores(given: Mapping[str, Any], base_dirs: Sequence[Path]) -> Iterable[Problem]:
    own = {
        key: Path(given[key]) for key in ("state_dir", "snapshots_dir", "log_dir") if isinstance(given.get(key), str)
    }
    for key, folder in own.items():
        if "\0" in str(folder):
            yield Problem((key,), "is no path: it holds a NUL character")
        for base in base_dirs:
            if base.is_relative_to(folder):
                yield Problem((key,), f"{folder} holds the watched {base}; smartmon must not keep its files around it")
        if any(part.startswith("checkpoint-") for part in folder.parts):
            yield Problem((key,), f"{folder} lies inside a checkpoint; the trainer deletes those")
        for index, entry in enumerate(_tables(given, "runs")):
            source = entry.get("checkpoint_dir")
            if isinstance(source, str) and folder.is_relative_to(source):
                yield Problem((key,), f"{folder} lies inside runs[{index + 1}].checkpoint_dir; rotation may delete it")
    for key, other in (("state_dir", "snapshots_dir"), ("log_dir", "snapshots_dir")):
        if key in own and other in own and own[key].is_relative_to(own[other]):
            yield Problem((key,), f"{own[key]} lies inside {other}; give it a folder of its own")
