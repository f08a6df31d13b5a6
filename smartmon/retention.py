"""Which snapshots stay, which give up their weights, which go, and why: a pure plan.

Each run is judged by itself, so that one run's snapshots can never crowd out another's. Age counts from the run's
newest snapshot, as in restic: a run that was over long ago does not lose everything for that.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from smartmon.errors import ConfigError
from smartmon.params import duration_text
from smartmon.records import Snapshot, SnapshotState
from smartmon.text import duration, size

BEST = "best_model"


class Action(enum.StrEnum):
    """What becomes of a snapshot."""

    KEEP = "keep"
    SLIM = "slim"
    """Its weights go, its metadata stays as history."""
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Policy:
    """What config says about how long snapshots stay."""

    keep_best: int | None = None
    """How many of a run's best models stay in the history; None: all."""
    keep_best_weights: int = 3
    keep_last: int = 5
    keep_within: Mapping[str, float] = field(default_factory=dict)
    """Kind -> seconds; `default` is for the others."""
    max_bytes: int | None = None

    def within(self, trigger: str) -> tuple[str, float]:
        """The rule for a trigger such as `loss_spike_40.7pct`, and its seconds."""
        kinds = [kind for kind in self.keep_within if trigger == kind or trigger.startswith(f"{kind}_")]
        kind = max(kinds, key=len, default="default")
        return kind, self.keep_within.get(kind, 0.0)

    def check(self) -> None:
        """Raise ConfigError for a policy that keeps nothing: it is far likelier a slip than a wish."""
        if self.keep_best == 0 and self.keep_last == 0 and not any(self.keep_within.values()):
            raise ConfigError(
                "the retention policy keeps nothing; set snapshots.keep_last, keep_best or keep_within, "
                "or remove single snapshots with: smartmon snapshots delete"
            )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one snapshot, and every reason for it."""

    snapshot: Snapshot
    action: Action
    reasons: tuple[str, ...]
    fixed: bool = False
    """Whether no lack of room may change it."""


def plan(
    snapshots: Sequence[Snapshot],
    policy: Policy,
    now: float,
    *,
    cited: Collection[str] = (),
    incoming: int = 0,
    sizes: Mapping[str, int] | None = None,
) -> list[Verdict]:
    """Judge every snapshot of one snapshots dir; the verdicts come in the order of the snapshots.

    `cited` holds names that an open incident speaks of, `incoming` the bytes of a snapshot to come, `sizes` the bytes
    that removing a snapshot frees, where that is less than what it holds. Of equal age, the lower name is older.
    Raises ConfigError for a policy that keeps nothing.
    """
    policy.check()
    runs: dict[str, list[Snapshot]] = defaultdict(list)
    for snapshot in snapshots:
        runs[snapshot.run].append(snapshot)
    verdicts = {one.snapshot.path: one for group in runs.values() for one in _plan_run(group, policy, now, cited)}
    if policy.max_bytes is not None:
        _make_fit(verdicts, policy.max_bytes - incoming, sizes or {})
    return [verdicts[snapshot.path] for snapshot in snapshots]


def created(snapshot: Snapshot) -> float:
    """When a snapshot was made; 0 where nothing says it."""
    try:
        return datetime.fromisoformat(snapshot.created_at).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _plan_run(group: Sequence[Snapshot], policy: Policy, now: float, cited: Collection[str]) -> list[Verdict]:
    ordered = sorted(group, key=lambda one: (created(one), one.name), reverse=True)
    whole = [one for one in ordered if one.state is not SnapshotState.DAMAGED]
    past = [one for one in whole if created(one) <= now]
    best = _best_first(past)
    newest = past[0] if past else None
    # A record without a checkpoint, made when the disk was full, must not expose the last real one.
    whole_newest = next((one for one in past if one.checkpoint_step is not None and one.has_weights), None)
    last = {one.path for one in past[: policy.keep_last]}
    verdicts = [_verdict(one, policy, now, cited=cited, newest=newest, last=last, best=best) for one in group]
    return [
        replace(verdict, action=Action.KEEP, reasons=("the newest checkpoint of its run",), fixed=True)
        if verdict.snapshot is whole_newest and not verdict.fixed
        else verdict
        for verdict in verdicts
    ]


def _verdict(
    one: Snapshot,
    policy: Policy,
    now: float,
    *,
    cited: Collection[str],
    newest: Snapshot | None,
    last: Collection[Path],
    best: Sequence[Snapshot],
) -> Verdict:
    fixed = _fixed(one, now, cited, newest)
    if fixed:
        return Verdict(one, Action.KEEP, tuple(fixed), fixed=True)
    reasons = []
    if one.path in last:
        reasons.append(f"one of the {policy.keep_last} newest of its run")
    age = created(newest) - created(one) if newest is not None else 0.0
    for trigger in one.triggers:
        kind, within = policy.within(trigger)
        # A best model's weights are the business of keep_best_weights, else they would stay for as long as a run lasts.
        if within and age <= within and not _is_best(trigger):
            named = "" if kind == "default" else f"{kind} "
            reasons.append(f"{named}within {duration_text(within)} of the newest of its run")
    if one in best:
        return _best_verdict(one, policy, best.index(one), age, reasons)
    if reasons:
        return Verdict(one, Action.KEEP, tuple(dict.fromkeys(reasons)))
    return Verdict(one, Action.REMOVE, (f"{duration(age)} older than the newest of its run, and no rule keeps it",))


def _fixed(one: Snapshot, now: float, cited: Collection[str], newest: Snapshot | None) -> list[str]:
    reasons = []
    if one.state is SnapshotState.DAMAGED:
        reasons.append("damaged: look at it, then delete it by name")
    elif created(one) > now:
        reasons.append("dated in the future")
    if one.pinned:
        reasons.append("pinned")
    if one.name in cited:
        reasons.append("an open incident cites it")
    if one is newest:
        reasons.append("the newest of its run")
    return reasons


def _best_verdict(one: Snapshot, policy: Policy, place: int, age: float, reasons: list[str]) -> Verdict:
    if place < policy.keep_best_weights:
        reasons.append(f"one of the {policy.keep_best_weights} best models of its run")
    if reasons:
        return Verdict(one, Action.KEEP, tuple(dict.fromkeys(reasons)))
    if policy.keep_best is None or place < policy.keep_best:
        reasons.append("a best model of its run, kept as history")
    kind, within = policy.within(BEST)
    if within and age <= within:
        reasons.append(f"{BEST if kind == 'default' else kind} within {duration_text(within)} of the newest of its run")
    if not reasons:
        return Verdict(one, Action.REMOVE, (f"not one of the {policy.keep_best} best models of its run",))
    action = Action.SLIM if one.has_weights else Action.KEEP
    told = (f"only the {policy.keep_best_weights} best models of a run keep their weights",) if one.has_weights else ()
    return Verdict(one, action, (*reasons, *told))


def _is_best(trigger: str) -> bool:
    return trigger == BEST or trigger.startswith(f"{BEST}_")


def _best_first(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """A run's best models, the best first. Values of different metrics do not compare: the newest's metric leads."""
    ranked = []
    for snapshot in snapshots:
        for trigger in snapshot.triggers:
            if _is_best(trigger):
                metric, _, value = trigger.removeprefix(f"{BEST}_").rpartition("_")
                ranked.append((metric, _value(value), snapshot))
                break
    leading = ranked[0][0] if ranked else ""
    # `snapshots` come newest first, and the sort is stable: of equals the newer one leads.
    return [snapshot for metric, value, snapshot in sorted(ranked, key=lambda one: (one[0] != leading, one[1]))]


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _make_fit(verdicts: dict[Path, Verdict], room: int, sizes: Mapping[str, int]) -> None:
    """Change verdicts, the oldest first, until what stays fits; best models give up their weights only."""
    kept = [one for one in verdicts.values() if one.action is Action.KEEP]
    over = sum(_bytes(one, sizes) for one in kept) - room
    for one in sorted(kept, key=_turn):
        if one.fixed or not one.snapshot.has_weights:
            continue
        if over <= 0:
            return
        over -= _bytes(one, sizes)
        action = Action.SLIM if _any_best(one) else Action.REMOVE
        why = f"all snapshots together are to stay under {size(max(0, room))}"
        verdicts[one.snapshot.path] = replace(one, action=action, reasons=(why,))


def order(verdicts: Sequence[Verdict]) -> list[Snapshot]:
    """The snapshots in the order in which they would go for want of room; those that never do come last."""
    return [one.snapshot for one in sorted(verdicts, key=_turn)]


def _turn(one: Verdict) -> tuple[bool, bool, bool, float, str]:
    return one.action is Action.KEEP, one.fixed, _any_best(one), created(one.snapshot), one.snapshot.name


def _any_best(one: Verdict) -> bool:
    return any(_is_best(trigger) for trigger in one.snapshot.triggers)


def _bytes(one: Verdict, sizes: Mapping[str, int]) -> int:
    return sizes.get(one.snapshot.name, one.snapshot.bytes)
