"""What a job is trained with: the queue's settings and the job's own over them, as the file the trainer reads."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smartmon import text
from smartmon.config import problems
from smartmon.errors import ConfigError, UsageError
from smartmon.records import Json
from smartmon.trainer.settings import TrainSettings

OWN = ("dataset", "base_dir", "output_dir", "resume", "adapter")
"""Settings that the queue decides for each job."""
DEFAULT_FILE = "train.toml"


def load(path: Path) -> dict[str, Json]:
    """Read a file of training settings: its top level, or its table `[train]`; raise ConfigError."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f'no settings at {text.clean(path)}; write one with: model = "path/of/the/model"') from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the settings in {text.clean(path)}: {text.clean(error)}") from None
    table = found.get("train", found)
    if not isinstance(table, dict):
        raise ConfigError(f"{text.clean(path)}: train must be a table, like [train]")
    return with_paths(table, path.parent)


def with_paths(settings: Mapping[str, Json], home: Path) -> dict[str, Json]:
    """Return the settings with their paths made absolute from `home`, where something is there.

    A model that is no folder is left as it is: it is a name on the hub.
    """
    result = dict(settings)
    for name in ("model", "eval_dataset"):
        value = result.get(name)
        if isinstance(value, str) and (home / Path(value).expanduser()).exists():
            result[name] = str((home / Path(value).expanduser()).absolute())
    return result


def assigned(pairs: Sequence[str]) -> dict[str, Json]:
    """Read `key=value` words; raise UsageError. A value is read as TOML has it, else as text."""
    result: dict[str, Json] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        name = key.strip().removeprefix("--").replace("-", "_")
        if not equals or not name:
            raise UsageError(f"--set {text.clean(pair)} must be like: --set learning_rate=1e-4")
        result[name] = _value(value.strip())
    return with_paths(result, Path.cwd())


def _value(written: str) -> Json:
    try:
        found = tomllib.loads(f"value = {written}")["value"]
    except ValueError:
        return written
    return found if isinstance(found, (bool, int, float, str, list)) else written


def check(settings: Mapping[str, Json], where: str) -> None:
    """Raise ConfigError that lists every setting that no training would take; `where` says whose they are."""
    own = [name for name in OWN if name in settings]
    if own:
        raise ConfigError(f"{where}: {', '.join(own)} cannot be set, the queue decides it for each job")
    needed = {"dataset": "data.jsonl", "model": "model"}
    try:
        TrainSettings.model_validate({**needed, **settings})
    except ValidationError as error:
        found = problems.from_validation(error, TrainSettings, settings)
        rows = [("", ".".join(map(str, problem.path)), problem.message) for problem in found]
        raise ConfigError(problems.report(where, rows)) from None


def write(settings: Mapping[str, Json]) -> str:
    """Return the settings as TOML."""
    return "".join(f"{name} = {_toml(value)}\n" for name, value in settings.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the one control character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
