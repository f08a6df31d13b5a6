"""The machine that a run trains on: room on the disk, memory, GPUs. Reads only; what is not there is None.

GPUs are read by NVML through `nvidia-ml-py`, which is optional, in a thread of their own: a GPU that fell off its bus
can hang the driver, and must not hang the watch.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from smartmon.records import Gpu, HostSample

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_DEVICES = Path("/dev")
STALE = 3
"""Intervals after which what the GPUs said last is no longer told."""

_REASONS = (
    ("nvmlClocksThrottleReasonSwThermalSlowdown", "heat"),
    ("nvmlClocksThrottleReasonHwThermalSlowdown", "heat, in hardware"),
    ("nvmlClocksThrottleReasonHwPowerBrakeSlowdown", "the power supply asked for it"),
    ("nvmlClocksThrottleReasonHwSlowdown", "a hardware limit"),
)
"""NVML's bit -> what it means; its power limit is no trouble and is left out."""


class Host:
    """Samples the machine. `gpus` are read in the background from the first sample on."""

    def __init__(
        self, interval: float, *, proc: Path = _PROC, cgroup: Path = _CGROUP, nvml: Callable[[], Any] | None = None
    ) -> None:
        self.interval = interval
        self._proc, self._cgroup = proc, cgroup
        self._nvml = nvml or load_nvml
        self._gpus: tuple[float, tuple[Gpu, ...]] = (0.0, ())
        self._wanted = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def sample(self, now: float, folder: Path, *, answers: bool = True) -> HostSample:
        """Return how the machine is now, with the disk that a folder lies on."""
        free, total = disk(folder)
        available, total_memory = memory(self._proc, self._cgroup)
        self._ask_gpus(now)
        at, gpus = self._gpus
        return HostSample(
            at=now,
            disk=str(folder),
            disk_free=free,
            disk_total=total,
            memory_available=available,
            memory_total=total_memory,
            gpus=gpus if now - at <= STALE * self.interval else (),
            answers=answers,
        )

    def _ask_gpus(self, now: float) -> None:
        if self._stopped or (not any(_DEVICES.glob("nvidia[0-9]*")) and self._nvml is load_nvml):
            return
        self._now = now
        if self._thread is None:
            self._thread = threading.Thread(target=self._read_gpus, name="gpus", daemon=True)
            self._thread.start()
        self._wanted.set()

    def _read_gpus(self) -> None:
        nvml = self._nvml()
        while nvml is not None and not self._stopped:
            self._wanted.wait()
            self._wanted.clear()
            self._gpus = (self._now, read_gpus(nvml))

    def stop(self) -> None:
        """End the reading of GPUs."""
        self._stopped = True
        self._wanted.set()


def memory(proc: Path = _PROC, cgroup: Path = _CGROUP) -> tuple[int | None, int | None]:
    """Return available and total bytes, within the container's limit where there is one."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            if name in ("MemAvailable", "MemTotal"):
                found[name] = int(rest.split()[0]) * 1024
    available, total = found.get("MemAvailable"), found.get("MemTotal")
    with contextlib.suppress(OSError, ValueError):
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text(encoding="ascii").splitlines())
        # Cached file pages count as used, but the kernel gives them back when they are needed.
        room = limit - used + int(stat.get("inactive_file", 0))
        if total is None or limit < total:
            available, total = min(room, available if available is not None else room), limit
    return available, total


def disk(folder: Path) -> tuple[int | None, int | None]:
    """Return free and total bytes of the file system that a folder lies on."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None, None
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def process_exists(pid: int) -> bool:
    """Whether a process of this machine has this number; one that we may not ask does."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def load_nvml() -> ModuleType | None:
    """Return NVML, initialised; None where the package or the driver is missing."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - a driver that does not match raises what it likes; a GPU unseen is no trouble
        return None
    return nvml


def read_gpus(nvml: Any) -> tuple[Gpu, ...]:
    """Return every GPU that NVML tells of."""
    count = _asked(nvml, "DeviceGetCount")
    return tuple(gpu for index in range(count or 0) if (gpu := _read_gpu(nvml, index)) is not None)


def _read_gpu(nvml: Any, index: int) -> Gpu | None:
    handle = _asked(nvml, "DeviceGetHandleByIndex", index)
    if handle is None:
        return None
    name = _asked(nvml, "DeviceGetName", handle)
    memory = _asked(nvml, "DeviceGetMemoryInfo", handle)
    rates = _asked(nvml, "DeviceGetUtilizationRates", handle)
    power, limit = _asked(nvml, "DeviceGetPowerUsage", handle), _asked(nvml, "DeviceGetEnforcedPowerLimit", handle)
    slowdown = getattr(nvml, "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN", 1)
    reasons = _asked(nvml, "DeviceGetCurrentClocksThrottleReasons", handle) or 0
    return Gpu(
        index=index,
        name=name.decode() if isinstance(name, bytes) else str(name or "GPU"),
        memory_used=None if memory is None else int(memory.used),
        memory_total=None if memory is None else int(memory.total),
        utilization=None if rates is None else float(rates.gpu),
        temperature=_float(_asked(nvml, "DeviceGetTemperature", handle, getattr(nvml, "NVML_TEMPERATURE_GPU", 0))),
        temperature_limit=_float(_asked(nvml, "DeviceGetTemperatureThreshold", handle, slowdown)),
        power=None if power is None else power / 1000,
        power_limit=None if limit is None else limit / 1000,
        throttled=next((words for bit, words in _REASONS if reasons & getattr(nvml, bit, 0)), ""),
    )


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _asked(nvml: Any, question: str, *about: Any) -> Any:
    """Return NVML's answer, or None: each GPU, and each version of the package, supports what it supports."""
    try:
        return getattr(nvml, f"nvml{question}")(*about)
    except Exception:  # noqa: BLE001 - NVMLError is of a module that may not be there
        return None
