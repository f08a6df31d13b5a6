"""Sources: they read what a trainer writes anyway and turn it into observations. One file per format."""

from __future__ import annotations

from smartmon.sources.base import FoundRun, Source, SourceSpec
from smartmon.sources.discovery import Discovery, discover
from smartmon.sources.registry import FORMATS, open_source
from smartmon.sources.sniff import replay_source, sniff

__all__ = [
    "FORMATS",
    "Discovery",
    "FoundRun",
    "Source",
    "SourceSpec",
    "discover",
    "open_source",
    "replay_source",
    "sniff",
]
