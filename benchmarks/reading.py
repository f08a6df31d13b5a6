"""How fast sources read: JSON Lines, TensorBoard, and a `trainer_state.json` of 60 MB, of which no read may take long.

Run: python benchmarks/reading.py [--rows 100000] [--megabytes 60] [--dir /tmp]

Every read goes through `Source.read` and every cursor through JSON, as in the daemon. Prints one line for each figure:
wall time, and the time of the process alone, which says more on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smartmon.sources import FORMATS, SourceSpec, open_source

NOW = 1.9e9


@dataclass
class Reading:
    """What it took to read a source to its end."""

    rows: int = 0
    values: int = 0
    reads: list[float] = field(default_factory=list)
    """Seconds of the process for each call."""
    wall: float = 0.0

    def line(self, what: str) -> str:
        """Return the figures for a person."""
        total, longest = sum(self.reads), max(self.reads)
        return (
            f"{what}: {self.wall:.2f} s ({total:.2f} s of the process), "
            f"{len(self.reads)} reads, the longest {longest * 1000:.0f} ms, {self.rows:,} rows, {self.values:,} values"
        )


def read(kind: str, path: Path, cursor: Any = None) -> tuple[Reading, Any]:
    """Read a source from a cursor to its end."""
    source, reading = open_source(SourceSpec(path.name, kind, path)), Reading()
    began = time.perf_counter()
    while True:
        start = time.process_time()
        batch = source.read(cursor, NOW)
        cursor = json.loads(json.dumps(dict(batch.cursor)))
        reading.reads.append(time.process_time() - start)
        reading.rows += len(batch.observations)
        reading.values += sum(len(row.values) for row in batch.observations)
        if not batch.more:
            reading.wall = time.perf_counter() - began
            return reading, cursor


def json_lines(folder: Path, rows: int) -> None:
    """Read a log as a QLoRA run writes it."""
    path = folder / "training_log.jsonl"
    with path.open("w") as file:
        for step in range(rows):
            row = {"epoch": step / rows, "step": step, "loss": 2 * math.exp(-step / rows), "aux_loss": None}
            row |= {"grad_norm": 1 + math.sin(step), "learning_rate": 2e-5, "steps_per_sec": 1.5}
            file.write(json.dumps(row | {"eta_seconds": rows - step, "timestamp": 1.7e9 + step * 0.7}) + "\n")
    reading, _cursor = read("jsonl", path)
    print(reading.line(f"JSON Lines, {path.stat().st_size / 1e6:.0f} MB"))


def tensorboard(folder: Path, scalars: int) -> None:
    """Read an event file of two scalars a step."""
    path = folder / "events.out.tfevents.1700000000.host.1.0"
    with path.open("wb") as file:
        file.writelines(events(scalars // 2))
    try:
        reading, _cursor = read("tensorboard", path)
    except ImportError as missing:
        print(f"TensorBoard: not measured ({missing})")
        return
    print(reading.line(f"TensorBoard, {path.stat().st_size / 1e6:.0f} MB"))


def events(steps: int) -> Iterator[bytes]:
    """Yield the records of an event file with one scalar each, as torch writes them."""
    from smartmon.sources.tfrecord import masked_crc

    def record(data: bytes) -> bytes:
        length = struct.pack("<Q", len(data))
        return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))

    def part(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    yield record(b"\x09" + struct.pack("<d", 1.7e9) + part(3, b"brain.Event:2"))
    for step in range(steps):
        for tag in (b"train/loss", b"train/grad_norm"):
            value = part(1, tag) + b"\x15" + struct.pack("<f", 2 * math.exp(-step / steps))
            varint = b"\x10" + bytes([step & 127 | 128, step >> 7 & 127 | 128, step >> 14])
            yield record(b"\x09" + struct.pack("<d", 1.7e9 + step) + varint + part(5, part(1, value)))


def trainer_state(folder: Path, megabytes: int) -> None:
    """Read a long state at first sight, and then the next save of it."""
    text = '    {\n      "epoch": %.4f,\n      "grad_norm": %r,\n      "learning_rate": 1.9e-05,\n      "loss": %r,\n'
    rows = [
        (text + '      "step": %d\n    }') % (n / 1000, 1 + n / 7e6, 2 - n / 1e7, n) for n in range(megabytes * 7400)
    ]
    cursor = None
    for what, count in (("at first sight", len(rows) - 1000), ("the next save", len(rows))):
        path = folder / f"checkpoint-{count}" / "trainer_state.json"
        path.parent.mkdir()
        with path.open("w") as file:
            file.write(f'{{\n  "epoch": {count / 1000},\n  "global_step": {count},\n  "log_history": [\n')
            file.writelines(row + ",\n" for row in rows[: count - 1])
            file.write(rows[count - 1] + '\n  ],\n  "max_steps": 1000000\n}\n')
        reading, cursor = read("trainer_state", folder, cursor)
        print(reading.line(f"trainer_state.json, {path.stat().st_size / 1e6:.0f} MB, {what}"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of JSON Lines, and scalars of TensorBoard")
    parser.add_argument("--megabytes", type=int, default=60, help="size of the trainer_state.json")
    parser.add_argument("--dir", type=Path, default=None, help="where to put the files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        json_lines(Path(folder), options.rows)
        if "tensorboard" in FORMATS:
            tensorboard(Path(folder), options.rows)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"memory on top of the process: {(peak - before) / 1024:.0f} MB")
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        trainer_state(Path(folder), options.megabytes)


if __name__ == "__main__":
    main()
