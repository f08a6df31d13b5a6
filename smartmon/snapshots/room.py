"""How much room there is for snapshots, and how much must stay for the trainer's own next saves."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from smartmon.records import Snapshot
from smartmon.snapshots.listing import folder_at, list_tree
from smartmon.text import size

_INODES_LEFT = 1000
"""Entries that must stay free for everybody else, on file systems that count them and have at least ten times that."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What config says about room."""

    min_free_percent: float
    min_free_least: int
    min_free_most: int
    max_bytes: int | None


@dataclass(frozen=True, slots=True)
class Need:
    """What a copy will take."""

    bytes: int
    files: int
    largest_checkpoint: int
    """Twice this must stay free for the trainer's next saves; 0 where they go to another file system."""


def most(folder: Path, limits: Limits) -> int:
    """The most bytes that all snapshots together may take."""
    if limits.max_bytes is not None:
        return limits.max_bytes
    stats = os.statvfs(folder)
    return stats.f_blocks * stats.f_frsize // 4


def lacking(folder: Path, need: Need, limits: Limits) -> str:
    """Say why a copy into `folder` must not be made for want of room on the disk; empty when it may."""
    stats = os.statvfs(folder)
    total, free = stats.f_blocks * stats.f_frsize, stats.f_bavail * stats.f_frsize
    least = max(int(total * limits.min_free_percent / 100), limits.min_free_least)
    least = min(least, max(limits.min_free_most, limits.min_free_least))
    stay = max(least, 2 * need.largest_checkpoint)
    # A record without files (there was no checkpoint) takes a few kilobytes, and says most where the disk is fullest.
    if need.bytes and free - need.bytes < stay:
        why = "for the trainer's next saves" if stay > least else "on this disk"
        return f"the copy takes {size(need.bytes)}, {size(free)} are free, and {size(stay)} must stay free {why}"
    left = _INODES_LEFT if stats.f_files >= 10 * _INODES_LEFT else 0
    if stats.f_files and stats.f_favail - need.files < left:
        return f"the copy takes {need.files} files, and the disk has room for {stats.f_favail} more only"
    return ""


def shares(snapshots: Iterable[Snapshot]) -> dict[str, int]:
    """What each snapshot takes: a file that several share counts for the last of them, in the order they come in."""
    holders: dict[tuple[int, int], tuple[str, int]] = {}
    taken: dict[str, int] = {}
    for snapshot in snapshots:
        taken[snapshot.name] = 0
        try:
            with folder_at(snapshot.path) as root:
                holders |= {(one.dev, one.ino): (snapshot.name, one.size) for one in list_tree(root).entries}
        except OSError:
            continue
    for name, size_ in holders.values():
        taken[name] += size_
    return taken
