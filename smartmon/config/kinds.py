"""The kinds that config may name: those of anomalies and incidents, and those of events."""

from __future__ import annotations

import difflib

ANOMALIES = (
    "loss_spike",
    "accuracy_drop",
    "best_model",
    "divergence",
    "slow_divergence",
    "nonfinite",
    "stalled",
    "crashed",
    "grad_explosion",
    "grad_vanish",
    "overfit",
    "plateau",
    "collapse",
    "throughput_drop",
    "lr_jump",
    "dead_expert",
    "prediction_mismatch",
    "frozen_metric",
    "resume_regression",
    "disk_full_soon",
    "gpu_hot",
    "memory_low",
)

EVENTS = (
    "run_started",
    "run_finished",
    "run_failed",
    "run_resumed",
    "checkpoint_saved",
    "evaluation",
    "incident_opened",
    "incident_escalated",
    "incident_resolved",
    "snapshot_created",
    "snapshot_skipped",
    "snapshot_removed",
    "alert_delivered",
    "alert_failed",
    "status_unreadable",
    "source_truncated",
    "daemon_started",
    "daemon_stopped",
    "warning",
)


def known_kind(value: str) -> str:
    """Return the kind; raise ValueError for one that looks like a misspelt known one.

    Detectors may come from other packages, so a name that resembles nothing here is let through.
    """
    if value in ANOMALIES or value in EVENTS:
        return value
    near = difflib.get_close_matches(value, ANOMALIES + EVENTS, n=1, cutoff=0.75)
    if near:
        raise ValueError(f'names an unknown kind; did you mean "{near[0]}"?')
    return value
