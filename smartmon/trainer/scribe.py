"""What the writer's thread does: from what a training said to lines of its logs and its status file."""

from __future__ import annotations

import json
import math
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from smartmon.trainer.disk import Disk, say
from smartmon.trainer.meters import Pace
from smartmon.trainer.values import finite, line, settle

FINAL = frozenset({"completed", "stopped", "crashed", "error"})
STATUS = "status/training_status.json"
DETAIL = "status/training_detail.json"
_RETRY = 1.0
"""Seconds until the next try on a disk that took nothing."""
_OURS = frozenset({"status", "timestamp", "heartbeat", "pid", "host", "attempt", "step", "lost_rows"})
"""Keys of the status that no metric of a user's own takes over."""
_ORDER = ("status", "current_step", "total_steps", "epoch", "loss", "validation_loss", "accuracy_percent")
"""What stands first in the status, for whoever looks at it with `cat`."""


class Scribe:
    """The contents of the files of one training. Used by the writer's thread alone."""

    def __init__(self, base_dir: Path, interval: float, beat: float) -> None:
        """`interval` and `beat`: the least and the most seconds between two versions of the status."""
        self._interval, self._beat = interval, beat
        self._disk = Disk(base_dir)
        self._pace = Pace()
        self._status: dict[str, Any] = {"status": "initialized"}
        self._changed = True
        self._written_at = -math.inf
        self._detail = ""
        self._marks: list[threading.Event] = []
        self._retry_at = 0.0
        self._stumbled = False

    def round(self, queue: deque[tuple[Any, ...]], step: int, lost: int, *, last: bool = False) -> bool:
        """Write what is in the queue, and where the training is; return whether all of it is on disk."""
        now = time.monotonic()
        if "pid" not in self._status:
            self._status |= {"attempt": self._attempt(), "pid": os.getpid(), "host": platform.node()}
        for _ in range(len(queue)):
            if self._disk.full:
                break
            self._take(queue.popleft())
        if now < self._retry_at and not last:
            return False
        if step:
            self._status["current_step"] = step
        if lost != self._status.get("lost_rows", 0):
            self._status["lost_rows"], self._changed = lost, True
        final = self._status["status"] in FINAL
        due = self._changed and now - self._written_at >= 0.9 * self._interval
        beat = not final and now - self._written_at >= self._beat
        well = self._disk.flush()
        if well and self._detail:
            well = self._disk.replace(DETAIL, self._detail)
            self._detail = "" if well else self._detail
        if well and (due or beat or last or (self._changed and (final or self._marks))):
            well = self._write_status(now, sync=final)
        return self._done(well, now) and not queue

    def stumbled(self, problem: Exception) -> None:
        """Say once that something here went wrong; the next round goes on with what follows."""
        if not self._stumbled:
            say(f"could not log something ({type(problem).__name__}: {problem}); the training goes on")
        self._stumbled = True

    def _done(self, well: bool, now: float) -> bool:
        if not well:
            self._retry_at = now + _RETRY
            return False
        self._retry_at = 0.0
        self._disk.recovered()
        if not self._changed:
            for mark in self._marks:
                mark.set()
            self._marks.clear()
        return not self._changed

    def _take(self, entry: tuple[Any, ...]) -> None:
        what, *rest = entry
        if what == "row":
            self._row(*rest)
        elif what == "evaluation":
            self._evaluation(*rest)
        elif what == "status":
            word, fields = rest
            if word is not None:
                self._status["status"] = word
            self._tell(fields)
        elif what == "line":
            self._disk.add(*rest)
        elif what == "detail":
            self._detail, done = rest
            if done:
                self._disk.add("logs/training_detail.jsonl", self._detail)
        elif what == "mark":
            self._marks += rest

    def _row(self, at: float, step: int, metrics: Mapping[str, Any]) -> None:
        metrics = {key: settle(value) for key, value in metrics.items()}
        pace = self._pace.row(step, at)
        if pace is not None:
            metrics.setdefault("steps_per_sec", round(pace, 6))
        total = metrics.get("total_steps", self._status.get("total_steps"))
        if finite(total) and (left := self._pace.remaining(int(total) - step)) is not None:
            metrics.setdefault("eta_seconds", round(left, 1))
        row = {"epoch": metrics.pop("epoch")} if "epoch" in metrics else {}
        row |= {"step": step} | {key: value for key, value in metrics.items() if key != "step"}
        row.setdefault("timestamp", round(at, 3))
        self._disk.add("logs/training_log.jsonl", line(row))
        self._status["status"] = "training"
        self._tell(row)

    def _evaluation(self, at: float, step: int, metrics: Mapping[str, Any]) -> None:
        values = {key: settle(value) for key, value in metrics.items()}
        loss = values.pop("loss", None)
        loss = values.pop("eval_loss", loss)
        row = {"step": step} | ({"eval_loss": loss} if loss is not None else {}) | values
        self._disk.add("logs/eval_log.jsonl", line({**row, "timestamp": round(at, 3)}))
        told = {key: value for key, value in row.items() if key.startswith("eval_")}
        if "eval_loss" in told:
            told["validation_loss"] = told.pop("eval_loss")
        # The status goes on to later steps with these values in it: they are not of those.
        self._tell({**told, "eval_step": step})

    def _tell(self, fields: Mapping[str, Any]) -> None:
        self._status |= {key: settle(value) for key, value in fields.items() if key not in _OURS}
        loss, held_out = self._status.get("loss"), self._status.get("validation_loss")
        if finite(loss) and finite(held_out):
            self._status["val_train_gap"] = round(held_out - loss, 6)
        self._changed = True

    def _write_status(self, now: float, *, sync: bool) -> bool:
        moment = datetime.now().astimezone().isoformat(timespec="milliseconds")
        self._status |= {"timestamp": moment, "heartbeat": moment}
        ordered = {key: self._status[key] for key in _ORDER if key in self._status}
        if not self._disk.replace(STATUS, line(ordered | self._status), sync=sync):
            return False
        self._written_at, self._changed = now, False
        return True

    def _attempt(self) -> int:
        """Return the number of this attempt: one more than the status before it tells, 2 where only a log is left."""
        counted = os.environ.get("SMARTMON_ATTEMPT", "")
        if counted.isdigit() and os.environ.get("SMARTMON_RUN_DIR") == str(self._disk.base_dir):
            return int(counted)  # `smartmon exec` has written its own status before: that is this attempt's already
        try:
            before = json.loads((self._disk.base_dir / STATUS).read_bytes())["attempt"]
            return int(before) + 1
        except (OSError, ValueError, TypeError, KeyError):
            log = self._disk.base_dir / "logs/training_log.jsonl"
            return 2 if log.is_file() else 1
