"""What most commands begin with: the configuration, and the database that the daemon keeps."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartmon import text
from smartmon.errors import StoreError

if TYPE_CHECKING:
    from smartmon.config import Config
    from smartmon.store import Store

POINTER = Path(".smartmon", "database")
"""In a secondary base dir: the one-line file that names the database of the daemon that watches it."""


def load_config(
    base_dirs: Sequence[Path] | None,
    config_path: Path | None,
    overrides: Mapping[str, Any] | None = None,
    *,
    profile: str | None = None,
) -> Config:
    """Return the configuration that a command runs under. Raises ConfigError with every problem."""
    from smartmon.config import load

    return load(config_path, base_dirs=base_dirs or (), overrides=overrides, environ=os.environ, profile=profile)


def reading_of(config: Config, log: Path, given: Mapping[str, object]) -> Mapping[str, object]:
    """Return how a log is to be read: as was `given` on the command line, else as the run says that names it."""
    from fnmatch import fnmatchcase

    from smartmon.sources.discovery import reading

    if given:
        return given
    full = os.path.realpath(log)
    for entry in config.runs:
        named = [os.path.realpath(each) for each in entry.logs]
        if any(full == each or fnmatchcase(full, each) for each in named):
            return reading(entry)
    return {}


def open_store(config: Config, readonly: bool = True) -> Store:
    """Open the database of the first base dir, wherever it is kept.

    Raises StoreError in plain words when no daemon has run here yet.
    """
    from smartmon.config import fixed_part
    from smartmon.store import Store

    path = database_path(config)
    if not path.is_file():
        base = config.base_dirs[0]
        if not fixed_part(base).is_dir():
            raise StoreError(f"there is no folder {text.clean(base)}; name the training directory with --base-dir")
        raise StoreError(
            f"no daemon has run here yet; start one with: smartmon run --base-dir {shlex.quote(text.clean(base))}"
        )
    return Store.open(path, readonly=readonly)


def database_path(config: Config) -> Path:
    """Return where the database is, or would be: our own, or the one that the first base dir's pointer names."""
    own, pointer = config.database, config.base_dirs[0] / POINTER
    if _age(pointer) > max(_age(own), _age(own.with_name(own.name + "-wal"))):
        return _pointed(pointer) or own
    return own


def _age(path: Path) -> float:
    """Return when a file was last written, or 0: a base dir may have been the first one once, a secondary later."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _pointed(pointer: Path) -> Path | None:
    try:
        with pointer.open("rb") as file:
            named = Path(os.fsdecode(file.read(8192).rstrip(b"\n")))
        return named if named.is_absolute() and named.is_file() else None
    except (OSError, ValueError):
        return None
