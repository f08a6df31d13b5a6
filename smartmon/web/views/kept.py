"""Checkpoints of the trainer that are there now, and snapshots of ours."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from smartmon.config.kinds import ANOMALIES
from smartmon.records import Checkpoint, Snapshot
from smartmon.snapshots.layout_table import UNKNOWN
from smartmon.snapshots.layouts import Looks, Readiness, find_checkpoints
from smartmon.snapshots.metadata import DIGESTS
from smartmon.store import RunRow, Store
from smartmon.web.models import CheckpointOne, Checkpoints, Number, SnapshotOne, Snapshots
from smartmon.web.site import Site
from smartmon.web.views.cards import finite
from smartmon.web.views.stats import exp

MOST = 20


def checkpoints(site: Site, store: Store, row: RunRow) -> Checkpoints:
    """Return the newest checkpoints of a run."""
    entry = site.config.run_entry(row.name)
    found = find_checkpoints(row.path, entry.checkpoint_dir if entry else None)
    shown = list(reversed(found))[:MOST]
    now = site.clock()
    best_step = _holding([one.step for one in shown], row.data.get("best_loss_step"))
    return Checkpoints(
        run=row.name,
        count=len(found),
        checkpoints=[_checkpoint(store, row, one, best=one.step == best_step, now=now) for one in shown],
    )


def _holding(steps: Sequence[int], best: int | None) -> int | None:
    """Return the step of the checkpoint that was saved for the best one: the next after it, or None if that is gone.

    One that lies further off than checkpoints lie apart is another one's: rotation has taken the best.
    """
    after = min((step for step in steps if best is not None and step >= best), default=None)
    apart = min((newer - older for older, newer in pairwise(sorted(steps))), default=1)
    return after if after is not None and best is not None and after - best < max(apart, 1) else None


def _checkpoint(store: Store, row: RunRow, one: Checkpoint, *, best: bool, now: float) -> CheckpointOne:
    # One look is enough: whether it stands still is told by its age.
    look = Looks(0.0).at(one, now)
    loss = _eval_loss(store, row, one.step)
    return CheckpointOne(
        name=one.path.name,
        path=str(one.path),
        step=None if one.step == UNKNOWN else one.step,
        layout=one.layout,
        bytes=one.bytes,
        saved_at=one.mtime,
        complete=look.readiness is Readiness.READY,
        problem="there is nothing in it yet" if look.readiness is Readiness.GONE else look.problem,
        eval_loss=loss,
        perplexity=exp(loss),
        best=best,
    )


def _eval_loss(store: Store, row: RunRow, step: int) -> Number:
    """Return the last finite evaluation up to a step, in the newest attempt that has one there."""
    points = store.series(row.id, "eval_loss", end=step, max_points=100_000).points
    return next((point.last for point in reversed(points) if math.isfinite(point.last)), None)


def snapshots(site: Site, store: Store, row: RunRow | None, limit: int) -> Snapshots:
    """Return the newest snapshots of a run, or of all."""
    found = store.snapshots(run=row.name if row else None)
    return Snapshots(
        run=row.name if row else None,
        count=len(found),
        bytes=sum(one.bytes for one in found),
        snapshots=[snapshot(site, one) for one in reversed(found[-limit:])],
    )


def snapshot(site: Site, one: Snapshot) -> SnapshotOne:
    """Return a snapshot with the commands for it."""
    name = shlex.quote(one.name)
    base = f" --base-dir {shlex.quote(str(site.config.base_dirs[0]))}" if site.config.base_dirs else ""
    told = one.metadata
    return SnapshotOne(
        name=one.name,
        path=str(one.path),
        run=one.run,
        attempt=one.attempt,
        created_at=one.created_at,
        at=_moment(one.created_at),
        reason=one.reason,
        triggers=list(one.triggers),
        kinds=list(dict.fromkeys(kind_of(reason) for reason in one.triggers)),
        severity=one.severity.value,
        step=one.step,
        loss=finite(one.loss),
        accuracy=finite(one.accuracy),
        checkpoint_step=one.checkpoint_step,
        checkpoint_age_steps=_whole(told.get("checkpoint_age_steps")),
        last_good_checkpoint_step=_whole(told.get("last_good_checkpoint_step")),
        bytes=one.bytes,
        copy_method=str(told.get("copy_method") or ""),
        pinned=one.pinned,
        state=one.state.value,
        problem=one.problem,
        has_weights=one.has_weights,
        verified=(one.path / DIGESTS).is_file(),
        commands=[
            f"smartmon snapshots show {name}{base}",
            f"smartmon snapshots verify {name} --full{base}",
            f"smartmon snapshots restore {name} DEST{base}",
        ],
    )


def kind_of(reason: str) -> str:
    """Return the kind that a reason begins with: `loss_spike` of `loss_spike_40.7pct`. An unknown one is its own."""
    begun = [kind for kind in ANOMALIES if reason == kind or reason.startswith(f"{kind}_")]
    return max(begun, key=len, default=reason)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(text: str) -> Number:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
