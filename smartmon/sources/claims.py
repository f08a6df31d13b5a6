"""Where a run's own status file says that its checkpoints appear: the key `output_dir`, which any trainer may write.

A trainer's output often lies apart from its status: in another folder of the base dir, or on another disk. The folder
is then part of that run, and no run of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

from smartmon.sources import jsontext
from smartmon.sources.base import SourceSpec, stat_key
from smartmon.sources.safe_read import Unreadable, read_file

KEY = "output_dir"


class Claims:
    """Reads the claims of status files, each again only when the file has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, ...], Path | None]] = {}

    def of(self, run: Path, sources: tuple[SourceSpec, ...]) -> Path | None:
        """Return the folder outside of a run's usual places that its status claims; None where it claims none.

        Only an absolute path counts, of a folder that is there and whose owner is the run's: a daemon with more rights
        than the trainer must not be led to copy somebody else's files.
        """
        for spec in sources:
            if spec.format == "status" and spec.options.get("state", True) is not False:
                claimed = self._claimed(spec)
                if claimed is not None and claimed not in (run, run / "current_model") and _same_owner(run, claimed):
                    return claimed
        return None

    def _claimed(self, spec: SourceSpec) -> Path | None:
        stamp = stat_key(spec.path)
        known = self._known.get(spec.path)
        if known is None or known[0] != stamp:
            # A file that is being written, or no JSON, takes back nothing that was said before.
            said = known[1] if known else None
            known = self._known[spec.path] = (stamp, _said(spec, said))
        return known[1]


def _said(spec: SourceSpec, before: Path | None) -> Path | None:
    try:
        record = jsontext.load_object(read_file(spec.path, root=spec.root).data)
    except (Unreadable, jsontext.BadJson):
        return before
    said = record.get(KEY)
    if not isinstance(said, str) or not said.startswith("/") or "\0" in said or len(said) > 4096:
        return None
    return Path(os.path.realpath(said))


def _same_owner(run: Path, claimed: Path) -> bool:
    try:
        return claimed.is_dir() and claimed.stat().st_uid == run.stat().st_uid
    except OSError:
        return False
