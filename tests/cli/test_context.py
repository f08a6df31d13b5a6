"""Which database a command reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartmon.cli.context import database_path, open_store
from smartmon.config import Config, load
from smartmon.errors import StoreError
from smartmon.store import Store


def config(base: Path) -> Config:
    return load(environ={}, cwd=base.parent, base_dirs=[base])


def database(base: Path, at: float) -> Path:
    path = base / ".smartmon" / "smartmon.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    Store.open(path).close()
    os.utime(path, (at, at))
    return path


def pointer(base: Path, target: Path, at: float) -> None:
    path = base / ".smartmon" / "database"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{target}\n")
    os.utime(path, (at, at))


def test_a_secondary_base_dir_leads_to_the_first_ones_database(tmp_path: Path) -> None:
    first = database(tmp_path / "a", at=1000)
    pointer(tmp_path / "b", first, at=1000)
    assert database_path(config(tmp_path / "b")) == first
    open_store(config(tmp_path / "b")).close()


def test_a_base_dir_that_changed_roles_follows_the_newer_one(tmp_path: Path) -> None:
    first, own = database(tmp_path / "a", at=1000), database(tmp_path / "b", at=2000)
    pointer(tmp_path / "b", first, at=1000)
    assert database_path(config(tmp_path / "b")) == own
    pointer(tmp_path / "b", first, at=3000)
    assert database_path(config(tmp_path / "b")) == first


def test_a_pointer_that_leads_nowhere_is_ignored(tmp_path: Path) -> None:
    own = database(tmp_path / "b", at=1000)
    pointer(tmp_path / "b", tmp_path / "gone.db", at=2000)
    assert database_path(config(tmp_path / "b")) == own


def test_without_a_database_the_way_to_start_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StoreError, match=f"no daemon has run here yet; .* smartmon run --base-dir {tmp_path}/a"):
        open_store(config(tmp_path / "a"))
    with pytest.raises(StoreError, match="there is no folder"):
        open_store(config(tmp_path / "gone"))
    assert list((tmp_path / "a").iterdir()) == []


def test_the_command_to_start_one_can_be_copied_whatever_the_folder_s_name(tmp_path: Path) -> None:
    (tmp_path / "my run").mkdir()
    with pytest.raises(StoreError) as told:
        open_store(config(tmp_path / "my run"))
    assert str(told.value).endswith(f"smartmon run --base-dir '{tmp_path}/my run'")
