"""A trainer's folder on disk, as Hugging Face's Trainer writes it, and the store and keeper beside it."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smartmon.config import Config, load
from smartmon.keeper import Keeper
from smartmon.records import Snapshot
from smartmon.snapshots import folder
from smartmon.store import KeepRow, Store

NOW = 1_760_000_000.0
STATUS = b'{"status": "training", "loss": 1.02}'


def safetensors(size: int = 100, data: bytes | None = None) -> bytes:
    """A whole safetensors file around random data."""
    data = os.urandom(size) if data is None else data
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return len(header).to_bytes(8, "little") + header + data


def torch_zip(size: int = 100) -> bytes:
    """What `torch.save` writes, as far as its outside goes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", os.urandom(size))
    return buffer.getvalue()


def write_checkpoint(place: Path, step: int, size: int = 100, shards: int = 2) -> Path:
    """A complete `checkpoint-N` with shards, an optimizer and rank folders; `trainer_state.json` last."""
    path = place / f"checkpoint-{step}"
    path.mkdir(parents=True)
    names = [f"model-{index + 1:05}-of-{shards:05}.safetensors" for index in range(shards)]
    for name in names:
        (path / name).write_bytes(safetensors(size))
    index = {"weight_map": {f"layer.{number}": name for number, name in enumerate(names)}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    (path / "config.json").write_text("{}")
    (path / "optimizer.pt").write_bytes(torch_zip(size))
    inner = path / f"global_step{step}"
    inner.mkdir()
    (inner / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(torch_zip(size))
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))
    return path


@dataclass
class World:
    """A base dir with one run in it (the base dir itself), a store and a keeper."""

    base: Path
    options: dict[str, Any] = field(default_factory=dict)
    now: float = NOW

    def __post_init__(self) -> None:
        self.model = self.base / "current_model"
        self.model.mkdir(parents=True, exist_ok=True)
        self.store = Store.open(self.base / ".smartmon" / "smartmon.db")
        run = self.store.ensure_run("train", self.base, self.base, NOW)
        self.run_id = run.id
        self.store.update_run(run.id, state="running", step=100, attempt=1)
        self.cancelled = False
        self.beats = 0
        self.renew()

    def renew(self, **options: Any) -> None:
        """A new process: nothing but what is on disk is known."""
        self.options |= options
        # Free room is a matter of the machine, and tested where it is the subject.
        overrides = {"snapshots.min_free_percent": 0, "snapshots.min_free_least": 0, **self.options}
        self.config: Config = load(environ={}, base_dirs=[self.base], overrides=overrides)
        self.keeper = Keeper(self.store, self.config, cancel=lambda: self.cancelled, beat=self.beat)
        self.folder = self.config.snapshots_dir(self.base)

    def beat(self) -> None:
        self.beats += 1

    def ask(self, step: int, *reasons: str, severity: str = "warning", hold: bool = False, **payload: Any) -> int:
        """Ask for a snapshot, as the monitor does."""
        reasons = reasons or ("loss_spike_40.7pct",)
        kinds = [reason.rsplit("_", 1)[0].removesuffix("_loss").removesuffix("_eval") for reason in reasons]
        evidence = {"loss": 1.02, "loss_history": [0.7, 0.71, 1.02], "model_dir": str(self.model)}
        evidence["status_b64"] = base64.b64encode(STATUS).decode()
        return self.store.request_keep(
            self.run_id,
            1,
            step,
            at=self.now,
            kinds=kinds,
            reasons=reasons,
            severity=severity,
            hold=hold,
            incident_keys=payload.pop("incident_keys", []),
            payload=evidence | payload,
        )

    def work(self, seconds: float = 10.0) -> None:
        """Let time pass, and the keeper do all there is to do meanwhile."""
        end = self.now + seconds
        while self.now < end:
            while self.keeper.keep_one(self.now):
                pass
            self.now += 1.0

    def keep(self, keep_id: int) -> KeepRow:
        found = self.store.keep(keep_id)
        assert found is not None
        return found

    @property
    def snapshots(self) -> list[Snapshot]:
        return folder.scan(self.folder)

    @property
    def only(self) -> Snapshot:
        (one,) = self.snapshots
        return one

    def events(self, kind: str) -> list[str]:
        return [event.message for event in self.store.events(kinds=(kind,), limit=1000)]


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every entry below a folder with its mtime and contents: what must not change."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in sorted(root.rglob("*"))
    } | {".": (root.stat().st_mtime_ns, b"")}


def copied(snapshot: Snapshot, checkpoint: Path) -> bool:
    """Whether a snapshot holds exactly the checkpoint's files."""
    inside = snapshot.path / "model" / checkpoint.name
    wanted = {path.relative_to(checkpoint): path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()}
    return wanted == {path.relative_to(inside): path.read_bytes() for path in inside.rglob("*") if path.is_file()}
