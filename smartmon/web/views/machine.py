"""The machine that a run trains on, now: GPUs, disk, memory, and the process itself."""

from __future__ import annotations

import os
import platform
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from smartmon.records import HostSample
from smartmon.sources import jsontext
from smartmon.sources.safe_read import Unreadable, read_file
from smartmon.store import RunRow, Store
from smartmon.web.models import Number
from smartmon.web.models_detail import Gpu, GpuOne, PastSeries, Process
from smartmon.web.site import Site
from smartmon.web.views.cards import finite
from smartmon.web.views.files import root_of

_METRIC = re.compile(r"gpu|cuda|vram|memory|mem_|cpu|disk|temperature|power|util", re.IGNORECASE)
_STATUS = ("status/training_status.json", "current_model/status/training_status.json")
_LATELY = 7200.0
_BLOCK = 3
"""Begin, moment of the lowest, lowest free bytes: see `disk_full_soon`."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


class Cpu:
    """Remembers how much processes had used, to tell how much they use."""

    def __init__(self) -> None:
        self._cpu: dict[int, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def percent(self, pid: int, at: float, used: float) -> Number:
        """Return the percent of a core that a process used since the look before."""
        with self._lock:
            before = self._cpu.get(pid)
            if before is None or at - before[0] >= 1.0:
                self._cpu = {pid: (at, used)} if len(self._cpu) > 64 else {**self._cpu, pid: (at, used)}
        if before is None or at <= before[0] or used < before[1]:
            return None
        return round(100 * (used - before[1]) / (at - before[0]), 1)


def machine(site: Site, cpu: Cpu, store: Store, row: RunRow) -> Gpu:
    """Return the machine as it is now, and was."""
    now = site.clock()
    folder = row.path if row.path.is_dir() else row.base_dir
    found = site.past.look(folder, lambda: _blocks(store, row, now))
    return Gpu(
        run=row.name,
        at=now,
        gpus=[_gpu(one) for one in found.gpus],
        gpu_note=_note(found),
        disk=str(folder),
        disk_free=found.disk_free,
        disk_total=found.disk_total,
        disk_full_seconds=site.past.full_in(folder, now),
        memory_available=found.memory_available,
        memory_total=found.memory_total,
        process=_process(cpu, row, now),
        past=[
            PastSeries(name=name, points=[[round(at, 1), value] for at, value in points])
            for name, points in site.past.series(folder).items()
        ],
        metrics=[name for name in store.metrics(row.id) if _METRIC.search(name)],
    )


def _blocks(store: Store, row: RunRow, now: float) -> Iterator[tuple[float, float]]:
    """Yield the free space of the run's disk as the daemon saw it of late: the page need not begin from nothing."""
    panel = (store.judge_state(row.id) or {}).get("panel")
    room = panel.get("disk_full_soon") if isinstance(panel, dict) else None
    blocks = room.get("blocks") if isinstance(room, dict) else None
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, list) and len(block) == _BLOCK and now - _LATELY <= float(str(block[1])) <= now:
            yield float(str(block[1])), float(str(block[2]))


def _gpu(one: object) -> GpuOne:
    told = {name: getattr(one, name) for name in GpuOne.model_fields}
    numbers = ("utilization", "temperature", "temperature_limit", "power", "power_limit")
    return GpuOne(**{**told, **{name: finite(told[name]) for name in numbers}})


def _note(found: HostSample) -> str:
    there = any(Path("/dev").glob("nvidia[0-9]*"))
    if found.gpus or not there:
        return ""
    try:
        import pynvml  # noqa: F401 - only whether it is there
    except ImportError:
        return "for memory, temperature and power: pip install 'smartmon[gpu]'"
    return "the GPUs have not answered yet"


def _process(cpu: Cpu, row: RunRow, now: float) -> Process | None:
    for name in _STATUS:
        try:
            told = jsontext.load_object(read_file(row.path / name, root=root_of(row)).data)
        except (Unreadable, jsontext.BadJson):
            continue
        pid, host = told.get("pid"), told.get("host")
        if isinstance(pid, int) and 0 < pid < 2**31:
            host = host if isinstance(host, str) else platform.node()
            nothing = Process(
                pid=pid, host=host, alive=None, memory=None, threads=None, cpu_percent=None, started_at=None
            )
            return _looked_at(cpu, nothing, now) if host == platform.node() else nothing
    return None


def _looked_at(cpu: Cpu, process: Process, now: float) -> Process:
    try:
        stat = (_PROC / str(process.pid) / "stat").read_bytes()
        booted = re.search(rb"^btime (\d+)", (_PROC / "stat").read_bytes(), re.MULTILINE)
        # The name in front may hold anything, brackets and spaces included.
        fields = stat.rpartition(b")")[2].split()
        state, ticks = fields[0], int(fields[11]) + int(fields[12])
        threads, began, pages = int(fields[17]), int(fields[19]), int(fields[21])
    except (OSError, ValueError, IndexError):
        return process.model_copy(update={"alive": False})
    return process.model_copy(
        update={
            "alive": state not in (b"Z", b"X"),
            "memory": pages * _PAGE,
            "threads": threads,
            "cpu_percent": cpu.percent(process.pid, now, ticks / _TICKS),
            "started_at": int(booted[1]) + began / _TICKS if booted else None,
        }
    )
