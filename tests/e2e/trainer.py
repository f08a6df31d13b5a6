"""One small training that writes what a real trainer writes; `trainers.py` has one for each of them.

Each is a story of 60 good points and a few bad ones. A portion of a log that is appended to ends anywhere, also within
a line, for stdout goes through a buffer.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import ClassVar

GOOD = 60
"""Points before the trouble."""
NAN = [math.nan] * 4
SPIKE = [9.0]
RISE = [1.2 * 1.08**n for n in range(12)]
TORN = 7
"""Bytes of a portion that come with the next one."""


def losses(bad: list[float], seed: int) -> list[float]:
    """A loss that falls from 2 to about 1 with noise of a percent, and then the bad ones."""
    noise = random.Random(seed)
    return [round(1 + math.exp(-n / 15) + noise.gauss(0, 0.01), 4) for n in range(GOOD)] + bad


def torch_file(path: Path, content: object) -> None:
    """What `torch.save` makes: a zip whose first file is a pickle, not packed, and then the storages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{path.stem}/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr(f"{path.stem}/data/0", os.urandom(4096))
    path.write_bytes(whole.getvalue())


def safetensors(path: Path, size: int = 4096) -> None:
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + os.urandom(size))


class Trainer:
    """One training. `play` writes the points up to one."""

    run: ClassVar[str]
    """Its folder below the base dir, after which it is called."""
    named: ClassVar[str] = ""
    """What the config calls it instead."""
    log: ClassVar[str]
    """Its log, below the run's folder; the one that a replay reads."""
    form: ClassVar[str]
    dialect: ClassVar[str] = ""
    bad: ClassVar[list[float]]
    kind: ClassVar[str]
    """What goes wrong with it."""
    at: ClassVar[int]
    """The point at which that is told."""
    every: ClassVar[int] = 10
    """Steps between two points."""
    saves: ClassVar[tuple[int, ...]] = (19, 39, 59)
    """The points after which it saves a checkpoint."""
    kept: ClassVar[str] = ""
    """A file of the last good checkpoint, as it must lie in a snapshot's `model/`."""
    main: ClassVar[str] = "loss"
    """The metric that its story is about."""
    names: ClassVar[frozenset[str]] = frozenset({"loss"})
    """Metrics that it has, as smartmon calls them."""
    config: ClassVar[str] = ""
    """What has to stand in a config beside the base dir, which is called `train`."""
    options: ClassVar[tuple[str, ...]] = ()
    """The same for a replay."""

    def __init__(self, base: Path) -> None:
        self.folder = base / self.run
        self.losses = losses(self.bad, seed=sum(map(ord, self.run)))
        self.path = self.folder / self.log
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.written = 0
        self._buffer = b""
        self.begin()

    @property
    def name(self) -> str:
        """The name under which it is found."""
        return self.named or self.run

    @property
    def reached(self) -> int:
        """The step of the last point that was written."""
        return self.step(self.written - 1)

    @property
    def points(self) -> list[tuple[int, int, float]]:
        """What is known in the end: attempt, step and value."""
        return [(1, self.step(point), self.value(point)) for point in range(len(self.losses))]

    def step(self, point: int) -> int:
        return (point + 1) * self.every

    def value(self, point: int) -> float:
        """What the main metric is at a point."""
        return self.losses[point]

    def begin(self) -> None:
        """Write what stands in the log before the first point."""

    def point(self, point: int, loss: float) -> None:
        """Write one point."""
        raise NotImplementedError

    def save(self, step: int) -> None:
        """Write a checkpoint."""

    def play(self, until: int) -> None:
        """Write the points before `until`, and the checkpoints that fall due."""
        for point in range(self.written, until):
            self.point(point, self.losses[point])
            if point in self.saves:
                self.save(self.step(point))
        self.written = until
        self._flush(TORN)

    def finish(self) -> None:
        """Let nothing hang in a buffer."""
        self._flush(0)

    def append(self, text: str | bytes) -> None:
        """Put text into the buffer."""
        self._buffer += text.encode() if isinstance(text, str) else text

    def _flush(self, hold: int) -> None:
        cut = max(0, len(self._buffer) - hold)
        if self._buffer[:cut]:
            with self.path.open("ab") as file:
                file.write(self._buffer[:cut])
        self._buffer = self._buffer[cut:]


class Saving(Trainer):
    """Hugging Face's `checkpoint-N`, its `trainer_state.json` last."""

    total: ClassVar[int] = 1000
    kept = "checkpoint-600/optimizer.pt"

    def __init__(self, base: Path) -> None:
        self.history: list[dict[str, object]] = []
        super().__init__(base)

    def save(self, step: int) -> None:
        folder = self.folder / f"checkpoint-{step}"
        folder.mkdir()
        safetensors(folder / "model.safetensors")
        (folder / "config.json").write_text("{}\n")
        torch_file(folder / "optimizer.pt", {"state": {}})
        state = {"global_step": step, "max_steps": self.total, "epoch": step / self.total, "log_history": self.history}
        (folder / "trainer_state.json").write_text(json.dumps(state, indent=2, sort_keys=True) + "\n")
