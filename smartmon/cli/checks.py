"""What `smartmon doctor` looks at: each check returns lines that say what works here, and how to mend what does not."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from smartmon import text
from smartmon.config import Config

_FICLONE = 0x40049409
"""ioctl(2) that makes one file share another's blocks."""

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs", "beegfs", "gpfs"}

_WATCHES_WANTED = 8192


@dataclass(frozen=True, slots=True)
class Line:
    """One finding: `state` is ok, warn or fail; `fix` says what to do about the last two."""

    name: str
    state: str
    message: str
    fix: str = ""


def python() -> Iterator[Line]:
    """Python, and the SQLite that it brings."""
    yield Line("python", "ok", f"Python {platform.python_version()}")
    version = sqlite3.sqlite_version
    known_bug = sqlite3.sqlite_version_info < (3, 51, 3)
    # The bug needs two connections that write and checkpoint at the same moment.
    note = " (its WAL-reset bug, mended in 3.51.3, needs two writers; smartmon has one)" if known_bug else ""
    yield Line("sqlite", "ok", f"SQLite {version}{note}")


def inotify(environment: Path = Path("/proc/sys/fs/inotify")) -> Iterator[Line]:
    """The kernel's limits, and a real watch."""
    sample = shared() / "systemd" / "sysctl.d" / "60-smartmon.conf"
    fix = f"copy {sample} to /etc/sysctl.d and run sysctl --system; until then files are polled"
    try:
        watches = int((environment / "max_user_watches").read_text(encoding="ascii"))
        instances = int((environment / "max_user_instances").read_text(encoding="ascii"))
    except (OSError, ValueError):
        yield Line(
            "inotify", "warn", "this system has no inotify; files are polled", "nothing is lost; it only is slower"
        )
        return
    trouble = _watch()
    if trouble:
        yield Line("inotify", "warn", f"a watch was refused: {trouble}", fix)
    elif watches < _WATCHES_WANTED:
        yield Line("inotify", "warn", f"works, but with only {watches:,} watches for all programs", fix)
    else:
        yield Line("inotify", "ok", f"works ({watches:,} watches, {instances:,} instances)")


def _watch() -> str:
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    observer = Observer()
    with tempfile.TemporaryDirectory(prefix="smartmon-doctor-") as folder:
        try:
            observer.start()
            observer.schedule(FileSystemEventHandler(), folder)
        except OSError as error:
            return error.strerror or str(error)
        finally:
            observer.stop()
            if observer.is_alive():
                observer.join(timeout=5)
    return ""


def folders(config: Config) -> Iterator[Line]:
    """Each base dir, and where its snapshots go."""
    mounts = _mounts()
    for base in config.base_dirs:
        yield _readable(base)
        yield from _room(config.snapshots_dir(base), config, mounts)
        kind = _filesystem(base, mounts)
        if kind in _NETWORK:
            message = f"{text.clean(base)} is on a network file system ({kind}): changes by other machines are polled"
            yield Line("file system", "ok", message)
    kind = _filesystem(config.state_dir, mounts)
    if kind in _NETWORK:
        message = f"the database in {text.clean(config.state_dir)} is on a network file system ({kind})"
        yield Line("state", "warn", message, "set state_dir to a folder on a local disk")


def _readable(base: Path) -> Line:
    shown = text.clean(base)
    try:
        with os.scandir(base) as entries:
            next(entries, None)
    except FileNotFoundError:
        return Line("base dir", "fail", f"{shown} does not exist", "name the training directory with --base-dir")
    except OSError as error:
        fix = "run smartmon as the user who trains"
        return Line("base dir", "fail", f"{shown} cannot be read: {error.strerror}", fix)
    return Line("base dir", "ok", f"{shown} can be read")


def _room(folder: Path, config: Config, mounts: Mapping[str, str]) -> Iterator[Line]:
    shown, home = text.clean(folder), _existing(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".smartmon-doctor-", dir=home) as probe:
            cloned = _clones(Path(probe))
    except OSError as error:
        fix = "make it writable, or set snapshots_dir"
        yield Line("snapshots", "fail", f"{shown} cannot be written: {error.strerror}", fix)
        return
    yield Line("snapshots", "ok", f"{shown} can be written")
    kind = _filesystem(home, mounts) or "this file system"
    how = "copies are instant and share their blocks" if cloned else f"{kind} has none: checkpoints are copied in full"
    yield Line("reflink", "ok", how)
    usage = shutil.disk_usage(home)
    settings = config.snapshots
    wanted = usage.total * settings.min_free_percent / 100
    wanted = min(max(wanted, settings.min_free_least), max(settings.min_free_most, settings.min_free_least))
    message = f"{text.size(usage.free)} free where snapshots go; {text.size(wanted)} must stay free"
    if usage.free < wanted:
        yield Line("disk", "fail", message, "make room, set snapshots_dir to a larger disk, or lower min_free_percent")
    elif usage.free < 2 * wanted:
        yield Line("disk", "warn", message, "make room, or set snapshots_dir to a larger disk")
    else:
        yield Line("disk", "ok", message)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _clones(folder: Path) -> bool:
    source, target = folder / "a", folder / "b"
    source.write_bytes(b"x" * 65536)
    with source.open("rb") as read, target.open("wb") as written:
        try:
            fcntl.ioctl(written, _FICLONE, read.fileno())
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.EPERM):
                return False
            raise
    return True


