"""The trainer's own checkpoints on disk: which are whole, making one last, and removing old ones. No torch.

Nothing here ever creates, changes or deletes a file inside a checkpoint that stays: other programs go by the folder's
time of change. Folders are moved out of the way by a rename to a hidden name, and only then deleted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from smartmon.snapshots.complete import folder_problem, read_range
from smartmon.snapshots.listing import folder_below, list_tree, open_below

EARLIER = ".earlier"
"""Hidden folder beside the checkpoints for those of a training that another one took the place of."""

_NAME = re.compile(r"checkpoint-(\d{1,18})")
_RANK = re.compile(r"rng_state_(\d{1,6})\.pth")
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json", "adapter_model.bin")


def step_of(folder: Path) -> int | None:
    """The step in a checkpoint's name; None when it is no name of a checkpoint."""
    match = _NAME.fullmatch(folder.name)
    return int(match[1]) if match else None


def find(output: Path) -> list[Path]:
    """Every `checkpoint-N` folder in an output folder, whole or not, by step."""
    with contextlib.suppress(OSError):
        return sorted((path for path in output.iterdir() if step_of(path) is not None and path.is_dir()), key=_step)
    return []


def _step(folder: Path) -> int:
    return step_of(folder) or 0


def problem(folder: Path, *, world_size: int | None = None) -> str:
    """Say what a checkpoint lacks to go on from it exactly; empty when nothing.

    Beside what makes a checkpoint whole, it takes the state of the optimizer, of the schedule and of the random
    numbers (of every process: `world_size`, where it is known). Without one of those Transformers goes on in silence
    with a fresh optimizer, a wrong learning rate or other rows.
    """
    step = step_of(folder)
    if step is None:
        return "its name is not checkpoint-N"
    try:
        with folder_below(folder) as root:
            entries = list_tree(root).entries
            found = folder_problem(step, entries, lambda name, at, size: _read(root, name, at, size))
            found = found or _lacking({entry.name for entry in entries}, world_size)
        # A folder that is being deleted looks whole for a moment.
        return found or ("" if (folder / "trainer_state.json").is_file() else "it is being removed")
    except FileNotFoundError:
        return "it is not there" if not folder.exists() else "it is being changed"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _read(root: int, name: str, offset: int, length: int) -> bytes:
    descriptor = open_below(root, name)
    try:
        return read_range(descriptor, offset, length)
    finally:
        os.close(descriptor)


def _lacking(names: Collection[str], world_size: int | None) -> str:
    folders = {name.partition("/")[0] for name in names if "/" in name}
    sharded = any(name.startswith("pytorch_model_fsdp") for name in (*names, *folders))
    if not sharded and not any(name in names for name in _WEIGHTS):
        return "the weights are missing"
    # FSDP writes a folder optimizer_0/ or one optimizer.bin.
    if not {"optimizer.pt", "optimizer.bin"} & set(names) and not any(
        name.startswith("optimizer_") for name in folders
    ):
        return "optimizer.pt is missing"
    if "scheduler.pt" not in names:
        return "scheduler.pt is missing"
    return _random_lacking(names, world_size)


def _random_lacking(names: Collection[str], world_size: int | None) -> str:
    ranks = {int(match[1]) for match in map(_RANK.fullmatch, names) if match}
    if "rng_state.pth" in names and not (world_size or 1) > 1:
        return ""
    if not ranks:
        return "rng_state.pth is missing"
    missing = set(range(world_size or max(ranks) + 1)) - ranks
    return f"rng_state_{min(missing)}.pth is missing" if missing else ""


def newest_verified(output: Path, *, world_size: int | None = None) -> tuple[Path | None, list[tuple[Path, str]]]:
    """Return the newest checkpoint to go on from, and the newer ones that were passed over with what they lack."""
    skipped: list[tuple[Path, str]] = []
    for folder in reversed(find(output)):
        lacking = problem(folder, world_size=world_size)
        if not lacking:
            return folder, skipped
        skipped.append((folder, lacking))
    return None, skipped


def settle(folder: Path) -> None:
    """Put a checkpoint on the disk: every file, every folder, and the entry in the folder above.

    The libraries that write it leave that to the kernel: after a power cut a finished checkpoint could be empty.
    """
    for place, _folders, files in os.walk(folder):
        for name in files:
            _sync(Path(place, name))
        _sync(Path(place))
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot do this for a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def prune(output: Path, keep: int, *, protect: Iterable[int] = (), world_size: int | None = None) -> list[Path]:
    """Remove all but the `keep` newest whole checkpoints, and return what was removed.

    Those of the steps in `protect` stay beyond that number. One that is not whole counts for nothing and is left where
    it is, so the newest whole one always stays.
    """
    kept = set(protect)
    whole = [folder for folder in find(output) if not problem(folder, world_size=world_size)]
    removed = [folder for folder in whole[: -max(keep, 1)] if _step(folder) not in kept]
    for folder in removed:
        _remove(folder)
    return removed


def empty_trash(output: Path) -> None:
    """Finish the deletions that a killed training left half done."""
    for path in output.glob(".trash-*"):
        if path.name.removeprefix(".trash-").isdigit():
            shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Delete a checkpoint so that nobody ever sees half of one under its name."""
    trash = folder.with_name(f".trash-{_step(folder)}")
    shutil.rmtree(trash, ignore_errors=True)
    folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def earlier(output: Path) -> Path:
    """Make a folder of its own in `.earlier/`, named by the time."""
    place = output / EARLIER / time.strftime("%Y%m%d_%H%M%S")
    number = 1
    while place.exists():
        number += 1
        place = place.with_name(f"{place.name.split('-')[0]}-{number}")
    place.mkdir(parents=True)
    return place


def set_aside(output: Path, folders: Iterable[Path]) -> Path | None:
    """Move checkpoints out of the way of a training that will write the same steps, and return where they are.

    They keep their names, in a folder of `.earlier/` named by the time. Nothing is deleted.
    """
    moved = [folder for folder in folders if folder.exists()]
    if not moved:
        return None
    place = earlier(output)
    for folder in moved:
        folder.rename(place / folder.name)
    return place
