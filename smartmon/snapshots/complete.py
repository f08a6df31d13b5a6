"""Whether a checkpoint is whole, judged from its files' outsides: no torch, nothing unpickled, nothing large read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from smartmon.snapshots.listing import Entry

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".npz", ".distcp")
"""Endings of files that are never empty in a whole checkpoint."""

_JSON_MOST = 8 << 20
"""A longer `trainer_state.json` is not parsed: 60 MB of it cost 234 MB of memory. Its two ends are looked at."""
_HEADER_MOST = 16 << 20
_ENDS = 64 << 10
_LAST_NUMBER = re.compile(rb"(\d{1,18})\s*$")
_STEP = re.compile(rb'^ {0,8}"global_step": *(\d{1,18})\b', re.MULTILINE)


class Reader(Protocol):
    """Gives bytes of a checkpoint's file."""

    def __call__(self, name: str, offset: int, length: int) -> bytes:
        """Return up to `length` bytes of the file `name` from `offset`."""


def folder_problem(step: int, entries: Iterable[Entry], read: Reader) -> str:
    """Say what a `checkpoint-N` folder still lacks, as a fact about it; empty when it is whole."""
    sizes = {entry.name: entry.size for entry in entries}
    if "checkpoint-is-incomplete.txt" in sizes:
        return "its trainer marks it as incomplete"
    if "trainer_state.json" not in sizes:
        return "there is no trainer_state.json yet"
    found = _global_step(sizes["trainer_state.json"], lambda at, size: read("trainer_state.json", at, size))
    if found is None:
        return "trainer_state.json cannot be read yet"
    if found != step:
        return f"trainer_state.json is of step {found}"
    return files_problem(sizes, read)


def loose_problem(_step: int, entries: Iterable[Entry], read: Reader) -> str:
    """Say what files without a marker of their own lack."""
    return files_problem({entry.name: entry.size for entry in entries}, read)


def nanochat_problem(step: int, entries: Iterable[Entry], read: Reader) -> str:
    """Say what the files of one step of nanochat lack: the meta file follows the model, each rank writes a shard."""
    sizes = {entry.name: entry.size for entry in entries}
    meta = next((name for name in sizes if name.startswith("meta_")), None)
    if meta is None:
        return "there is no meta file yet"
    told = _object(read(meta, 0, min(sizes[meta], _JSON_MOST)))
    if told is None:
        return f"{meta} cannot be read yet"
    if told.get("step", step) != step:
        return f"{meta} is of step {told['step']}"
    ranks = {int(name.rpartition("_rank")[2].removesuffix(".pt")) for name in sizes if name.startswith("optim_")}
    missing = min(set(range(max(ranks, default=-1) + 1)) - ranks, default=None)
    return files_problem(sizes, read) if missing is None else f"the optimizer's shard of rank {missing} is missing"


def llmc_problem(_step: int, entries: Iterable[Entry], read: Reader) -> str:
    """Say what the files of one step of llm.c lack."""
    sizes = {entry.name: entry.size for entry in entries}
    if not any(name.startswith("DONE_") for name in sizes):
        return "there is no DONE file yet"
    return files_problem(sizes, read)


def beside_problem(name: str, step: int, content: bytes | None) -> str:
    """Say whether the file that names the newest finished checkpoint is behind this one."""
    if content is None:
        return f"there is no {name} yet"
    told = _LAST_NUMBER.search(content)
    if told is None:
        return f"{name} names no step"
    return "" if int(told[1]) >= step else f"{name} is still at {int(told[1])}"


def files_problem(sizes: dict[str, int], read: Reader) -> str:
    """Say which of a checkpoint's files is missing, empty or cut off; empty when none is."""
    for folder in sorted({name.rpartition("/")[0] for name in sizes if name.endswith(".distcp")}):
        # Torch's distributed checkpoints: the coordinator writes it after all ranks are done.
        if (f"{folder}/.metadata" if folder else ".metadata") not in sizes:
            return f"there is no {folder and folder + '/'}.metadata yet"
    for name in sorted(sizes):
        problem = file_problem(name, sizes[name], lambda at, size, name=name: read(name, at, size))  # type: ignore[misc]
        if problem:
            return problem
        if name.endswith(".index.json"):
            problem = _index_problem(name, sizes, read)
            if problem:
                return problem
    return ""


def file_problem(name: str, size: int, read: Callable[[int, int], bytes]) -> str:
    """Say what is wrong with one file, as far as its ends tell."""
    if not name.endswith(WEIGHTS):
        return ""
    if size == 0:
        return f"{name} is empty"
    if name.endswith(".safetensors"):
        return _safetensors_problem(name, size, read)
    if name.endswith((".pt", ".pth", ".bin", ".ckpt")):
        head = read(0, 4)
        if b"PK\x03\x04".startswith(head) and not _whole_zip(size, read):
            return f"{name} is cut off: the end of its archive is missing"
    return ""


def _safetensors_problem(name: str, size: int, read: Callable[[int, int], bytes]) -> str:
    cut = f"{name} is cut off"
    head = read(0, 8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length + 8 > size:
        return cut
    if length > _HEADER_MOST:
        return ""
    header = _object(read(8, length))
    if header is None:
        return f"{name} has no valid header"
    try:
        end = max((tensor["data_offsets"][1] for key, tensor in header.items() if key != "__metadata__"), default=0)
        return "" if 8 + length + int(end) == size else cut
    except (TypeError, KeyError, IndexError, ValueError):
        return f"{name} has no valid header"


def _whole_zip(size: int, read: Callable[[int, int], bytes]) -> bool:
    tail = read(max(0, size - (1 << 16) - 22), (1 << 16) + 22)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        return False
    comment = int.from_bytes(tail[at + 20 : at + 22], "little")
    return len(tail) - at == 22 + comment


def _index_problem(name: str, sizes: dict[str, int], read: Reader) -> str:
    if sizes[name] > _HEADER_MOST:
        return ""
    index = _object(read(name, 0, sizes[name]))
    shards = index.get("weight_map") if index is not None else None
    if not isinstance(shards, dict):
        return f"{name} cannot be read yet"
    folder = name.rpartition("/")[0]
    for shard in sorted({str(shard) for shard in shards.values()}):
        if (f"{folder}/{shard}" if folder else shard) not in sizes:
            return f"the shard {shard} is missing"
    return ""


def _global_step(size: int, read: Callable[[int, int], bytes]) -> int | None:
    if size > _JSON_MOST:
        head, tail = read(0, _ENDS), read(size - _ENDS, _ENDS)
        # Keys are sorted and indented: `global_step` stands before the history, the closing brace at the very end.
        found = _STEP.search(head) or _STEP.search(tail)
        return int(found[1]) if found and tail.rstrip().endswith(b"\n}") else None
    state = _object(read(0, size))
    step = state.get("global_step") if state is not None else None
    return step if isinstance(step, int) and not isinstance(step, bool) else None


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None


def read_range(descriptor: int, offset: int, length: int) -> bytes:
    """Read up to `length` bytes from `offset`: less only at the end of the file."""
    parts = []
    while length > 0:
        part = os.pread(descriptor, min(length, 1 << 20), offset)
        if not part:
            break
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