def _mounts(table: Path = Path("/proc/self/mounts")) -> dict[str, str]:
    """Return mount point -> file system; a later mount on the same point covers the earlier one."""
    with contextlib.suppress(OSError):
        rows = [row.split(" ") for row in table.read_text(encoding="utf-8", errors="replace").splitlines()]
        # The kernel writes a space in a path as \040.
        return {row[1].replace("\\040", " "): row[2] for row in rows if len(row) > 2}
    return {}


def _filesystem(folder: Path, mounts: Mapping[str, str]) -> str:
    for parent in (folder, *folder.parents):
        if str(parent) in mounts:
            return mounts[str(parent)]
    return ""


def accelerator() -> Iterator[Line]:
    """The NVIDIA GPUs, and the library of four-bit training."""
    driver = Path("/proc/driver/nvidia/version").exists()
    if importlib.util.find_spec("pynvml") is None:
        if driver:
            fix = "for memory and temperature: pip install 'smartmon[gpu]'"
            yield Line("gpu", "warn", "an NVIDIA driver is here, but not the library that asks it", fix)
        else:
            yield Line("gpu", "ok", "no NVIDIA driver here; runs are watched all the same")
    else:
        yield _nvml()
    found = importlib.util.find_spec("bitsandbytes") is not None
    yield Line("bitsandbytes", "ok", "installed" if found else "not installed; only smartmon[train] uses it")


def _nvml(timeout: float = 15.0) -> Line:
    # In a child: the library keeps the driver open, and a broken driver may hang.
    code = (
        "import json, warnings; warnings.simplefilter('ignore'); import pynvml as n; n.nvmlInit(); "
        "print(json.dumps([str(n.nvmlDeviceGetName(n.nvmlDeviceGetHandleByIndex(i)))"
        " for i in range(n.nvmlDeviceGetCount())]))"
    )
    try:
        child = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, timeout=timeout, check=True)
        names = [text.clean(name) for name in json.loads(child.stdout)]
    except subprocess.TimeoutExpired:
        return Line("gpu", "warn", "the NVIDIA driver does not answer", "look at nvidia-smi and dmesg")
    except (OSError, ValueError, subprocess.SubprocessError):
        return Line("gpu", "ok", "no NVIDIA driver answers here; runs are watched all the same")
    return Line("gpu", "ok", f"{len(names)} found: {', '.join(names)}" if names else "none found")


def detectors() -> Iterator[Line]:
    """Detectors of other packages: which there are, and which cannot be used."""
    from smartmon.detectors.registry import installed
    from smartmon.text import clean

    found = installed()
    if found.detectors:
        yield Line("detectors", "ok", f"also those of other packages: {clean(', '.join(found.detectors))}")
    for trouble in found.troubles:
        what, _, fix = trouble.rpartition("; ")
        yield Line("detectors", "warn", clean(what), clean(fix))


def hooks(config: Config) -> Iterator[Line]:
    """Programs of hooks that are not there, or may not be started."""
    for hook in config.hooks:
        if shutil.which(hook.run[0]) is None:
            message = (
                f"the hook {text.clean(hook.label)} has no program that can be started at {text.clean(hook.run[0])}"
            )
            yield Line("hooks", "warn", message, "give its full path, and make it executable with: chmod +x")


def units(roots: tuple[Path, ...] | None = None) -> Iterator[Line]:
    """Whether a systemd unit is installed, and where the samples are."""
    if roots is None:
        user = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))  # noqa: PTH111
        system = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
        roots = (*system, user / "systemd" / "user", Path("/etc/systemd/user"))
    found = [path for root in roots for path in sorted(root.glob("smartmon*.service"))]
    if found:
        yield Line("systemd", "ok", f"unit at {text.clean(found[0])}")
    else:
        yield Line("systemd", "ok", f"no unit installed; samples are in {shared() / 'systemd'}")


def shared() -> Path:
    """Return where the units and the example config of this installation are."""
    installed = Path(sysconfig.get_path("data"), "share", "smartmon")
    # In a checkout they lie beside the package.
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2]
