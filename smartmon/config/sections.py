"""The sections of the config file. Every field has a default, its bounds, and the sentence that documents it.

Nothing else in the project holds a default: the example file, the schema and `config show` are made from these fields.
Detectors are sections too; they live in `smartmon.detectors`.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr

from smartmon.config.kinds import known_kind
from smartmon.detectors.settings import Detectors, JudgeSettings
from smartmon.errors import ConfigError
from smartmon.params import Bytes, Duration, LinePattern, Params
from smartmon.records import Severity

Kind = Annotated[str, AfterValidator(known_kind)]


class Monitor(Params):
    """How files are watched."""

    poll_interval: Duration = Field(10.0, ge=0.05, le=3600, description="Time between two full looks at every source.")
    status_interval: Duration = Field(1.0, ge=0.05, le=3600, description="Time between two looks at the status file.")
    watch: Literal["auto", "inotify", "poll"] = Field(
        "auto", description="Use inotify to notice changes at once; `poll` never does; `auto` does where it works."
    )
    host_interval: Duration = Field(
        30.0, ge=1, le=3600, description="Time between two looks at disk, memory and GPUs while something runs."
    )
    stats_every: int = Field(500, ge=1, description="Log a `Monitoring: Step N` line every so many steps.")


def _as_judged(name: str) -> Any:
    """Return the field that the judge declares, so that its default, bounds and description stand in one place."""
    return JudgeSettings.model_fields[name]


class DetectorsSection(Detectors):
    """When something counts as an anomaly."""

    loss_window: int = _as_judged("loss_window")
    noise_guard: bool = _as_judged("noise_guard")
    accuracy_unit: Literal["auto", "percent", "fraction"] = _as_judged("accuracy_unit")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class RunEntry(Params):
    """A run that cannot be found by looking, or what cannot be read of one that can."""

    name: str = Field(min_length=1, max_length=200, description="What to call it.")
    path: Path = Field(description="Its folder.")
    logs: tuple[Path, ...] = Field((), description="Log files to read, whatever their names.")
    pattern: Annotated[tuple[LinePattern, ...], BeforeValidator(_listed)] = Field(
        (), description="Regular expressions whose named groups (step, loss, ...) read the lines of its logs."
    )
    keys: dict[str, str] = Field(
        {}, description="What the keys of its logs mean: theirs = ours; a dot reaches into nested objects."
    )
    checkpoint_dir: Path | None = Field(None, description="Where its checkpoints appear, when not in its folder.")
    total_steps: int | None = Field(None, ge=1, description="How many steps it will take, when no file says so.")
    warmup_steps: int | None = Field(None, ge=0, description="Steps of learning-rate warm-up.")
    max_lr: float | None = Field(None, gt=0, description="The highest learning rate it is meant to reach.")
    accuracy_unit: Literal["auto", "percent", "fraction"] | None = Field(
        None, description="In place of detectors.accuracy_unit, for this run."
    )


KEEP_WITHIN = {"loss_spike": 7 * 86400.0, "default": 30 * 86400.0}


class Snapshots(Params):
    """What is copied, how much room it may take, and how long it is kept."""

    min_steps_between_saves: int = _as_judged("min_steps_between_saves")
    checkpoint_grace: Duration = Field(
        600.0, ge=0, le=86400, description="How long a best model waits for the checkpoint of its own step."
    )
    settle: Duration = Field(
        2.0, ge=0.01, le=600, description="How long a checkpoint without a completion marker must stand still."
    )
    kinds: tuple[Kind, ...] = _as_judged("snapshot_kinds")
    exclude: tuple[str, ...] = Field((), description='File patterns to leave out of copies, such as "optimizer*".')
    hard_links: bool = Field(
        False, description="Link instead of copying; only for trainers that never write into a file they have finished."
    )
    max_bytes: Bytes | None = Field(
        None, ge=0, description="Room for all snapshots together; by default a quarter of the file system."
    )
    min_free_percent: float = Field(
        5.0, ge=0, le=95, description="Share of the file system that a copy must leave free, in percent."
    )
    min_free_least: Bytes = Field(2 * 2**30, ge=0, description="Never leave less than this free.")
    min_free_most: Bytes = Field(50 * 2**30, ge=0, description="Never ask for more free room than this.")
    keep_best: Literal["all"] | Annotated[int, Field(ge=0)] = Field(
        "all", description="Best models of a run whose snapshots stay in the history."
    )
    keep_best_weights: int = Field(3, ge=1, description="The best models of a run that also keep their weights.")
    keep_last: int = Field(5, ge=0, description="The newest snapshots of a run stay, whatever their age.")
    keep_within: Annotated[dict[str, Duration], AfterValidator(lambda given: {**KEEP_WITHIN, **given})] = Field(
        KEEP_WITHIN, description="How long a snapshot of each kind stays; `default` is for the kinds not named."
    )


def _quiet(value: str) -> str:
    match = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", value)
    if match is None or int(match[1]) > 23 or int(match[3]) > 23 or int(match[2]) > 59 or int(match[4]) > 59:
        raise ValueError('must be two times of day, like "22:00-07:00"')
    return value


class Notifier(Params):
    """Someone to tell, and what about. The URL is one that Apprise reads."""

    name: str = Field(min_length=1, max_length=100, description="What to call it in logs and messages.")
    url: SecretStr | None = Field(
        None, description="An Apprise URL; `${NAME}` in it stands for an environment variable."
    )
    url_file: Path | None = Field(None, description="A file that holds the URL, to keep it out of this one.")
    min_severity: Severity = Field(Severity.WARNING, description="Send nothing milder than this.")
    kinds: tuple[Kind, ...] = Field((), description="Send only these kinds of incident; empty for all.")
    quiet_hours: Annotated[str, AfterValidator(_quiet)] | None = Field(
        None, description='Local times between which only critical ones are sent, such as "22:00-07:00".'
    )

    _resolved: str = PrivateAttr("")
    _trouble: str = PrivateAttr("its URL was never read")

    def settle(self, resolved: str, trouble: str) -> None:
        """Take the URL that the loader worked out, or the sentence that says why it could not."""
        self._resolved, self._trouble = resolved, trouble

    def resolve(self) -> str:
        """Return the URL with environment variables and file read. Raises ConfigError where that failed."""
        if self._trouble:
            raise ConfigError(f"notifier {self.name}: {self._trouble}")
        return self._resolved


class Alerts(Params):
    """How alerts are delivered."""

    reminder: Duration = _as_judged("reminder")
    wait_for_snapshot: Duration = Field(
        5.0, ge=0, le=300, description="How long an alert waits so that it can say what was kept."
    )
    timeout: Duration = Field(30.0, ge=1, le=600, description="Time that one delivery may take.")
    give_up: Duration = Field(86400.0, ge=60, description="How long a failing delivery is tried again.")
    digest_runs: int = Field(5, ge=2, description="Alerts of so many runs at once become one message.")
    charts: bool = Field(
        True, description="Attach a small chart to an alert, where matplotlib is installed and the service takes files."
    )


def _argv(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError('must be a list of words, like ["./notify.sh", "--now"]; no shell reads it')
    return value


class Hook(Params):
    """A program to run when something happens; it gets the event as JSON on its standard input."""

    name: str | None = Field(None, description="What to call it; by default its program.")
    on: tuple[Kind, ...] = Field(min_length=1, description="Kinds of incident or event that start it.")
    run: Annotated[tuple[str, ...], BeforeValidator(_argv)] = Field(
        min_length=1, description="The program and its arguments; no shell reads them."
    )
    timeout: Duration = Field(30.0, ge=1, le=3600, description="Time that it may take.")
    min_severity: Severity = Field(Severity.INFO, description="Do not start it for anything milder.")

    @property
    def label(self) -> str:
        """Its name, or the name of its program."""
        return self.name or Path(self.run[0]).name


class Log(Params):
    """What smartmon writes about itself."""

    format: Literal["auto", "text", "json"] = Field(
        "auto", description="`auto` is JSON under systemd's journal, else text."
    )
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")


class Dashboard(Params):
    """The web page."""

    enabled: bool = Field(False, description="Serve it from the daemon.")
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8081, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    public_url: str | None = Field(None, description="Where people reach it; alerts link there.")


def _loopback(value: str) -> str:
    try:
        local = value == "localhost" or ipaddress.ip_address(value).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ValueError('must be an address of this machine alone, like "127.0.0.1"')
    return value


class Push(Params):
    """Hugging Face's Trainer from 5.4 on may post its progress here: set KUBEFLOW_TRAINER_SERVER_URL for it."""

    enabled: bool = Field(False, description="Take what is posted.")
    host: Annotated[str, AfterValidator(_loopback)] = Field(
        "127.0.0.1", description="Address to listen on, of this machine alone."
    )
    port: int = Field(8082, ge=1, le=65535, description="Port to listen on.")
    token_file: Path | None = Field(
        None,
        description="File with the token that a post must show, made if it is missing; by default push/token in the "
        "state_dir.",
    )


class StoreSection(Params):
    """How long the database remembers."""

    keep_events_days: float = Field(
        90.0, gt=0, description="Days that events, sent deliveries, and the metrics of runs that are gone are kept."
    )
    max_events: int = Field(200_000, ge=1000, description="At most so many events are kept.")
