"""`StatusWriter`: what any training calls to be watched. Standard library only; importable without torch.

with StatusWriter("runs/mine", total_steps=1000) as out:
    for step in range(1, 1001):
        ...
        out.write(step=step, loss=loss, learning_rate=rate)
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from smartmon.trainer import endings
from smartmon.trainer.disk import say
from smartmon.trainer.scribe import FINAL, Scribe
from smartmon.trainer.values import hold, line

MOST = 20_000
"""Rows that wait for a disk that does not answer; what comes then is counted as lost."""
_TRACEBACK = 20_000


class StatusWriter:
    """Writes what smartmon reads: `status/` and `logs/` of a base dir.

    A thread of its own does the files, twice a second: a call takes microseconds, wakes nobody, and neither waits nor
    raises for a full, read-only or hanging disk. What a process says is lost only if it is killed within that half
    second. Values may be tensors: one on a GPU is copied there and read by the thread, so that no step waits for it.

    As a context manager it tells how the training ended: `completed`, `stopped` (Ctrl-C, `sys.exit`), or `crashed` with
    the exception's type, message and traceback. Without one, an uncaught exception is told as well.
    """

    def __init__(
        self,
        base_dir: str | os.PathLike[str] = ".",
        *,
        total_steps: int | None = None,
        model_name: str = "",
        output_dir: str | os.PathLike[str] | None = None,
        interval: float = 0.5,
        beat: float = 5.0,
        **facts: Any,
    ) -> None:
        """Take where to write, and what is known before the first step: `facts` stand in the status from the start.

        - `interval`: least seconds between two versions of the status, and between two looks of the thread.
        - `beat`: seconds after which the status is written although nothing is new, so that nobody takes a pause or a
          long evaluation for death.
        """
        self.base_dir = Path(base_dir).absolute()
        self._pid = os.getpid()
        self._step, self._total = 0, total_steps
        self._word = ""
        self._lost = 0
        self._closed = False
        self._queue: deque[tuple[Any, ...]] = deque()
        self._beside: list[Callable[[], None]] = []
        # An Event has a lock, which a signal handler or a forked child may find held for ever; this has none.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._ended = threading.Event()
        self._lock = threading.RLock()  # a signal handler may come back in here
        self._thread: threading.Thread | None = None
        self._resting = True
        """Whether the thread may have ended, after a last word: whoever says more has to start it again."""
        self._scribe = Scribe(self.base_dir, interval, beat)
        self._interval = max(0.01, interval)
        if output_dir is not None:
            facts["output_dir"] = str(Path(output_dir).absolute())
        if total_steps is not None:
            facts["total_steps"] = total_steps
        self.update("initialized", **{**_given(), "model_name": model_name, **facts})
        endings.register(self)

    @property
    def word(self) -> str:
        """The status: training, paused, completed, ..."""
        return self._word

    @property
    def ended(self) -> bool:
        """Whether the last word was one that ends a training."""
        return self._closed or self._word in FINAL

    @property
    def lost(self) -> int:
        """Rows that found no place any more."""
        return self._lost

    def write(self, step: int | None = None, **metrics: Any) -> None:
        """Log a row of metrics at a step (the next one, if it is not said), and say that the training runs.

        Any names and values: `loss`, `learning_rate`, `grad_norm`, `accuracy_percent` and the other names of the README
        are known, numbers under other names get a chart of their own. `steps_per_sec` and, with `total_steps`,
        `eta_seconds` are added where they are not given.
        """
        self._step = self._step + 1 if step is None else step
        self._word = "training"
        self._put("row", time.time(), self._step, {key: hold(value) for key, value in metrics.items()})

    def reached(self, step: int) -> None:
        """Say how far the training is, between two rows. Costs nothing: the status has it at its next change."""
        self._step = step

    def evaluate(self, step: int, **metrics: Any) -> None:
        """Log an evaluation: `loss` or `eval_loss`, and whatever else was measured. Step 0 is before the training."""
        self._put("evaluation", time.time(), step, {key: hold(value) for key, value in metrics.items()})

    def update(self, status: str | None = None, **fields: Any) -> None:
        """Change the status alone: its word (training, evaluating, paused, stopped, completed, ...) and any fields."""
        # Rows must not fall behind a checkpoint that is on the disk: a killed training goes on from there.
        urgent = (status is not None and status != self._word) or "last_checkpoint" in fields
        if status is not None:
            self._word = status
        self._put("status", status, {key: hold(value) for key, value in fields.items()}, must=True)
        if urgent and self._mine():
            self._wake.put(None)

    def experts(self, step: int, usage: Mapping[str, Any]) -> None:
        """Log how often each expert of each layer was chosen: `{"layer_0": {"expert_counts": {"expert_0": 12}}}`."""
        record = {"step": step, "timestamp": time.time(), "expert_usage": usage}
        self._put("line", "logs/expert_usage_log.jsonl", line(record))

    def error(
        self, error: BaseException | str, *, step: int | None = None, epoch: float | None = None, kind: str = ""
    ) -> None:
        """Log an error with its traceback, and show it in the status; whether the training goes on is not said."""
        message = str(error) or type(error).__name__
        name = kind or ("Error" if isinstance(error, str) else error_type(error))
        record = {
            "timestamp": time.time(),
            "datetime": datetime.now().astimezone().isoformat(timespec="seconds"),
            "error_type": name,
            "error_message": message[:2000],
            "step": self._step if step is None else step,
            "epoch": epoch,
            "traceback": "" if isinstance(error, str) else _traceback(error),
        }
        self._put("line", "logs/error_log.jsonl", line(record), must=True)
        self.update(error_type=name, error_message=message[:2000])

    def detail(self, record: Mapping[str, Any], *, done: bool) -> None:
        """Replace `status/training_detail.json`; a record that is done is also kept in `logs/training_detail.jsonl`."""
        # Made into text at once: who generates the answer goes on writing into the record.
        self._put("detail", line(record), done)

    def beside(self, look: Callable[[], None]) -> None:
        """Have the thread call `look` at each of its rounds; for what may hang on a disk."""
        self._beside.append(look)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all of the above is written; return whether it was within `timeout` seconds."""
        if self._closed or not self._mine():
            return self._closed and self._ended.is_set()
        written = threading.Event()
        self._put("mark", written, must=True)
        self._wake.put(None)
        return written.wait(timeout)

    def close(self, status: str = "completed") -> None:
        """Write everything with the last word, and end the thread. Later calls do nothing."""
        if self._closed or not self._mine():
            return
        if self._resting and status == self._word:
            self._closed = True
            self._ended.set()
            return
        self.update(status)
        with self._lock:
            self._closed, thread = True, self._thread
        self._wake.put(None)
        if thread is None:
            self._finish()
        elif not self._ended.wait(5.0):
            say(f"{self.base_dir} takes no files; the end of this training may be missing there")

    def fail(self, error: BaseException) -> None:
        """Close as what an exception makes of a training: `stopped` by Ctrl-C or an exit, else `crashed`."""
        if self._closed:
            return
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            self.close("stopped")
            return
        self.error(error)
        self.close("crashed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
        else:
            self.close(self._word if self._word in FINAL else "completed")

    def leave(self) -> None:
        """Close at the end of the process, where nobody has said how the training ended."""
        done = self._total is not None and self._step >= self._total
        self.close(self._word if self._word in FINAL else "completed" if done else "stopped")

    def _mine(self) -> bool:
        """Whether this is the process that made the writer: one forked from it has no thread to write with."""
        return os.getpid() == self._pid

    def _put(self, *entry: Any, must: bool = False) -> None:
        if self._closed or not self._mine():
            return
        # The word that a training ended with is one entry, and finds room however much waits.
        ended = entry[0] == "status" and entry[1] in FINAL
        if not ended and len(self._queue) >= (2 * MOST if must else MOST):
            self._lost += 1
            if self._lost == 1:
                say(f"{self.base_dir} has taken no files for {MOST:,} rows; more are counted and left out")
            return
        self._queue.append(entry)
        if self._resting:
            self._start()

    def _start(self) -> None:
        with self._lock:
            self._resting = self._word in FINAL
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="smartmon-writer", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return  # the interpreter ends; `close` writes by itself
                self._thread = thread

    def _run(self) -> None:
        while not self._closed:
            with contextlib.suppress(Empty):
                self._wake.get(timeout=self._interval)
                while True:
                    self._wake.get_nowait()
            if self._round() and self._word in FINAL and self._rest():
                return
        self._finish()

    def _rest(self) -> bool:
        """End the thread of a training that is over, unless more was said meanwhile."""
        with self._lock:
            if self._queue or self._closed or self._word not in FINAL:
                return False
            thread, self._thread, self._resting = self._thread, None, True
            if self._queue:
                # Said since, by somebody who did not see yet that the thread rests.
                self._thread, self._resting = thread, False
            return self._resting

    def _finish(self) -> None:
        # A disk that is full now gets a few more chances.
        for _ in range(5):
            if self._round(last=True):
                break
            time.sleep(0.2)
        self._ended.set()

    def _round(self, *, last: bool = False) -> bool:
        for look in self._beside:
            try:
                look()
            except Exception as problem:  # noqa: BLE001 - one that fails keeps none of the others from their turn
                self._scribe.stumbled(problem)
        try:
            return self._scribe.round(self._queue, self._step, self._lost, last=last)
        except Exception as problem:  # noqa: BLE001 - the only thread that could tell; it must live on
            self._scribe.stumbled(problem)
            return False


def error_type(error: BaseException) -> str:
    """Return the name under which an exception is told: its class's, or OOM where a GPU's memory ran out."""
    name = type(error).__name__
    return "OOM" if name == "OutOfMemoryError" or "CUDA out of memory" in str(error) else name


def _given() -> dict[str, Any]:
    """What whoever started the process wants in the status: `$SMARTMON_FACTS`, a JSON object. The queue's file, say."""
    try:
        found = json.loads(os.environ.get("SMARTMON_FACTS", "{}"))
    except ValueError:
        return {}
    return {key: value for key, value in found.items() if key != "status"} if isinstance(found, dict) else {}


def _traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    return text if len(text) <= _TRACEBACK else text[: _TRACEBACK // 2] + "\n...\n" + text[-_TRACEBACK // 2 :]
