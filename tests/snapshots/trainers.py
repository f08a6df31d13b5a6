"""Checkpoints as other trainers than Hugging Face's write them. The files have what torch's have on the outside."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any


class _Stream(io.RawIOBase):
    """Cannot seek: a zip written here leaves the lengths out of its headers, as torch's do."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(data)


def torch_save(content: object, *, size: int = 200, name: str = "archive") -> bytes:
    """The zip that `torch.save` makes: the pickle first, then `size` bytes of tensors."""
    stream = _Stream()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{name}/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr(f"{name}/byteorder", "little")
        archive.writestr(f"{name}/data/0", os.urandom(size))
        archive.writestr(f"{name}/version", "3\n")
    return b"".join(stream.parts)


def weights(layers: int = 20) -> OrderedDict[str, object]:
    """A state dict, as far as its pickle goes."""
    return OrderedDict((f"transformer.h.{layer}.weight", ("storage", layer, (8, 8), 0)) for layer in range(layers))


def lightning(step: int, *, size: int = 200) -> bytes:
    """What Lightning's trainer saves."""
    loops = {"fit_loop": {"epoch_loop": {"global_step": 7}}}
    return torch_save({"epoch": 3, "global_step": step, "state_dict": weights(), "loops": loops}, size=size)


def nanogpt(step: int, *, size: int = 200) -> bytes:
    """What nanoGPT saves: the number comes after the weights."""
    optimizer = {"state": {0: {"step": 9, "exp_avg": ("storage", 1)}}, "param_groups": [{"lr": 6e-4}]}
    content = {"model": weights(), "optimizer": optimizer, "iter_num": step, "config": {"out_dir": "out"}}
    return torch_save(content, size=size, name="ckpt")


def write_megatron(place: Path, step: int, *, marker: bool = True) -> Path:
    """An `iter_N` folder of the distributed format; `marker`: the file beside it says so."""
    path = place / f"iter_{step:07}"
    path.mkdir(parents=True)
    for rank in range(2):
        (path / f"__{rank}_0.distcp").write_bytes(os.urandom(300))
    (path / "common.pt").write_bytes(torch_save({"iteration": step}))
    (path / "metadata.json").write_text('{"sharded_backend": "torch_dist"}')
    (path / ".metadata").write_bytes(b"\x80\x04.")
    if marker:
        (place / "latest_checkpointed_iteration.txt").write_text(str(step))
    return path


def write_nanochat(place: Path, step: int, ranks: int = 2) -> Path:
    """The files of one step, in the order in which nanochat writes them."""
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"model_{step:06}.pt"
    path.write_bytes(torch_save(weights()))
    (place / f"meta_{step:06}.json").write_text(json.dumps({"step": step, "val_bpb": 0.81}, indent=2))
    for rank in range(ranks):
        (place / f"optim_{step:06}_rank{rank}.pt").write_bytes(torch_save({"rank": rank}))
    return path
