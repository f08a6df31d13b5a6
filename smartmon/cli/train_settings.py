"""The settings of a training from a TOML file and the command line; every problem at once, in sentences."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smartmon import text
from smartmon.config import problems
from smartmon.config.toml_lines import lines
from smartmon.errors import ConfigError, UsageError
from smartmon.trainer.settings import TrainSettings

_PATHS = ("dataset", "base_dir", "output_dir", "eval_dataset", "adapter")
_LISTS = ("target_modules", "modules_to_save")
_OPTIONS = {"quantize": "use-qlora"}
_TABLE = "train"


def settings_of(
    given: Mapping[str, Any], config: Path | None = None, *, below: Mapping[str, Any] | None = None
) -> TrainSettings:
    """Return the command line (`given`) over `below` over the file over the defaults.

    The file has the names of TrainSettings, at its top or in a table `[train]`; paths in it are relative to it.
    Raises ConfigError with every problem, UsageError when the file cannot be read.
    """
    from_line = {name: _listed(value) if name in _LISTS else value for name, value in given.items()}
    content = _content(config) if config is not None else ""
    table = _table(content, config) if config is not None else {}
    from_file = _anchored(table, config.parent) if config is not None else {}
    values = {**from_file, **(below or {}), **from_line}
    try:
        return TrainSettings.model_validate(values)
    except ValidationError as error:
        found = problems.from_validation(error, TrainSettings, values)
        raise ConfigError(_message(found, config, content, from_line)) from None


def _message(found: list[problems.Problem], config: Path | None, content: str, from_line: Mapping[str, Any]) -> str:
    where = lines(content) if content else {}
    rows = []
    for problem in found:
        name = str(problem.path[0])
        number = where.get((name,)) or where.get((_TABLE, name))
        if name in from_line or config is None:
            rows.append((0, "", f"--{_OPTIONS.get(name, name).replace('_', '-')}", problem.message))
        else:
            rows.append((number or 0, f"line {number}:" if number else "", name, problem.message))
    title = "the command line" if config is None else text.clean(config)
    if all(name.startswith("--") for _number, _place, name, _message in rows):
        title = "the command line"
    return problems.report(title, [row[1:] for row in sorted(rows, key=lambda row: row[0])])


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the settings {text.clean(path)}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read the settings {text.clean(path)}: it is not UTF-8 text") from None


def _table(content: str, path: Path | None) -> dict[str, Any]:
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{text.clean(path)} is not TOML: {error}") from None
    inner = table.get(_TABLE)
    return inner if isinstance(inner, dict) else table


def _anchored(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative paths of a file count from its folder. A model's name stays one unless a folder is there."""
    found = {
        name: str(folder / value) if name in _PATHS and isinstance(value, str) else value
        for name, value in table.items()
    }
    for name in ("model", "resume"):
        value = found.get(name)
        if isinstance(value, str) and value not in ("", "auto", "none") and (folder / value).is_dir():
            found[name] = str(folder / value)
    return found


def _listed(values: list[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
