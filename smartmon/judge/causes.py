"""The likely cause of an anomaly and what to run next: one line each, and only where the evidence is there.

Each rule looks at what came before the onset. The first that finds its evidence speaks; where none does, nothing is
said: a guess would send a tired person the wrong way.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from smartmon import stats
from smartmon.detectors.signal import Firing
from smartmon.judge.around import Around, Move
from smartmon.records import HostSample, Json
from smartmon.text import number, size

TOLD = 4
"""Moves of other metrics that are told."""
LOSSES = frozenset({"loss_spike", "divergence", "slow_divergence", "nonfinite", "grad_explosion", "collapse"})
HOST = {"disk_full_soon": "df -h {disk}", "memory_low": "free -h", "gpu_hot": "nvidia-smi"}
"""Kinds that are of the machine itself, and what shows it."""
SLOW = frozenset({"throughput_drop", "stalled"})
FULL = 0.02
"""Share of a disk below which a lack of room is evidence, or less than 1 GiB."""
GIBIBYTE = 2**30
LITTLE_MEMORY = 0.03


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rules look at."""

    firing: Firing
    onset: int
    moves: list[Move]
    marks: list[tuple[str, int, str, str]]
    host: HostSample | None
    losses: list[float]
    """The last losses, this step's included."""

    def mark(self, *whats: str) -> tuple[str, int, str, str] | None:
        return next((mark for mark in self.marks if mark[0] in whats), None)

    def move(self, metric: str) -> Move | None:
        return next((move for move in self.moves if move.metric == metric), None)


Cause = tuple[str, str]
"""A sentence, and a command or nothing."""


def evidence(around: Around, firing: Firing, step: int, began: int | None = None) -> dict[str, Json]:
    """Return what goes into an anomaly's context: `around` (sentences), `cause` and `next` where they are known.

    `began` is where the incident began that the anomaly belongs to: what got worse did not begin where it got worse.
    """
    onset = firing.onset_step if firing.onset_step is not None else step
    if began is not None and around.reaches(began):
        onset = min(onset, began)
    losses = [value for _, value in around.recent.get("loss", ()) if math.isfinite(value)]
    seen = _Seen(firing, onset, around.moves(firing.metric, onset), list(around.near(onset)), around.sample, losses)
    # A rate that jumped is told with its moment; that it also left its level says the same.
    moves = [move for move in seen.moves if move.metric != "learning_rate" or seen.mark("learning_rate") is None]
    told: dict[str, Json] = {"around": [*map(_moved, moves[:TOLD]), *_changes(seen), *_host(seen)]}
    for rule in _RULES:
        if (cause := rule(seen)) is not None:
            told["cause"], told["next"] = cause
            break
    if firing.kind in HOST:
        disk = seen.host.disk if seen.host is not None else ""
        told["next"] = HOST[firing.kind].format(disk=shlex.quote(disk or "."))
    return told


def _moved(move: Move) -> str:
    name = move.metric.replace("_", " ")
    if not math.isfinite(move.after):
        return f"{name} is {number(move.after)} since step {move.step:,} (was {number(move.before)})"
    way = "rose" if move.after > move.before else "fell"
    return f"{name} {way} from {number(move.before)} to {number(move.after)} (from step {move.step:,})"


def _changes(seen: _Seen) -> Iterator[str]:
    told = set()
    for what, step, before, now in seen.marks:
        if what in told:
            continue
        told.add(what)
        if what == "resumed":
            if seen.firing.kind == "resume_regression":
                continue
            yield f"the run was resumed at step {step:,}"
        elif what == "learning_rate":
            yield f"the learning rate went from {before} to {now} at step {step:,}"
        else:
            yield f"{what.replace('_', ' ')} changed from {before} to {now} at step {step:,}"


def _host(seen: _Seen) -> Iterator[str]:
    host = seen.host
    if host is None or seen.firing.kind in HOST:
        return
    if _disk_full(host):
        yield f"{size(host.disk_free or 0)} left on the disk of {host.disk}"
    if _memory_low(host):
        yield f"{size(host.memory_available or 0)} of memory left"
    for gpu in host.gpus:
        if gpu.throttled:
            heat = f" at {gpu.temperature:.0f} °C" if gpu.temperature is not None else ""
            yield f"GPU {gpu.index} is slowed down{heat}: {gpu.throttled}"


def _disk_full(host: HostSample) -> bool:
    if host.disk_free is None:
        return False
    return host.disk_free < GIBIBYTE or host.disk_free < FULL * (host.disk_total or 0)


def _memory_low(host: HostSample) -> bool:
    known = host.memory_available is not None and host.memory_total
    return bool(known) and (host.memory_available or 0) < LITTLE_MEMORY * (host.memory_total or 1)


