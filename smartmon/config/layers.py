"""The layers that a config is laid from: file, environment, command line; each a tree in the words of the file."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from smartmon import text
from smartmon.config import tree
from smartmon.config.model import Config
from smartmon.config.problems import Problem
from smartmon.errors import ConfigError

PREFIX = "SMARTMON_"
FILE_NAME = "smartmon.toml"

_MAX_BYTES = 1_000_000


def candidates(cwd: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return where a config file is looked for, in order."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 (Path.home raises where there is no home)
    user = Path(environ.get("XDG_CONFIG_HOME") or Path(home, ".config"))
    return [cwd / FILE_NAME, user / "smartmon" / "config.toml", Path("/etc/smartmon/config.toml")]


def find(path: Path | None, cwd: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the config file to read: the one that was named, or the first that is there."""
    if path is not None:
        return cwd / path
    for candidate in candidates(cwd, environ):
        try:
            if candidate.is_file():
                return candidate
        except OSError:
            # A folder that we may not look into holds no config of ours.
            continue
    return None


def read_text(path: Path) -> str:
    """Return the text of a config file. Raises ConfigError in plain words."""
    shown = text.clean(path)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ConfigError(f"{shown} is larger than a config file can be (1 MB)")
        # An editor on Windows may put a byte order mark in front.
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"no config file at {shown}; start from one with: smartmon config init {shown}") from None
    except OSError as error:
        raise ConfigError(f"cannot read the config file {shown}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{shown}: line {line} is not UTF-8 text; save the file as UTF-8") from None


def parse(content: str, path: Path) -> dict[str, Any]:
    """Return the tree of a config file. Raises ConfigError with the line where it is no TOML."""
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        # tomllib names positions and keys, never values.
        raise ConfigError(f"{text.clean(path)} is not valid TOML: {_positioned(str(error))}") from None
    except RecursionError:
        raise ConfigError(f"{text.clean(path)} is not usable: it is nested too deeply") from None


def _positioned(message: str) -> str:
    match = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message)
    return f"line {match[2]}, column {match[3]}: {match[1]}" if match else message


def from_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str], list[Problem]]:
    """Return the tree that `SMARTMON_...` variables make, dotted key -> variable, and what is wrong with them.

    `SMARTMON_DETECTORS__LOSS_SPIKE__THRESHOLD` is `detectors.loss_spike.threshold`. Container platforms invent
    variables of their own (`SMARTMON_PORT` for a service called smartmon), so a name without `__` is refused only
    when it looks like a misspelt setting.
    """
    given: dict[str, Any] = {}
    used: dict[str, str] = {}
    problems = []
    known = {"__".join(path).upper(): (path, info) for path, info in tree.leaves(Config)}
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if name == variable or not environ[variable]:
            continue
        if name == "BASE_DIR":
            name = "BASE_DIRS"
        if name in known:
            path, info = known[name]
            tree.put(given, path, _value(environ[variable], info, path))
            used[".".join(path)] = variable
        elif "__" in name or difflib.get_close_matches(name, known, n=1, cutoff=0.85):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            problems.append(Problem((variable,), f"names no setting{hint}"))
    return given, used, problems


def _value(given: str, info: Any, path: tuple[str, ...]) -> Any:
    """Read a variable: TOML for lists and tables, a plain list with `:` or `,` between its items, else text."""
    if given.lstrip()[:1] in ("[", "{"):
        try:
            return tomllib.loads(f"value = {given}")["value"]
        except tomllib.TOMLDecodeError:
            return given
    if tree.is_list(info.annotation):
        return [item for item in given.split(os.pathsep if path == ("base_dirs",) else ",") if item]
    return given


def from_command_line(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree that dotted keys make; None means that an option was not given."""
    given: dict[str, Any] = {}
    for key, value in overrides.items():
        if value is not None:
            tree.put(given, tuple(key.split(".")), value)
    return given


def anchor(given: dict[str, Any], folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the tree with every path in it absolute: relative ones start from `folder`."""

    def full(value: Any) -> Any:
        if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
            return value
        spelled = str(value)
        if spelled.startswith("~/") and environ.get("HOME"):
            spelled = environ["HOME"] + spelled[1:]
        # ${NAME} may be the whole start of a path; the loader puts it in and anchors what is still relative then.
        return spelled if spelled.startswith("${") else os.path.normpath(folder / spelled)

    def many(value: Any) -> Any:
        return [full(item) for item in value] if isinstance(value, (list, tuple)) else value

    result = dict(given)
    for key in ("state_dir", "snapshots_dir", "log_dir"):
        if key in result:
            result[key] = full(result[key])
    if "base_dirs" in result:
        result["base_dirs"] = many(result["base_dirs"])
    if "push" in result:
        result["push"] = _entry(result["push"], {"token_file": full})
    result |= _entries(result, "runs", {"path": full, "checkpoint_dir": full, "logs": many})
    result |= _entries(result, "notifiers", {"url_file": full})
    result |= _entries(result, "hooks", {"run": lambda words: _program(words, full)})
    return result


def _program(words: Any, full: Any) -> Any:
    if isinstance(words, list) and words and isinstance(words[0], str) and "/" in words[0]:
        return [full(words[0]), *words[1:]]
    return words


def _entries(given: Mapping[str, Any], section: str, each: Mapping[str, Any]) -> dict[str, Any]:
    entries = given.get(section)
    if not isinstance(entries, list):
        return {}
    return {section: [_entry(entry, each) for entry in entries]}


def _entry(entry: Any, each: Mapping[str, Any]) -> Any:
    if not isinstance(entry, dict):
        return entry
    return entry | {key: change(entry[key]) for key, change in each.items() if key in entry}


def keys(given: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """Yield the dotted key of every value in a tree, and of every list of tables and what its entries hold."""
    for key, value in given.items():
        dotted = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from keys(value, dotted)
            continue
        yield dotted
        for index, entry in enumerate(value if isinstance(value, (list, tuple)) else ()):
            if isinstance(entry, Mapping):
                yield from keys(entry, dotted + tree.entry(entry, index))
