"""The newest good adapter: `current_model/`, which a job starts from and a job that is done replaces in one step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import time
from pathlib import Path

from smartmon.queue.files import read_json, remove_folder, sync_tree, write_json
from smartmon.snapshots.syscalls import rename_new, sync_folder

NOTE = "smartmon_queue.json"
"""Says which job an adapter is of; a folder that has one was made here."""
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_EXCHANGE = 2
_AT_FDCWD = -100


def is_whole(folder: Path) -> bool:
    """Whether an adapter lies there."""
    return (folder / "adapter_config.json").is_file() and _weights(folder) is not None


def identity(folder: Path) -> str:
    """Return what tells this adapter from another one; empty when there is none."""
    weights = _weights(folder)
    if weights is None or not is_whole(folder):
        return ""
    found = weights.stat()
    return str(read_json(folder / NOTE).get("run") or f"{found.st_size}-{found.st_mtime_ns}")


def publish(source: Path, target: Path, run: str) -> Path | None:
    """Let `target` hold the adapter in `source`: whole at every moment, and never half of two.

    What was there is removed if it was made here and holds nothing else; a folder of somebody else's is kept under
    another name, which is returned. Raises OSError.
    """
    if read_json(target / NOTE).get("run") == run:
        return None
    fresh = target.with_name(f".{target.name}.new")
    _clear(fresh, target)
    fresh.mkdir()
    write_json(fresh / NOTE, {})  # first: what lies there without it is none of ours
    for path in source.iterdir():
        if path.is_file() and path.name[0] != "." and path.name != NOTE:
            shutil.copy2(path, fresh / path.name)
    write_json(fresh / NOTE, {"run": run, "at": time.time()})
    sync_tree(fresh)
    kept = _swap(fresh, target)
    sync_folder(target.parent)
    return kept


def _swap(fresh: Path, target: Path) -> Path | None:
    """Put `fresh` in the place of `target`; return where the old one is kept, if it is."""
    if not os.path.lexists(target):
        rename_new(fresh, target)
        return None
    old = fresh
    if target.is_symlink() or not _exchange(fresh, target):
        old = _spare(target)
        target.rename(old)
        rename_new(fresh, target)
    if old.is_symlink():
        return old
    if _ours(old):
        remove_folder(old)
        return None
    if old == fresh:
        old = _spare(target)
        fresh.rename(old)
    return old


def _clear(fresh: Path, target: Path) -> None:
    """Take away what a killed queue left: half a copy, or, if it had just swapped the two, what was there before."""
    if not os.path.lexists(fresh):
        return
    if fresh.is_symlink() or not _ours(fresh):
        fresh.rename(_spare(target))
    else:
        shutil.rmtree(fresh)


def _ours(folder: Path) -> bool:
    """Whether a folder was made here and holds nothing else, or nothing at all."""
    left = list(folder.iterdir())
    return not left or ((folder / NOTE).is_file() and not any(path.is_dir() for path in left))


def _spare(target: Path) -> Path:
    """Return a name beside the folder for what was there before."""
    name, number = f"{target.name}_{time.strftime('%Y%m%d-%H%M%S')}", 1
    place = target.with_name(name)
    while os.path.lexists(place):
        number += 1
        place = target.with_name(f"{name}-{number}")
    return place


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the kernel or the file system cannot."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return False
    names = (ctypes.c_char_p(os.fsencode(one)), ctypes.c_char_p(os.fsencode(other)))
    return bool(function(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_EXCHANGE)) == 0)


def drop_checkpoints(output: Path) -> int:
    """Remove the checkpoints of a training that is done, whose adapter stays; return how many there were."""
    found = []
    with contextlib.suppress(OSError):
        found = [path for path in output.iterdir() if path.name.startswith("checkpoint-") and path.is_dir()]
    for path in found:
        remove_folder(path)
    return len(found)


def _weights(folder: Path) -> Path | None:
    for name in _WEIGHTS:
        with contextlib.suppress(OSError):
            if (folder / name).stat().st_size:
                return folder / name
    return None
