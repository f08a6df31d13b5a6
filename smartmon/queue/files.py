"""Files written whole or not at all, and moved between file systems without a moment in which they are nowhere."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

from smartmon.records import Json
from smartmon.snapshots.syscalls import rename_new, sync_folder


def write_text(path: Path, content: str) -> None:
    """Replace a file atomically and durably; raise OSError."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def write_json(path: Path, content: Json) -> None:
    """Replace a JSON file atomically and durably; raise OSError."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Json]:
    """Return the object in a file; empty when there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def copy_new(source: Path, target: Path) -> None:
    """Copy a file to a name that nothing has; raise FileExistsError when something does, OSError else."""
    part = stage(source, target)
    try:
        rename_new(part, target)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(target.parent)


def stage(source: Path, target: Path) -> Path:
    """Copy a file beside its target under a hidden name ending in `.part`, and return where; raise OSError.

    A file that changes meanwhile is an error.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        before = stamp(source)
        shutil.copyfile(source, part)
        if stamp(source) != before:
            raise OSError(errno.EBUSY, "it changed while it was copied", str(source))
        with part.open("rb") as file:
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def drop_staged(folder: Path) -> None:
    """Remove what processes that are no more have left half copied."""
    for path in folder.glob(".*.part"):
        owner = path.name.split(".")[-2]
        if owner.isdigit() and not Path("/proc", owner).exists():
            path.unlink(missing_ok=True)


def move_file(source: Path, target: Path) -> None:
    """Move a file to a name that nothing has, onto another file system if need be; raise OSError.

    A link is replaced by what it points to: one that is relative would lead nowhere from another folder.
    """
    if not source.is_symlink():
        try:
            rename_new(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            sync_folder(target.parent)
            return
    copy_new(source, target)
    source.unlink()


def move_folder(source: Path, target: Path) -> None:
    """Move a folder to a name that nothing has, onto another file system if need be; raise OSError."""
    try:
        rename_new(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(f".{target.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part, symlinks=True)
        sync_tree(part)
        rename_new(part, target)
        shutil.rmtree(source)
    sync_folder(target.parent)


def sync_tree(folder: Path) -> None:
    """Make a folder with all that is in it durable."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder: out of sight at once, for nobody must meet it half removed."""
    trash = folder.with_name(f".trash-{folder.name}-{os.getpid()}")
    with contextlib.suppress(OSError):
        folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when the file does; empty when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
