"""`load`: find the file, lay the layers over each other, and say everything that is wrong, or return a Config."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from smartmon import text
from smartmon.config import checks, layers, problems, secrets, tree
from smartmon.config.model import Config, fixed_part
from smartmon.config.problems import Problem
from smartmon.config.toml_lines import lines
from smartmon.detectors.settings import PROFILES, apply_profile
from smartmon.errors import ConfigError


def load(
    path: Path | None = None,
    *,
    base_dirs: Sequence[Path] = (),
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    profile: str | None = None,
    cwd: Path | None = None,
) -> Config:
    """Return the configuration: the command line over the environment over the file over the profile over the defaults.

    `overrides` maps dotted keys to what the command line gave; None means not given. Raises ConfigError with every
    problem in one message. Secrets that cannot be read here are no error yet: see `Config.require_secrets`.
    """
    environ = os.environ if environ is None else environ
    folder = _cwd() if cwd is None else cwd
    file = layers.find(path, folder, environ)
    content = layers.read_text(file) if file is not None else ""
    from_file = layers.parse(content, file) if file is not None else {}
    home = Path(os.path.abspath(file)).parent if file is not None else folder  # noqa: PTH100 (resolve follows links)
    from_env, variables, found = layers.from_environment(environ)
    wanted: dict[str, Any] = {"profile": profile, "base_dirs": list(map(str, base_dirs)) or None}
    from_cli = tree.merge(layers.from_command_line(overrides or {}), layers.from_command_line(wanted))

    given = layers.anchor(from_file, home, environ)
    given = tree.merge(given, layers.anchor(from_env, folder, environ))
    given = tree.merge(given, layers.anchor(from_cli, folder, environ))
    origins = dict.fromkeys(layers.keys(from_file), str(file))
    origins |= {key: f"environment {variable}" for key, variable in variables.items()}
    origins |= dict.fromkeys(layers.keys(from_cli), "command line")
    given, origins = _with_profile(given, origins)

    dirs = _base_dirs(given, folder)
    found += checks.check(given, dirs)
    complete = dict(given)
    listed = given.get("base_dirs", [])
    if isinstance(listed, list) and all(isinstance(item, str) for item in listed):
        complete["base_dirs"] = [str(folder) for folder in dirs]
    complete.setdefault("state_dir", str(fixed_part(dirs[0]) / ".smartmon"))
    try:
        config = Config.model_validate(complete)
    except ValidationError as error:
        found += problems.from_validation(error, Config, complete)
        config = None
    if found or config is None:
        raise ConfigError(_message(found, complete, file, content, origins))
    return _settle(config, file, home, environ, origins)


def _cwd() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the current directory no longer exists; change to one that does") from None


def _with_profile(given: dict[str, Any], origins: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay the layers over what the profile sets. An unknown profile is reported by the checks."""
    name = given.get("profile")
    if not isinstance(name, str) or name not in PROFILES:
        return given, origins
    partial = apply_profile(name)
    below: dict[str, Any] = {key: partial[key] for key in ("detectors", "phases") if key in partial}
    if "min_steps_between_saves" in partial:
        below["snapshots"] = {"min_steps_between_saves": partial["min_steps_between_saves"]}
    return tree.merge(below, given), dict.fromkeys(layers.keys(below), f"profile {name}") | origins


def _base_dirs(given: Mapping[str, Any], folder: Path) -> list[Path]:
    """Return the base dirs, absolute and without links, each once."""
    listed = given.get("base_dirs")
    named = [item for item in listed if isinstance(item, str) and item] if isinstance(listed, list) else []
    # The real path: the same folder by two names must be one base dir, with one lock and one database.
    return list(dict.fromkeys(Path(os.path.realpath(item.replace("\0", ""))) for item in named or [str(folder)]))


def _message(
    found: list[Problem], given: Mapping[str, Any], file: Path | None, content: str, origins: Mapping[str, str]
) -> str:
    where = lines(content) if content else {}
    rows = []
    for problem in dict.fromkeys(found):
        key = tree.dotted(given, problem.path)
        number = _line(where, problem.path) or 0
        origin = _origin(problem.path, origins)
        place = "command line" if origin == "command line" else origin.removeprefix("environment ")
        if not origin or origin == str(file):
            place = f"line {number}:" if number else ""
        rows.append((number, place, key, problem.message))
    rows.sort(key=lambda row: row[0])
    title = text.clean(file) if file is not None else "the configuration"
    return problems.report(title, [row[1:] for row in rows])


def _line(where: Mapping[tuple[str | int, ...], int], path: tree.Path) -> int | None:
    """Return the line of a key, or of the nearest table around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in where:
            return where[path[:length]]
    return None


def _origin(path: tree.Path, origins: Mapping[str, str]) -> str:
    for length in range(len(path), 0, -1):
        key = ".".join(str(part) for part in path[:length])
        if key in origins:
            return origins[key]
    return ""


def _settle(
    config: Config, file: Path | None, home: Path, environ: Mapping[str, str], origins: dict[str, str]
) -> Config:
    soft = []
    for notifier in config.notifiers:
        url, trouble = secrets.of_notifier(notifier, home, environ)
        notifier.settle(url, trouble)
        if trouble:
            soft.append(f"notifiers.{text.clean(notifier.name)}: {trouble}")
    if config.heartbeat_url is not None:
        url, trouble = secrets.expand(config.heartbeat_url.get_secret_value().strip(), environ)
        if trouble:
            soft.append(f"heartbeat_url: {trouble}")
        config = config.model_copy(update={"heartbeat_url": None if trouble else SecretStr(url)})
    every = {".".join(path): "default" for path, _info in tree.leaves(Config)}
    config.settle(origins=every | origins, file=file, soft=tuple(soft))
    return config
