"""Retention as it is carried out on a snapshots dir: the plan that the daemon, `prune` and its dry run share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from smartmon import retention
from smartmon.config.sections import Snapshots
from smartmon.records import Snapshot
from smartmon.retention import Action, Policy, Verdict
from smartmon.snapshots import folder as folders
from smartmon.snapshots import room


def policy_of(settings: Snapshots, max_bytes: int | None) -> Policy:
    """What config says about how long snapshots stay."""
    return Policy(
        keep_best=None if settings.keep_best == "all" else settings.keep_best,
        keep_best_weights=settings.keep_best_weights,
        keep_last=settings.keep_last,
        keep_within=settings.keep_within,
        max_bytes=max_bytes,
    )


def limits_of(settings: Snapshots) -> room.Limits:
    """What config says about room."""
    return room.Limits(
        min_free_percent=settings.min_free_percent,
        min_free_least=settings.min_free_least,
        min_free_most=settings.min_free_most,
        max_bytes=settings.max_bytes,
    )


def planned(
    folder: Path,
    snapshots: Sequence[Snapshot],
    settings: Snapshots,
    now: float,
    *,
    cited: Collection[str] = (),
    incoming: int = 0,
) -> list[Verdict]:
    """Judge every snapshot of a snapshots dir. Raises ConfigError for a policy that keeps nothing."""
    if not snapshots:
        return []
    policy = policy_of(settings, room.most(folder, limits_of(settings)))
    # A file that several share is freed by the last of them to go, and never if that one stays.
    unhurried = retention.plan(snapshots, replace(policy, max_bytes=None), now, cited=cited)
    sizes = room.shares(retention.order(unhurried))
    return retention.plan(snapshots, policy, now, cited=cited, incoming=incoming, sizes=sizes)


def cited(snapshots: Sequence[Snapshot], open_incidents: Mapping[str, Collection[str]] | None) -> set[str]:
    """The names of the snapshots that an open incident cites: its first checkpoint, and the newest.

    The first holds the last good checkpoint, the newest is in its latest message. What a storm of weeks made in
    between is left to the other rules: else it would fill the room that the next snapshot needs.

    `snapshots` come oldest first; `open_incidents` holds run -> keys; None: nobody knows which are open, so every
    incident may be.
    """
    first: dict[tuple[str, str], Snapshot] = {}
    newest: dict[tuple[str, str], Snapshot] = {}
    for snapshot in snapshots:
        for key in snapshot.metadata.get("incident_keys") or ():
            if open_incidents is None or key in open_incidents.get(snapshot.run, ()):
                incident = (snapshot.run, str(key))
                newest[incident] = snapshot
                if incident not in first or (first[incident].checkpoint_step is None and snapshot.has_weights):
                    first[incident] = snapshot
    return {snapshot.name for snapshot in (*first.values(), *newest.values())}


def carry_out(verdict: Verdict, now: float, beat: Callable[[], None] = lambda: None) -> None:
    """Do what a verdict says. Raises SnapshotError when it cannot be done."""
    if verdict.action is Action.REMOVE:
        folders.remove(verdict.snapshot, beat=beat)
    elif verdict.action is Action.SLIM:
        folders.slim(verdict.snapshot, now, verdict.reasons[-1], beat)