def _room(seen: _Seen) -> Cause | None:
    """A full disk explains a stop: checkpoints and logs wait for it, or fail."""
    host, said = seen.host, seen.firing.message
    told = "No space left on device" in said
    if seen.firing.kind not in (*SLOW, "crashed") or not (told or (host is not None and _disk_full(host))):
        return None
    where = host.disk if host is not None and host.disk else "."
    left = f" ({size(host.disk_free)} left)" if host is not None and host.disk_free is not None else ""
    return f"The disk is full{left}: saving waits for it or fails.", f"df -h {shlex.quote(where)}"


def _heat(seen: _Seen) -> Cause | None:
    if seen.firing.kind not in SLOW or seen.host is None:
        return None
    slowed = next((gpu for gpu in seen.host.gpus if gpu.throttled), None)
    if slowed is None:
        return None
    return f"GPU {slowed.index} runs slower than it could: {slowed.throttled}.", "nvidia-smi -q -d PERFORMANCE"


def _memory(seen: _Seen) -> Cause | None:
    if seen.firing.kind not in (*SLOW, "crashed") or seen.host is None or not _memory_low(seen.host):
        return None
    return "The machine is out of memory: it swaps, or kills what is largest.", "free -h"


def _out_of_memory(seen: _Seen) -> Cause | None:
    if seen.firing.reason != "crashed_OOM":
        return None
    return (
        "It needed more memory than there is: lower the batch size or the sequence length, or recompute activations "
        "(gradient checkpointing).",
        "",
    )


def _learning_rate(seen: _Seen) -> Cause | None:
    mark = seen.mark("learning_rate")
    if seen.firing.kind not in LOSSES or mark is None or float(mark[3]) <= float(mark[2]):
        return None
    times = float(mark[3]) / float(mark[2])
    return f"The learning rate rose {times:.3g} times at step {mark[1]:,}, just before: look at the schedule first.", ""


def _resumed(seen: _Seen) -> Cause | None:
    mark = seen.mark("resumed")
    if seen.firing.kind not in (*LOSSES, "accuracy_drop") or mark is None:
        return None
    text = f"The run was resumed at step {mark[1]:,}, just before"
    return f"{text}: the optimizer's state or the order of the data may not have been restored.", ""


def _stage(seen: _Seen) -> Cause | None:
    mark = next((mark for mark in seen.marks if mark[0] not in ("epoch", "resumed", "learning_rate")), None)
    if seen.firing.kind not in (*LOSSES, "accuracy_drop") or mark is None:
        return None
    what = mark[0].replace("_", " ")
    return f"The {what} changed to {mark[3]} at step {mark[1]:,}, just before: other data has another loss.", ""


def _gradients(seen: _Seen) -> Cause | None:
    move = seen.move("grad_norm")
    if seen.firing.kind not in LOSSES or seen.firing.metric == "grad_norm" or move is None:
        return None
    if not math.isfinite(move.after):
        first = "first" if move.step < seen.onset else "with it"
        return (
            f"The gradients overflowed {first}, at step {move.step:,}: with fp16 use bf16 or a lower loss scale.",
            "",
        )
    if move.step > seen.onset or move.after < move.before:
        return None
    when = f"at step {move.step:,}, before the loss" if move.step < seen.onset else "with the loss"
    times = f"{move.after / move.before:.3g} times" if move.before > 0 else f"to {number(move.after)}"
    return f"The gradient norm rose {times} {when}: bad data in that batch, or too high a learning rate.", ""


def _loss_first(seen: _Seen) -> Cause | None:
    """NaN seldom comes out of the blue: say so where the loss had been climbing."""
    firing, move = seen.firing, seen.move("loss")
    if firing.kind != "nonfinite" or firing.metric == "loss" or move is None or move.step >= seen.onset:
        return None
    return f"The loss had left its level at step {move.step:,} already ({number(move.after)}): it diverged first.", ""


def _evaluation_alone(seen: _Seen) -> Cause | None:
    """An accuracy that falls while the loss stands still says more about the evaluation than about the model."""
    if seen.firing.kind != "accuracy_drop" or len(seen.losses) < 2 * TOLD or seen.move("loss") is not None:
        return None
    before, after = stats.median(seen.losses[-2 * TOLD : -TOLD]), stats.median(seen.losses[-TOLD:])
    if abs(after - before) > 0.05 * abs(before):
        return None
    return "The loss did not move with it: look at the evaluation data and at how answers are compared.", ""


def _epoch(seen: _Seen) -> Cause | None:
    mark = seen.mark("epoch")
    if seen.firing.kind not in ("loss_spike", "accuracy_drop", "throughput_drop") or mark is None:
        return None
    return f"Epoch {mark[3]} began at step {mark[1]:,}, just before: the data starts over, in another order.", ""


_RULES: tuple[Callable[[_Seen], Cause | None], ...] = (
    *(_out_of_memory, _room, _memory, _heat, _resumed, _learning_rate, _stage),
    *(_gradients, _loss_first, _evaluation_alone, _epoch),
)
