"""The documents say what the program does: generated parts are current, examples work, commands are all there."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from smartmon.cli import app
from smartmon.config import load
from smartmon.config.example import example
from smartmon.detectors.settings import Detectors

README = Path(__file__).parent.parent / "README.md"


def commands(group: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


NAMES = dict(commands())


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language in the README."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"))


def rewritten(path: Path, current: str) -> bool:
    """Whether a generated file was stale; it is written anew, so that the second run passes."""
    stale = not path.exists() or path.read_text(encoding="utf-8") != current
    if stale:
        path.write_text(current, encoding="utf-8")
    return stale


def test_the_example_config_is_current(root: Path) -> None:
    assert not rewritten(root / "config.example.toml", example()), "it was stale and has been written anew: commit it"


def test_the_example_config_changes_nothing(root: Path, tmp_path: Path) -> None:
    config = load(root / "config.example.toml", environ={}, cwd=tmp_path, base_dirs=[tmp_path])
    assert config.public() == load(environ={}, cwd=tmp_path).public()


def test_every_line_of_the_example_can_be_uncommented(root: Path, tmp_path: Path) -> None:
    text = (root / "config.example.toml").read_text(encoding="utf-8")
    live = re.sub(r"(?m)^#(?=[\[a-z])", "", text)
    # One of the two is enough, and the other would be too much.
    (tmp_path / "all.toml").write_text(re.sub(r"(?m)^url_file = .*$", "", live), encoding="utf-8")
    config = load(tmp_path / "all.toml", environ={"NTFY_TOPIC": "t", "HEARTBEAT_ID": "i"}, cwd=tmp_path)
    assert config.runs[0].total_steps == 20000
    assert not config.secret_problems


def test_every_setting_is_described(root: Path) -> None:
    text = (root / "config.example.toml").read_text(encoding="utf-8").splitlines()
    keys = [index for index, line in enumerate(text) if re.match(r"#[a-z_]+ = ", line)]
    assert len(keys) > 60
    assert [text[index] for index in keys if not text[index - 1].startswith("# ")] == []


def detectors_table() -> str:
    """What the README says of each detector: its section, what it is, and the first of its numbers."""
    rows = ["| kind | fires at | first setting |", "|---|---|---|"]
    for kind, info in Detectors.model_fields.items():
        section = info.get_default(call_default_factory=True)
        shown = {key: value for key, value in section.model_dump(mode="json").items() if value is not None}
        key = next((key for key in shown if key != "enabled"), "enabled")
        rows.append(f"| `{kind}` | {(info.description or '').rstrip('.')} | `{key} = {json.dumps(shown[key])}` |")
    return "\n".join(rows)


GENERATED = {"detectors": detectors_table}
"""What may stand in the README between `<!-- generated: NAME -->` and `<!-- end -->`."""


def test_the_generated_parts_of_the_readme_are_current() -> None:
    text = README.read_text(encoding="utf-8")

    def current(match: re.Match[str]) -> str:
        return f"{match[1]}\n{GENERATED[match[2]]()}\n{match[3]}"

    fresh = re.sub(r"(?s)(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)", current, text)
    assert not rewritten(README, fresh), "it was stale and has been written anew: commit it"


@pytest.mark.parametrize("kind", Detectors.model_fields)
def test_every_detector_is_in_the_readme(kind: str) -> None:
    assert kind in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(name: str) -> None:
    text = NAMES[name].help or ""
    first = text.split("\n")[0].strip()
    assert first
    assert "\n\nExample: smartmon " in text, "an example, in a paragraph of its own"
    assert first.endswith((".", ":"))
    for option in NAMES[name].params:
        assert getattr(option, "help", "") or option.name == "help", f"{name}: {option.name} has no help"


@pytest.mark.parametrize("group", ["", *sorted({name.split()[0] for name in NAMES if " " in name})])
def test_every_list_of_commands_is_whole_at_80_columns(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [*group.split(), "--help"]).output
    commands_part = shown.partition("Commands:\n")[2].splitlines()
    assert commands_part
    assert [line for line in commands_part if not re.search(r"[a-z]\.$", line)] == []
    assert "Example: smartmon " in shown


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_in_the_readme(name: str) -> None:
    group, _, verb = name.partition(" ")
    text = README.read_text(encoding="utf-8")
    assert re.search(rf"\b{group}\b", text)
    assert re.search(rf"\b{verb or group}\b", text)


def test_the_readme_s_config_blocks_are_valid(tmp_path: Path) -> None:
    found = blocks("toml")
    assert found
    for index, block in enumerate(found):
        tomllib.loads(block)
        path = tmp_path / f"{index}.toml"
        path.write_text(block, encoding="utf-8")
        load(path, environ={}, cwd=tmp_path)


def test_the_readme_tabulates_the_exit_codes() -> None:
    rows = [line for line in README.read_text(encoding="utf-8").splitlines() if re.match(r"\|\s*\d+\s*\|", line)]
    codes = sorted(int(cell) for row in rows for cell in row.split("|") if cell.strip().isdecimal())
    assert codes == [0, 1, 2, 3, 4, 5, 10, 20, 21, 22]


def test_the_readme_s_links_lead_somewhere(root: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (root / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert 20 < len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_documents_name_no_private_place(root: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*.md", "*.toml"], cwd=root, capture_output=True, text=True, check=False
    )
    for name in tracked.stdout.split():
        text = (root / name).read_text(encoding="utf-8")
        assert not re.search(r"/work/|/root/|/tmp/pytest", text), name


def test_the_changelog_has_this_version(root: Path) -> None:
    from smartmon import __version__

    assert f"## {__version__}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
