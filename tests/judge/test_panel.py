"""Detectors of other packages: found, given their section, asked, remembered, and put off when they fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from smartmon.config import load
from smartmon.errors import ConfigError

GUEST = '''
from typing import ClassVar
from pydantic import Field
from smartmon.detectors.base import Detector, Over
from smartmon.detectors.signal import Firing
from smartmon.params import Params
from smartmon.records import Severity

class Hot(Params):
    """Fires when the metric `heat` is above `most`."""
    enabled: bool = Field(True, description="Whether to look.")
    most: float = Field(10.0, gt=0, description="The highest that is fine.")

class TooHot(Detector):
    kind: ClassVar[str] = "too_hot"
    Params = Hot
    metrics = frozenset({"heat"})

    def __init__(self, params):
        super().__init__(params)
        self.times = 0

    def observe(self, moment):
        heat = moment.fresh["heat"]
        if heat > 1000:
            raise RuntimeError("melted")
        if heat <= self.params.most:
            yield Over("too_hot", "cool again")
            return
        self.times += 1
        yield Firing("too_hot", "heat", heat, None, self.params.most, Severity.WARNING, f"too_hot_{self.times}",
                     f"heat is {heat:g} at step {moment.step}.")
'''
REPLAY = """
import sys
from pathlib import Path
from smartmon.cli import main
main(["replay", "--json", *sys.argv[1:]])
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that holds an installed package with a detector, and one whose import fails."""
    place = tmp_path / "site"
    for name, target in {"too_hot": "guest:TooHot", "broken": "no_such_module:Thing"}.items():
        info = place / f"smartmon_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: smartmon-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[smartmon.detectors]\n{name} = {target}\n")
    (place / "guest.py").write_text(GUEST)
    return place


def run(packages: Path, heats: list[float], *options: str, config: str = "") -> dict[str, list[dict[str, object]]]:
    """Replay a log with a heat in each row, in a process that has the packages."""
    log, toml = packages.parent / "train.jsonl", packages.parent / "smartmon.toml"
    log.write_text("".join(json.dumps({"step": i, "loss": 1.0, "heat": heat}) + "\n" for i, heat in enumerate(heats)))
    toml.write_text(config)
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(log), "--config", str(toml), *options],
        capture_output=True, text=True, check=False, timeout=60, env={"PYTHONPATH": str(packages)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    file: dict[str, list[dict[str, object]]] = json.loads(done.stdout)["files"][0]
    return file


def test_a_detector_of_another_package_fires_and_says_when_it_is_over(packages: Path) -> None:
    file = run(packages, [1, 2, 20, 30, 3])
    assert [a["reason"] for a in file["anomalies"] if a["kind"] == "too_hot"] == ["too_hot_1", "too_hot_2"]
    (incident,) = [i for i in file["incidents"] if i["kind"] == "too_hot"]
    assert (incident["start_step"], incident["end_step"], incident["resolution"]) == (2, 3, "cool again")


def test_its_section_in_the_config_is_read_by_its_own_model(packages: Path) -> None:
    file = run(packages, [1, 20, 60], config="[detectors.too_hot]\nmost = 50\n")
    assert [a["step"] for a in file["anomalies"] if a["kind"] == "too_hot"] == [2]


def test_one_that_fails_leaves_the_panel_and_the_rest_goes_on(packages: Path) -> None:
    file = run(packages, [1, 2000, 20, 20])
    (said,) = [a for a in file["anomalies"] if a["kind"] == "too_hot"]
    assert said["severity"] == "info"
    assert "melted" in str(said["message"])
    assert file["observations"] == 4


def test_a_section_that_no_package_brings_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "smartmon.toml").write_text("[detectors.too_hot]\nmost = 50\n")
    with pytest.raises(ConfigError, match=r"detectors\.too_hot  unknown key; there are"):
        load(tmp_path / "smartmon.toml", environ={}, cwd=tmp_path)


def test_doctor_names_what_other_packages_bring_and_what_cannot_be_loaded(packages: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "smartmon", "doctor", "--json", "--base-dir", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60, env={"PYTHONPATH": str(packages)}, cwd=tmp_path,
    )  # fmt: skip
    told = [(c["state"], c["message"], c["fix"]) for c in json.loads(done.stdout)["checks"] if c["name"] == "detectors"]
    assert told[0] == ("ok", "also those of other packages: too_hot", None)
    assert told[1][0] == "warn"
    assert "broken" in told[1][1]
    assert told[1][2] == "mend or uninstall its package"
