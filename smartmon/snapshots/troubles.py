"""Why a snapshot was not made, told apart by what is to be done about it."""

from __future__ import annotations

import errno
from pathlib import Path

from smartmon.errors import SnapshotError

DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No room, in the disk's own words."""


class MovedError(SnapshotError):
    """The trainer did something to what was being copied; `owner` is the checkpoint, or the model's file."""

    def __init__(self, message: str, owner: Path) -> None:
        super().__init__(message)
        self.owner = owner


class VanishedError(MovedError):
    """The trainer deleted the checkpoint before all of it was held open: take the next best one."""


class ChangedError(MovedError):
    """The trainer wrote to the checkpoint meanwhile: look again."""


class NoRoomError(SnapshotError):
    """The copy would leave too little room, or the disk became full under it."""


class CancelledError(SnapshotError):
    """The daemon is about to end: the copy is redone at the next start."""
