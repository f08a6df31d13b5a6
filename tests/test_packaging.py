"""What a person gets who installs smartmon."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import smartmon


@pytest.fixture
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "smartmon", *words], capture_output=True, text=True, check=False, **options
    )


def test_a_base_install_brings_nothing_that_trains(project: dict[str, Any]) -> None:
    names = {re.split(r"[^A-Za-z0-9_-]", need)[0].lower() for need in project["project"]["dependencies"]}
    assert names == {"apprise", "pydantic", "structlog", "typer", "watchdog", "wrapt"}


def test_every_dependency_has_a_floor_and_no_ceiling(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    needs = project["project"]["dependencies"] + [
        need for name, all_ in extras.items() if name != "all" for need in all_
    ]
    assert [need for need in needs if not re.fullmatch(r"[A-Za-z0-9_-]+>=[\d.]+", need)] == []


def test_all_is_every_extra_for_people(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    inside = re.fullmatch(r"smartmon\[(.*)\]", extras["all"][0])
    assert inside is not None
    assert set(inside[1].split(",")) == set(extras) - {"all", "dev"}


def test_every_exception_to_the_linter_has_its_reason(root: Path) -> None:
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    ignored = text.partition("[tool.ruff.lint]")[2].partition("[tool.mypy]")[0].partition("ignore = [")[2]
    rows = [row.strip() for row in ignored.splitlines() if re.match(r'\s*"[A-Z]+\d*",', row)]
    assert rows
    repeated = {'"S",', '"T20",'}
    assert [row for row in rows if "#" not in row and row not in repeated] == []


def test_the_version_is_the_installed_one() -> None:
    assert run("--version").stdout == f"smartmon {smartmon.__version__}\n"
    assert metadata.version("smartmon") == smartmon.__version__


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(smartmon.__file__).parent / "py.typed").exists()


def test_it_works_without_home_terminal_or_utf8(tmp_path: Path) -> None:
    bare = {"PATH": os.environ["PATH"], "LANG": "C", "PYTHONUTF8": "0"}
    done = run("config", "check", env=bare, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered(shell: str) -> None:
    # Typer reads the shell's name from this variable where it cannot look at the parent process.
    done = run("--show-completion", shell, env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert done.returncode == 0, done.stderr
    assert "_SMARTMON_COMPLETE" in done.stdout


def test_completion_completes_commands() -> None:
    environ = os.environ | {"_SMARTMON_COMPLETE": "complete_bash", "COMP_WORDS": "smartmon sna", "COMP_CWORD": "1"}
    script = Path(sys.executable).parent / "smartmon"
    done = subprocess.run([str(script)], env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["snapshots"]


@pytest.mark.slow
def test_the_wheel_brings_the_units_the_example_and_the_licence(root: Path, tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling.build", reason="hatchling is not installed")
    import zipfile

    here = Path.cwd()
    os.chdir(root)
    try:
        wheel = tmp_path / hatchling.build_wheel(str(tmp_path))
    finally:
        os.chdir(here)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    share = f"smartmon-{smartmon.__version__}.data/data/share/smartmon/"
    wanted = {
        share + "config.example.toml",
        share + "systemd/smartmon@.service",
        share + "systemd/user/smartmon.service",
        share + "systemd/sysctl.d/60-smartmon.conf",
        "smartmon/py.typed",
        f"smartmon-{smartmon.__version__}.dist-info/licenses/LICENSE",
    }
    assert wanted <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
