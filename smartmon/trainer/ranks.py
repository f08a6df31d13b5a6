"""One training in several processes (torchrun): who this process is, and how all come to one decision."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from smartmon.errors import SmartmonError

T = TypeVar("T")


def rank() -> int:
    """This process's number among all of them; the first, 0, writes and talks."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Meet the other processes (NCCL on GPUs, gloo on CPUs). Nothing happens where there is only one."""
    if world_size() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def leave() -> None:
    """Part from the other processes."""
    if world_size() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def agree(decide: Callable[[], T]) -> T:
    """Return what the first process decides, in all of them; an error of its is raised in all of them."""
    if world_size() == 1:
        return decide()
    import torch.distributed as dist

    told: list[Any] = [None, None]
    if rank() == 0:
        try:
            told[0] = decide()
        except SmartmonError as error:
            told[1] = error
    dist.broadcast_object_list(told)
    if told[1] is not None:
        raise told[1]
    return told[0]  # type: ignore[no-any-return]


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        import torch.distributed as dist

        dist.barrier()


def any_of(here: bool) -> bool:
    """Whether it is so in any process."""
    if world_size() == 1:
        return here
    import torch
    import torch.distributed as dist

    device = "cuda" if torch.cuda.is_available() else "cpu"
    flag = torch.tensor([int(here)], device=device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag.item())
