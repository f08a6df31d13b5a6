"""The page as it is built: what it weighs, what it may load, and that it knows the server's answers field by field."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
UI = ROOT / "smartmon/web/ui"
STATIC = ROOT / "smartmon/web/static"
HEAVIEST = 200_000
"""Bytes of JavaScript and CSS together, gzipped."""

needs_page = pytest.mark.skipif(
    not (STATIC / "index.html").is_file(), reason="the page is not built: cd smartmon/web/ui && npm ci && npm run build"
)
needs_tools = pytest.mark.skipif(
    not (UI / "node_modules").is_dir() or shutil.which("node") is None,
    reason="the page's tools are not installed: cd smartmon/web/ui && npm ci",
)


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(path: Path, prints: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return path


def checkout(root: Path) -> tuple[Path, Path]:
    source = root / "smartmon/web/ui/src/main.tsx"
    built = root / "smartmon/web/static/index.html"
    for path in (source, built, root / "smartmon/web/ui/node_modules/vite/index.js"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return source, built


def interfaces(text: str) -> dict[str, set[str]]:
    """Return the fields of each interface of a TypeScript file."""
    found = re.findall(r"^export interface (\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    return {name: set(re.findall(r"^  (\w+)\??:", body, re.MULTILINE)) for name, body in found}


@pytest.mark.parametrize("name", ["models", "models_detail"])
def test_the_page_knows_every_field_that_the_server_answers(name: str) -> None:
    pytest.importorskip("pydantic")
    module = importlib.import_module(f"smartmon.web.{name}")
    base = importlib.import_module("smartmon.web.models").Answer
    answered = {
        key: set(value.model_fields)
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and value.model_fields
    }
    assert interfaces((UI / f"src/{name}.ts").read_text()) == answered


@needs_page
def test_the_page_is_light() -> None:
    files = [path for path in STATIC.rglob("*") if path.suffix in (".js", ".css")]
    assert {path.suffix for path in files} == {".js", ".css"}
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < HEAVIEST


@needs_page
def test_the_page_holds_nothing_that_its_security_policy_forbids() -> None:
    text = (STATIC / "index.html").read_text()
    assert not re.findall(r"<script(?![^>]*\ssrc=)", text)
    assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert all(address.startswith("./") for address in re.findall(r'(?:src|href)="([^"]*)"', text))
    assert "data:" not in "".join(path.read_text() for path in STATIC.rglob("*.css"))


def test_the_lock_names_no_host() -> None:
    text = (UI / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert (
        json.loads(text)["packages"][""]["devDependencies"]
        == json.loads((UI / "package.json").read_text())["devDependencies"]
    )


@needs_tools
@pytest.mark.slow
def test_the_sources_of_the_page_are_sound() -> None:
    command = ["node", "node_modules/typescript/bin/tsc", "--noEmit"]
    done = subprocess.run(command, cwd=UI, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("said", "fit"),
    [
        ("v18.20.4", False),
        ("v20.18.3", False),
        ("v20.19.0", True),
        ("v21.7.0", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.1.0", True),
        ("what?", False),
    ],
)
def test_only_a_node_that_runs_the_tools_is_taken(hook: ModuleType, tmp_path: Path, said: str, fit: bool) -> None:
    assert hook.is_fit(str(program(tmp_path / "node", said))) is fit


def test_an_old_node_is_passed_over_for_a_fit_one_behind_it(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("old", "v18.1.0"), ("new", "v22.12.0")):
        program(tmp_path / folder / "node", version)
        program(tmp_path / folder / "npm", "10.0.0")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "old"), str(tmp_path / "new"), "/bin"]))
    npm, path = hook.find_npm()
    assert npm == str(tmp_path / "new/npm")
    assert path.startswith(f"{tmp_path}/new:")


def test_the_page_is_built_again_only_when_a_source_is_newer(hook: ModuleType, tmp_path: Path) -> None:
    source, built = checkout(tmp_path)
    os.utime(source, (1000, 1000))
    os.utime(built, (2000, 2000))
    for path in (tmp_path / "smartmon/web/ui").rglob("*"):
        os.utime(path, (3000, 3000) if "node_modules" in path.parts else (1000, 1000))
    assert hook.is_built(tmp_path)
    os.utime(source, (2001, 2001))
    assert not hook.is_built(tmp_path)


def test_a_page_that_was_never_built_is_to_be_built(hook: ModuleType, tmp_path: Path) -> None:
    _, built = checkout(tmp_path)
    built.unlink()
    assert not hook.is_built(tmp_path)


def test_without_node_the_build_asks_for_one_and_says_how_to_do_without(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "find_npm", lambda: None)
    wanted = hook.BuildPage(str(tmp_path), {}, None, None, str(tmp_path), "wheel").dependencies()
    assert wanted == [hook.NODE]
    with pytest.raises(SystemExit, match=r"Node\.js 20\.19(.|\n)*SMARTMON_SKIP_UI=1"):
        hook.build(tmp_path)


def test_a_build_that_fails_shows_its_last_lines(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout(tmp_path)
    program(tmp_path / "bin/node", "v22.12.0")
    npm = tmp_path / "bin/npm"
    npm.write_text("#!/bin/sh\necho 'no such package'\nexit 7\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), "/bin", "/usr/bin"]))
    with pytest.raises(SystemExit, match=r"npm ci .*ended with 7\nno such package"):
        hook.build(tmp_path)


def test_only_a_checkout_is_installed_where_the_page_cannot_be_built(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout(tmp_path)[1].unlink()
    monkeypatch.setattr(hook, "find_npm", lambda: None)
    page = hook.BuildPage(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    page.initialize("editable", {"artifacts": []})
    assert "installed without the dashboard's page" in "".join(capsys.readouterr())
    with pytest.raises(SystemExit):
        page.initialize("standard", {"artifacts": []})
