"""A module imports only lower layers, and looking at help loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import smartmon
from smartmon.cli import COMMANDS

PACKAGE = Path(smartmon.__file__).parent

LAYERS = [
    "records errors linepattern",
    "params stats text",
    "detectors incidents retention",
    "judge config",
    "canvas",
    "store sources notify snapshots log lock systemd watcher lean host",
    "monitor outbox keeper queries replay trainer figures",
    "web",
    "daemon queue exec",
    "demo",
    "cli",
    "__main__",
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}

HEAVY = {
    "torch",
    "transformers",
    "wrapt",
    "matplotlib",
    "numpy",
    "fastapi",
    "apprise",
    "pydantic",
    "sqlite3",
    "structlog",
}
"""What help must not load: each costs tens or hundreds of milliseconds, or is not there in a base install."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every file with the name that the ranks know: `smartmon/store/chunks.py` belongs to `store`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if inside.name != "__init__.py" or len(inside.parts) > 1:
            # What `python -m` starts stands above everything, wherever it lies.
            yield "__main__" if inside.name == "__main__.py" else inside.parts[0].removesuffix(".py"), path


def imported(path: Path) -> Iterator[str]:
    """Every part of smartmon that a file imports, inside functions and for types too."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "smartmon":
            names = [f"smartmon.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("smartmon.") and "__" not in name)


def test_every_module_has_a_rank() -> None:
    assert {name for name, _path in modules()} <= RANK.keys()


def test_a_module_imports_only_lower_layers() -> None:
    upward = [
        f"{path.relative_to(PACKAGE)} imports {other}, its own layer or above"
        for name, path in modules()
        for other in imported(path)
        if other != name and RANK.get(other, 99) >= RANK.get(name, 99)
    ]
    assert upward == []


def test_the_lower_layers_read_no_clock_and_log_nothing() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}: {node.value.id}.{node.attr}"
        for name, path in modules()
        if RANK.get(name, 0) <= RANK["config"]
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if (node.value.id, node.attr) in {("time", "time"), ("time", "monotonic"), ("time", "sleep")}
        or node.value.id in ("structlog", "logging", "threading", "subprocess", "socket")
    ]
    assert found == []


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import sys\n"
        "from smartmon.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print('LOADED', sorted(set(sys.modules) & {HEAVY!r}))"
    )
    asked = [*([command] if command else []), "--help"]
    done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "Usage: smartmon" in done.stdout
    # Newer Typer reads a command's words with pydantic; the list of commands does without.
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1].removeprefix("LOADED ")))
    assert loaded - ({"pydantic"} if command else set()) == set()


def test_the_list_of_commands_loads_little() -> None:
    """Each module costs about a millisecond (`benchmarks/daemon.py` takes the time); a command's own help has 400."""
    code = (
        "import sys\nfrom smartmon.cli import main\ntry:\n    main(['--help'])\nfinally:\n    print(len(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert int(done.stdout.splitlines()[-1]) < 230
