"""What each kind of trouble is called in a title, and what somebody woken by it should know first."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from smartmon.records import Change, IncidentChange, Severity
from smartmon.text import count, number

_LEAD = {
    Change.ESCALATED: "now critical: ",
    Change.RESOLVED: "resolved: ",
    Change.REMINDER: "still critical: ",
    Change.SUMMARY: "in trouble already: ",
}

ADVICE = {
    "loss_spike": "Spikes often pass by themselves; smartmon tells you when this one has.",
    "accuracy_drop": "Look at the loss as well: if it still falls, the evaluation data may be to blame.",
    "divergence": "It rarely comes back by itself: go back to a checkpoint from before, with a lower learning rate.",
    "slow_divergence": "It drifts away slowly: you have time, but steps from here on are likely lost.",
    "nonfinite": "Steps after this are worth nothing if the weights hold NaN: stop, and go back to the last good step.",
    "stalled": "The process may hang (data loader, network file system, a lost GPU): look whether it still runs.",
    "crashed": "It does not train any more, and the GPU may stand idle.",
    "grad_explosion": "A lower learning rate or gradient clipping is the usual answer.",
    "grad_vanish": "It hardly learns any more: check the learning rate schedule and the loss scale.",
    "overfit": "The best checkpoint lies behind: stop here, or go on from it with more data or a lower learning rate.",
    "collapse": "This is more often broken labels or data than success: look at a batch as the model sees it.",
    "resume_regression": "Optimizer, data order or weights may not have come back: look at what the checkpoint holds.",
    "throughput_drop": "Look for another process on the GPU, a slow data loader or disk, or heat.",
    "frozen_metric": "Look at the learning rate and the gradients, then at the code that logs this number.",
    "dead_expert": "Raise the load-balancing loss or the router's noise: a dead expert rarely comes back by itself.",
    "prediction_mismatch": "Check the prompt template and the labels of the samples.",
    "disk_full_soon": "Make room before the next save: old checkpoints are usually the largest.",
    "memory_low": "Fewer data-loader workers, or a smaller cache, make room.",
    "gpu_hot": "It trains on, but slower: look at the fans, the room, the power limit.",
}
"""One sentence by kind, for a message that opens or escalates."""

CRITICAL_ADVICE = {
    "loss_spike": "This is no single bad batch: unless it falls soon, go back to a checkpoint from before.",
    "accuracy_drop": "It does not come back by itself: go back to a checkpoint from before.",
}
"""The same where the severity is critical, for kinds that say something else then."""


SKIPPED = "A loss scaler skips such steps; where they go on, use bf16 or clip the gradients."
"""The same for gradients alone that are no numbers: the weights are as they were."""
REINFORCED = "Training seldom finds back from here: go back to a checkpoint from before."
"""The same for a collapse of what reinforcement learning logs."""


def advice(kind: str, severity: Severity, metric: str = "loss") -> str:
    """One sentence on what to make of it; empty for a kind that nobody wrote one for."""
    if kind == "collapse" and metric != "loss":
        return REINFORCED
    if kind == "nonfinite" and metric == "grad_norm" and severity is not Severity.CRITICAL:
        return SKIPPED
    graver = CRITICAL_ADVICE.get(kind) if severity is Severity.CRITICAL else None
    return graver or ADVICE.get(kind, "")


def words(kind: str) -> str:
    """`loss_spike` as `loss spike`."""
    return kind.replace("_", " ")


def at_step(step: int) -> str:
    """`at step 17,500`."""
    return f"at step {count(step)}"


def _percent(change: IncidentChange, sign: str, unit: str) -> str:
    match = re.search(r"_(\d+(?:\.\d+)?)pct$", change.reason)
    return f"{words(change.kind)} {sign}{match[1]} {unit} " if match else f"{words(change.kind)} "


def _nonfinite(change: IncidentChange) -> str:
    value = change.value
    shown = "infinite" if value is not None and math.isinf(value) else "NaN"
    return f"{words(change.metric or 'loss')} is {shown} "


def _valued(change: IncidentChange) -> str:
    known = change.value is not None and math.isfinite(change.value) and change.metric
    return f"{words(change.kind)}, {change.metric} {number(change.value)} " if known else f"{words(change.kind)} "


_WHAT: dict[str, Callable[[IncidentChange], str]] = {
    "loss_spike": lambda change: _percent(change, "+", "%"),
    "accuracy_drop": lambda change: _percent(change, "-", "points"),
    "divergence": lambda _: "training diverges ",
    "slow_divergence": lambda _: "training drifts away ",
    "nonfinite": _nonfinite,
    "collapse": lambda change: f"{words(change.metric or 'loss')} collapsed ",
    "grad_explosion": lambda _: "gradients explode ",
    "grad_vanish": lambda _: "gradients vanish ",
    "overfit": lambda _: "evaluation gets worse ",
    "resume_regression": lambda _: "worse since the resume ",
    "throughput_drop": lambda _: "training slowed down ",
    "frozen_metric": lambda change: f"{words(change.metric or 'a metric')} stands still ",
    "dead_expert": lambda _: "experts get no tokens ",
    "prediction_mismatch": lambda _: "answers and losses do not match ",
    "disk_full_soon": lambda _: "disk nearly full ",
    "memory_low": lambda _: "memory nearly used up ",
    "gpu_hot": lambda _: "GPU too hot ",
    "stalled": lambda _: "no progress ",
    "crashed": lambda change: "training keeps crashing " if change.reason == "crashed_loop" else "training crashed ",
}


def title(change: IncidentChange, run: str) -> str:
    """Return one line that says it all: `loss spike +40.7 % at step 17,500 - my-run`."""
    what = _WHAT.get(change.kind, _valued)(change)
    step = change.start_step if change.change in (Change.RESOLVED, Change.REMINDER) else change.step
    lead = _LEAD.get(change.change, "")
    if change.change is Change.ESCALATED and change.severity is not Severity.CRITICAL:
        lead = "worse: "
    return f"{lead}{what}{at_step(step)} - {run}"
