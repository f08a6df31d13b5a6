"""Reading the machine: memory within a container's limit, room on a disk, GPUs by NVML, and all of it absent."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smartmon.host import Host, disk, read_gpus

MEMINFO = "MemTotal:       64000000 kB\nMemFree:         1000000 kB\nMemAvailable:   32000000 kB\nCached: 5 kB\n"


def files(folder: Path, **contents: str) -> Path:
    folder.mkdir()
    for name, text in contents.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_memory_is_what_the_kernel_says_is_available(tmp_path: Path) -> None:
    proc = files(tmp_path / "proc", meminfo=MEMINFO)
    sample = Host(30, proc=proc, cgroup=tmp_path / "none").sample(1000.0, tmp_path)
    assert (sample.memory_available, sample.memory_total) == (32_000_000 * 1024, 64_000_000 * 1024)


def test_a_container_has_its_own_limit_and_gives_back_cached_files(tmp_path: Path) -> None:
    proc = files(tmp_path / "proc", meminfo=MEMINFO)
    group = files(
        tmp_path / "group", memory_max="8000000000\n", memory_current="7000000000\n",
        memory_stat="anon 1\ninactive_file 500000000\n",
    )  # fmt: skip
    sample = Host(30, proc=proc, cgroup=group).sample(1000.0, tmp_path)
    assert (sample.memory_available, sample.memory_total) == (1_500_000_000, 8_000_000_000)


@pytest.mark.parametrize("limit", ["max\n", "", "999999999999999\n"])
def test_no_limit_is_no_limit(tmp_path: Path, limit: str) -> None:
    proc = files(tmp_path / "proc", meminfo=MEMINFO)
    group = files(tmp_path / "group", memory_max=limit, memory_current="7\n", memory_stat="inactive_file 5\n")
    assert Host(30, proc=proc, cgroup=group).sample(1000.0, tmp_path).memory_total == 64_000_000 * 1024


@pytest.mark.parametrize("text", ["", "rubbish", "MemTotal: many kB\n", "MemTotal:\n"])
def test_memory_that_cannot_be_read_is_not_known(tmp_path: Path, text: str) -> None:
    sample = Host(30, proc=files(tmp_path / "proc", meminfo=text), cgroup=tmp_path).sample(1.0, tmp_path)
    assert sample.memory_available is None


def test_the_disk_is_that_of_the_folder(tmp_path: Path) -> None:
    free, total = disk(tmp_path)
    assert free is not None
    assert total is not None
    assert 0 <= free <= total
    assert disk(tmp_path / "gone") == (None, None)


class Nvml:
    """NVML as far as it is asked; one of its two GPUs has fallen off the bus, and one question is not supported."""

    nvmlClocksThrottleReasonSwThermalSlowdown = 0x20

    def __init__(self) -> None:
        self.asked = threading.Event()

    def nvmlDeviceGetCount(self) -> int:
        self.asked.set()
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index == 1:
            raise RuntimeError("GPU is lost")
        return index

    def nvmlDeviceGetTemperatureThreshold(self, handle: int, kind: int) -> float:
        raise RuntimeError(f"not supported: {handle} {kind}")

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetName": b"NVIDIA H200",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=5, total=10),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97),
            "nvmlDeviceGetPowerUsage": 650_000,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTemperature": 91,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x20 | 0x4,
        }
        if name not in answers:
            raise AttributeError(name)
        return lambda *_about: answers[name]


def test_a_gpu_tells_what_it_can_and_a_lost_one_is_left_out() -> None:
    (gpu,) = read_gpus(Nvml())
    assert (gpu.index, gpu.name, gpu.temperature, gpu.temperature_limit) == (0, "NVIDIA H200", 91.0, None)
    assert (gpu.memory_used, gpu.memory_total, gpu.utilization) == (5, 10, 97.0)
    assert (gpu.power, gpu.power_limit, gpu.throttled) == (650.0, 700.0, "heat")


def test_a_package_that_lacks_a_question_still_answers_the_others() -> None:
    class Old(Nvml):
        def __getattr__(self, name: str) -> Any:
            if name.endswith(("ThrottleReasons", "PowerLimit")):
                raise AttributeError(name)
            return super().__getattr__(name)

    (gpu,) = read_gpus(Old())
    assert (gpu.temperature, gpu.power_limit, gpu.throttled) == (91.0, None, "")


def test_gpus_are_read_beside_the_watch_and_told_at_the_next_look(tmp_path: Path) -> None:
    nvml = Nvml()
    host = Host(30, nvml=lambda: nvml)
    assert host.sample(1000.0, tmp_path).gpus == ()
    assert nvml.asked.wait(10)
    seen = (host.sample(1030.0, tmp_path) for _ in range(1_000_000))
    assert next(sample for sample in seen if sample.gpus).gpus[0].name == "NVIDIA H200"
    host.stop()


def test_a_driver_that_hangs_stops_no_look_and_its_old_answers_fade(tmp_path: Path) -> None:
    never = threading.Event()
    host = Host(30, nvml=never.wait)
    assert [host.sample(at, tmp_path).gpus for at in (1000.0, 1030.0, 2000.0)] == [(), (), ()]
    host.stop()
    never.set()
