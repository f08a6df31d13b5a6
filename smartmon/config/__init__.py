"""The configuration: its sections, where it is read from, and what is wrong with it.

`load` is the only function below the daemon that touches files or the environment by itself.
"""

from __future__ import annotations

from smartmon.config.loading import load
from smartmon.config.model import MASK, Config, fixed_part
from smartmon.config.sections import (
    Alerts,
    Dashboard,
    DetectorsSection,
    Hook,
    Log,
    Monitor,
    Notifier,
    RunEntry,
    Snapshots,
    StoreSection,
)

__all__ = [
    "MASK",
    "Alerts",
    "Config",
    "Dashboard",
    "DetectorsSection",
    "Hook",
    "Log",
    "Monitor",
    "Notifier",
    "RunEntry",
    "Snapshots",
    "StoreSection",
    "fixed_part",
    "load",
]
