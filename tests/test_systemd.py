"""The systemd units that are shipped: sound, sandboxed, and running commands that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = ["smartmon.service", "smartmon@.service", "user/smartmon.service"]

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings(unit: Path) -> dict[str, list[str]]:
    """Key -> values of a unit file, in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong(root: Path, tmp_path: Path, name: str) -> None:
    text = (root / "systemd" / name).read_text(encoding="utf-8")
    # verify wants the program to be there; any will do.
    copy = tmp_path / Path(name).name
    copy.write_text(re.sub(r"(?m)^(Exec\w+=)\S+/bin/smartmon", rf"\1{sys.executable}", text), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", UNITS[:2])
def test_the_exposure_is_at_most_two(root: Path, name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20"]
    done = subprocess.run([*command, str(root / "systemd" / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_restarts_what_failed_but_not_what_cannot_start(root: Path, name: str) -> None:
    unit = settings(root / "systemd" / name)
    assert unit["Type"] == ["notify"]
    assert unit["WatchdogSec"] == ["60"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == ["2 5"]
    assert "smartmon config check" in unit["ExecStartPre"][0]


@pytest.mark.parametrize("name", UNITS[:2])
def test_the_sandbox_leaves_the_gpus_visible(root: Path, name: str) -> None:
    unit = settings(root / "systemd" / name)
    assert "PrivateDevices" not in unit
    assert any(value.startswith("char-nvidia") for value in unit["DeviceAllow"])


def test_the_template_may_write_its_directory_and_nothing_else(root: Path) -> None:
    unit = settings(root / "systemd" / "smartmon@.service")
    assert unit["ReadWritePaths"] == ["%f"]
    assert unit["ProtectSystem"] == ["strict"]


@pytest.mark.parametrize("name", UNITS)
def test_every_setting_that_is_not_plain_is_explained(root: Path, name: str) -> None:
    lines = (root / "systemd" / name).read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("# ") for line in lines) * 2 >= len(settings(root / "systemd" / name))


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_commands_with_options_that_exist(root: Path, name: str, tmp_path: Path) -> None:
    unit = settings(root / "systemd" / name)
    for line in unit["ExecStartPre"] + unit["ExecStart"]:
        words = line.split()[1:]
        done = subprocess.run(
            [sys.executable, "-m", "smartmon", *words, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert all(word in done.stdout for word in words if word.startswith("--"))
