"""Writing a picture where somebody may be looking at the old one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PARTIAL = ".partial-"
"""How the names of files begin that are not whole yet."""


def write(folder: Path, file: str, data: bytes) -> Path:
    """Write a file whole or not at all, and return its path. Raises OSError."""
    handle, partial = tempfile.mkstemp(prefix=PARTIAL, dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        umask = os.umask(0)
        os.umask(umask)
        Path(partial).chmod(0o666 & ~umask)
        Path(partial).replace(folder / file)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return folder / file
