"""Where the arithmetic runs and in which numbers, each with its reason, and how much memory there is for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartmon import host
from smartmon.errors import UsageError

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Device:
    """A processor. `name` is for people; `torch_name` for torch: `cpu`, `cuda:1`."""

    torch_name: str
    name: str
    reason: str = ""

    @property
    def cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.torch_name.startswith("cuda")


@dataclass(frozen=True)
class Arithmetic:
    """The type that activations are computed in (`bfloat16`, `float16`, `float32`), and why."""

    dtype: str
    reason: str

    @property
    def torch_dtype(self) -> Any:
        """The same as torch has it."""
        import torch

        return getattr(torch, self.dtype)

    @property
    def bytes(self) -> int:
        """Of one number."""
        return 4 if self.dtype == "float32" else 2


def choose_device(*, fsdp: bool = False) -> Device:
    """Return this process's GPU (`LOCAL_RANK` under torchrun), or the CPU.

    Raises UsageError when there are fewer GPUs than processes, or `fsdp` is asked for without any: Transformers would
    quietly run plain data parallelism instead.
    """
    import torch

    if not torch.cuda.is_available():
        if fsdp:
            raise UsageError(
                "fsdp shards a model over GPUs, and no CUDA GPU is visible here; leave it out: under torchrun the "
                "processes then each hold the whole model"
            )
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "CUDA_VISIBLE_DEVICES hides the GPUs" if hidden in ("", "-1") else "no CUDA GPU is visible"
        return Device("cpu", f"CPU, {_threads(torch.get_num_threads())}", why)
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= count:
        raise UsageError(
            f"process {rank} of this machine has no GPU of its own: {count} visible; "
            f"start torchrun with --nproc-per-node {count}"
        )
    torch.cuda.set_device(rank)
    name = torch.cuda.get_device_name(rank)
    return Device(f"cuda:{rank}", f"{name} (GPU {rank} of {count})" if count > 1 else name)


def choose_arithmetic(device: Device, asked: str = "auto", *, cpuinfo: Path = CPUINFO) -> Arithmetic:
    """Return what to compute in: as asked, else the fastest that is safe on this device.

    bfloat16 on GPUs from compute capability 8.0 (Ampere) and on CPUs with instructions for it. float16 on older GPUs,
    where some runs overflow. float32 on other CPUs: bfloat16 was measured 7 to 11 times slower there (AVX2).
    """
    if asked != "auto":
        slow = not device.cuda and asked != "float32" and not cpu_has_bfloat16(cpuinfo)
        return Arithmetic(asked, "as asked; this CPU has no instructions for it: 5 to 11 times slower than float32"
                          if slow else "as asked")  # fmt: skip
    if not device.cuda:
        if cpu_has_bfloat16(cpuinfo):
            return Arithmetic("bfloat16", "this CPU has instructions for it")
        return Arithmetic("float32", "this CPU has no bfloat16 instructions: it would be 7 to 11 times slower")
    import torch

    major, minor = torch.cuda.get_device_capability(device.torch_name)
    if major >= 8:
        return Arithmetic("bfloat16", f"compute capability {major}.{minor} has it")
    return Arithmetic(
        "float16",
        f"compute capability {major}.{minor} has no bfloat16; float16 overflows in some runs, watch for NaN",
    )


def cpu_has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX512-BF16, AMX, or Arm's)."""
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return flags is not None and not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags[1].split())


def free_memory(device: Device) -> int | None:
    """Return the bytes that this process may still take: of the GPU, or its share of the machine or container."""
    if device.cuda:
        import torch

        free, _total = torch.cuda.mem_get_info(device.torch_name)
        # What torch has reserved and does not use is free to this process, though not to the driver.
        spare = torch.cuda.memory_reserved(device.torch_name) - torch.cuda.memory_allocated(device.torch_name)
        return int(free + spare)
    available, _total = host.memory()
    return None if available is None else available // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
