"""Whether the kernel's OOM killer was at work: its counters before and after, where the system shows them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Kills:
    """How many processes were killed for want of memory; None: nobody can know."""

    group: int | None
    """In the control group that we are in, or in one around it."""
    machine: int | None


def kills() -> Kills:
    """Return the counters as they stand now."""
    return Kills(_group(), _counter(Path("/proc/vmstat")))


def told(before: Kills, after: Kills, *, machine: bool) -> str:
    """Return what the counters say of the time in between, empty for nothing.

    `machine`: believe the machine's counter too, which tells of other people's processes as well.
    """
    pairs = [(after.group, before.group, "in this cgroup")]
    if machine:
        pairs.append((after.machine, before.machine, "on this machine"))
    for now, then, where in pairs:
        if now is not None and then is not None and now > then:
            plural = "s" if now - then > 1 else ""
            return f"the kernel's OOM killer counted {now - then:,} kill{plural} {where} meanwhile"
    return ""


def _group() -> int | None:
    """Add up the counters of our own groups: version 2 has one hierarchy, version 1 one for memory."""
    total: int | None = None
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        version1 = bool(controllers)
        folder = _GROUPS / "memory" if version1 else _GROUPS
        # In a container the path may be the host's: its own group is then the root of what it sees.
        for place in (folder / path.lstrip("/"), folder):
            found = _counter(place / ("memory.oom_control" if version1 else "memory.events"))
            if found is not None:
                total = (total or 0) + found
                break
    return total


def _counter(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None
