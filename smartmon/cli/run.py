"""`smartmon run`: the daemon."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from smartmon.cli.options import (
    AccuracyDropThreshold,
    BaseDirs,
    ConfigPath,
    LossSpikeThreshold,
    LossWindow,
    MinSteps,
    NoiseGuard,
    Profile,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    loss_spike_threshold: LossSpikeThreshold = None,
    accuracy_drop_threshold: AccuracyDropThreshold = None,
    poll_interval: Annotated[
        float | None, typer.Option(help="Seconds between two scans of everything.", show_default="10")
    ] = None,
    min_steps_between_saves: MinSteps = None,
    loss_window: LossWindow = None,
    profile: Profile = None,
    noise_guard: NoiseGuard = None,
    once: Annotated[bool, typer.Option("--once", help="Read what is there, act on it, and exit.")] = False,
    dashboard: Annotated[
        bool | None,
        typer.Option("--dashboard/--no-dashboard", help="Serve the web page as well.", show_default="no-dashboard"),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address the dashboard binds to.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port the dashboard binds to.", show_default="8081")] = None,
    log_format: Annotated[
        str | None, typer.Option(help="text or json.", show_default="text; json under systemd")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
) -> None:
    """Watch training directories until told to stop.

    Reads what the trainers write and never touches their checkpoints. SIGTERM and Ctrl-C end it within 5 seconds and
    lose nothing; SIGHUP reads the config again.

    Example: smartmon run --base-dir ~/train --loss-spike-threshold 0.2
    """
    from smartmon import lean

    lean.prepare()
    from smartmon.cli.context import load_config
    from smartmon.daemon import Daemon

    given: dict[str, Any] = {
        "detectors.loss_spike.threshold": loss_spike_threshold,
        "detectors.accuracy_drop.threshold": accuracy_drop_threshold,
        "monitor.poll_interval": poll_interval,
        "snapshots.min_steps_between_saves": min_steps_between_saves,
        "detectors.loss_window": loss_window,
        "detectors.noise_guard": noise_guard,
        "profile": profile,
        "dashboard.enabled": dashboard,
        "dashboard.host": host,
        "dashboard.port": port,
        "log.format": log_format,
        "log.level": log_level,
    }
    overrides = {key: value for key, value in given.items() if value is not None}
    daemon = Daemon(lambda: load_config(base_dir, config, overrides), os.environ)
    raise typer.Exit(daemon.run(once=once))
