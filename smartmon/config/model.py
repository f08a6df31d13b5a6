"""The whole configuration as one frozen value, passed explicitly to whoever needs it."""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, SecretStr

from smartmon.config.sections import (
    Alerts,
    Dashboard,
    DetectorsSection,
    Hook,
    Log,
    Monitor,
    Notifier,
    Push,
    RunEntry,
    Snapshots,
    StoreSection,
)
from smartmon.detectors.settings import Detectors, JudgeSettings, Phase
from smartmon.errors import ConfigError
from smartmon.params import Duration, Params

MASK = "**********"


def fixed_part(base_dir: Path) -> Path:
    """Return a base dir itself, or of a pattern such as `/data/*/run` the folder above its first wildcard."""
    if os.path.lexists(base_dir):
        return base_dir
    plain = itertools.takewhile(lambda part: not glob.has_magic(part), base_dir.parts)
    return Path(*plain)


class Config(Params):
    """What the command line, the environment, the file and the defaults add up to."""

    base_dirs: tuple[Path, ...] = Field(
        (), description="Training directories to watch; by default the current directory."
    )
    state_dir: Path = Field(
        Path(".smartmon"), description="Where the database lives; by default .smartmon in the first base dir."
    )
    snapshots_root: Path | None = Field(
        None,
        alias="snapshots_dir",
        description="Where snapshots go (with several base dirs, one folder in it for each); by default snapshots in "
        "the base dir.",
    )
    log_root: Path | None = Field(
        None, alias="log_dir", description="Where smartmon's own log goes; by default logs in the base dir."
    )
    profile: str = Field(
        "moderate",
        description="A named set of thresholds: conservative, moderate, aggressive, early, stable or fine-tune.",
    )
    heartbeat_url: SecretStr | None = Field(
        None, description="Called while every worker is healthy, so that smartmon's own silence is noticed."
    )
    heartbeat_interval: Duration = Field(60.0, ge=5, le=86400, description="Time between two calls of it.")
    monitor: Monitor = Field(Monitor(), description="How files are watched.")
    detectors: DetectorsSection = Field(DetectorsSection(), description="When something counts as an anomaly.")
    phases: tuple[Phase, ...] = Field(
        (), description="Other thresholds for the first part of a run, in order of steps."
    )
    snapshots: Snapshots = Field(Snapshots(), description="What is copied, how much room it takes, how long it stays.")
    alerts: Alerts = Field(Alerts(), description="How alerts are delivered.")
    notifiers: tuple[Notifier, ...] = Field((), description="Whom to tell, and what about.")
    hooks: tuple[Hook, ...] = Field((), description="Programs to run when something happens.")
    runs: tuple[RunEntry, ...] = Field((), description="Runs that cannot be found by looking.")
    log: Log = Field(Log(), description="What smartmon writes about itself.")
    dashboard: Dashboard = Field(Dashboard(), description="The web page.")
    push: Push = Field(Push(), description="Live values that Hugging Face's Trainer posts.")
    store: StoreSection = Field(StoreSection(), description="How long the database remembers.")

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _file: Path | None = PrivateAttr(None)
    _soft: tuple[str, ...] = PrivateAttr(())

    def settle(self, *, origins: Mapping[str, str], file: Path | None, soft: tuple[str, ...]) -> None:
        """Take what the loader knows beyond the values themselves."""
        self._origins, self._file, self._soft = dict(origins), file, soft

    @property
    def origins(self) -> dict[str, str]:
        """Dotted key -> `command line`, `environment SMARTMON_...`, the file, `profile NAME` or `default`."""
        return self._origins

    @property
    def file(self) -> Path | None:
        """The file that was read, if any."""
        return self._file

    @property
    def secret_problems(self) -> tuple[str, ...]:
        """Secrets that could not be read here. A command that only looks can do without; the daemon cannot."""
        return self._soft

    def require_secrets(self) -> None:
        """Raise ConfigError when a secret that alerts need could not be read."""
        if self._soft:
            raise ConfigError("\n".join(["some secrets in the config cannot be read", "", *self._soft]))

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state_dir / "smartmon.db"

    @property
    def push_token_file(self) -> Path:
        """The file with the token that a post must show."""
        return self.push.token_file or self.state_dir / "push" / "token"

    @property
    def dashboard_token_file(self) -> Path:
        """The file with the token that a dashboard asks for which others can reach."""
        return self.state_dir / "dashboard" / "token"

    def snapshots_dir(self, base_dir: Path) -> Path:
        """Where the snapshots of a base dir's runs are kept."""
        if self.snapshots_root is None:
            return base_dir / "snapshots"
        if len(self.base_dirs) < 2:
            return self.snapshots_root
        twins = [other for other in self.base_dirs if other.name == base_dir.name]
        # Two base dirs may share a last name; the digest keeps their snapshots apart whatever their order.
        suffix = "" if len(twins) < 2 else "-" + hashlib.sha256(str(base_dir).encode()).hexdigest()[:6]
        return self.snapshots_root / f"{base_dir.name}{suffix}"

    def log_dir(self, base_dir: Path) -> Path:
        """Where smartmon's own log goes."""
        return self.log_root or fixed_part(base_dir) / "logs"

    def run_entry(self, name: str | None) -> RunEntry | None:
        """Return what the config says of the run of this name."""
        return next((entry for entry in self.runs if entry.name == name), None)

    def judge_settings(self, run_name: str | None = None) -> JudgeSettings:
        """Return everything that decides a verdict on a run."""
        entry = self.run_entry(run_name)
        return JudgeSettings(
            loss_window=self.detectors.loss_window,
            noise_guard=self.detectors.noise_guard,
            accuracy_unit=(entry.accuracy_unit if entry else None) or self.detectors.accuracy_unit,
            min_steps_between_saves=self.snapshots.min_steps_between_saves,
            snapshot_kinds=self.snapshots.kinds,
            phases=self.phases,
            detectors=Detectors.model_validate(
                {name: getattr(self.detectors, name) for name in Detectors.model_fields}
                | dict(self.detectors.installed)
            ),
            reminder=self.alerts.reminder,
        )

    def public(self) -> dict[str, Any]:
        """Return every setting in the words of the config file, secrets masked."""
        shown: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return shown

    def digest(self) -> str:
        """Return twelve hexadecimal digits that change when a setting does; secrets do not take part."""
        text = json.dumps(self.public(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
