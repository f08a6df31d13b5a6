"""The top cards of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from smartmon.store import RunRow, Store
from smartmon.web.models import Best, GradNorm, Number, Pace, Perplexity, Stats, Warmup
from smartmon.web.site import Site
from smartmon.web.views.cards import COLORS, briefs, daemon, failure, finite, glance
from smartmon.web.views.curves import attempts, began, identity
from smartmon.web.views.estimate import estimated_total, share

EXPERTS = "expert_usage/"
_CARDS = ("loss", "aux_loss", "eval_loss", "accuracy", "eval_accuracy", "learning_rate")
_PERPLEXITIES = ("perplexity", "eval_perplexity")
_ROWS = 1000
"""Rows that the average of a speed is over."""
_REACH, _FEWEST = 100, 10
"""Steps that the mean of the gradient's norm is over, and values at least: of a log with a row each 50 steps, say."""
_COARSE = 64
"""Points of the learning rate that its maximum is first looked for in."""
_SELDOM = 50
"""Steps between two looks for a later maximum."""


def stats(site: Site, store: Store, row: RunRow) -> Stats:
    """Return all that the cards of a run tell. Takes milliseconds: it reads no series whole."""
    now = site.clock()
    info = glance(site, store, row, now)
    latest = info.latest
    metrics = store.metrics(row.id)
    updated, started = info.last_step_at, began(site, store, row)
    ended = row.finished_at if row.state.ended else None
    estimated = estimated_total(site, store, row, info)
    return Stats(
        run=row.name,
        state=row.state.value,
        color=COLORS[row.state],
        live=not row.state.ended and not info.gone,
        error=failure(row),
        model_name=row.data.get("model_name") or None,
        base_dir=str(row.base_dir),
        path=str(row.path),
        attempt=row.attempt,
        step=row.step,
        total_steps=row.total_steps,
        estimated_total=estimated,
        progress=share(row, info, estimated),
        epoch=finite(row.epoch),
        **{name: finite(latest.get(name)) for name in _CARDS},
        nonfinite=sorted(name for name, value in latest.items() if not math.isfinite(value)),
        warmup=_warmup(site, store, row, finite(latest.get("learning_rate")), metrics),
        steps_per_sec=_steps(site, store, row, info.steps_per_sec, updated),
        samples_per_sec=_speed(store, row, latest, "samples_per_sec", metrics),
        tokens_per_sec=_speed(store, row, latest, "tokens_per_sec", metrics),
        eta_seconds=None if info.eta_seconds is None else round(info.eta_seconds),
        elapsed_seconds=max(0.0, round((ended or (now if not row.state.ended else updated or now)) - started)),
        data_age_seconds=None if updated is None else max(0.0, round(now - updated)),
        updated_at=updated,
        started_at=started,
        finished_at=ended,
        best=_best(site, store, row),
        perplexity=_perplexity(row, latest),
        grad_norm=_grad_norm(store, row, latest, metrics),
        latest={name: finite(value) for name, value in latest.items()},
        metrics=[name for name in metrics if not name.startswith(EXPERTS)],
        has_experts=any(name.startswith(EXPERTS) for name in metrics),
        open_incidents=briefs(info),
        snapshots_pending=info.copying,
        daemon=daemon(site, store),
        last_event_id=store.last_event_id(),
    )


def exp(value: Number) -> Number:
    """Return a loss as perplexity; None where that is beyond all numbers."""
    return math.exp(value) if value is not None and value < 700 else None


def _warmup(site: Site, store: Store, row: RunRow, rate: Number, metrics: list[str]) -> Warmup:
    entry = site.config.run_entry(row.name)
    steps, most = (entry.warmup_steps, entry.max_lr) if entry else (None, None)
    if "learning_rate" in metrics and (steps is None or most is None):
        seen_steps, seen_most = _peak(site, store, row)
        steps, most = steps if steps is not None else seen_steps, most if most is not None else seen_most
    if row.step is None or rate is None:
        return Warmup(state="unknown", steps=steps, max_lr=most)
    rising = row.step < steps if steps is not None else most is not None and rate >= most
    return Warmup(state="warming_up" if rising else "done", steps=steps, max_lr=most)


def _peak(site: Site, store: Store, row: RunRow) -> tuple[int | None, Number]:
    """Return where the learning rate first stopped rising (None: it still does), and its maximum so far.

    A jump later on is a maximum, but no end of a warm-up.
    """

    def find() -> tuple[int | None, Number]:
        points = [
            point
            for point in store.series(row.id, "learning_rate", max_points=_COARSE).points
            if math.isfinite(point.max)
        ]
        if not points:
            return None, None
        top = 0
        for index, point in enumerate(points):
            if point.max > points[top].max:
                top = index
            elif point.max < points[top].max:
                break
        start, end = points[max(0, top - 1)].step if top else None, points[top].step
        inside = store.series(row.id, "learning_rate", attempt=points[top].attempt, start=start, end=end).points
        step = next((point.step for point in inside if point.max == points[top].max), end)
        # The run itself may be further: its newest row need not tell the rate.
        rising = top == len(points) - 1 and step == points[-1].step
        return None if rising else step, max(point.max for point in points)

    # While it rises, each step moves the peak. After that a jump may, and is there to be seen soon enough.
    name, seen = ("peak", *identity(row)), (row.attempt, (row.step or 0) // _SELDOM, row.state)
    known = site.memory.get(name, seen, find)
    return known if known[0] is not None else site.memory.get((*name, "rising"), (row.attempt, row.step), find)


def _steps(site: Site, store: Store, row: RunRow, now: Number, updated: Number) -> Pace:
    def find() -> tuple[int, float] | None:
        found = [one for one in attempts(site, store, row) if one.attempt == row.attempt]
        return (found[0].first_step, found[0].started_at) if found else None

    start = site.memory.get(("attempt", *identity(row)), (row.attempt, row.step is None), find)
    if start is None or row.step is None or updated is None or updated <= start[1]:
        return Pace(now=finite(now), average=None)
    return Pace(now=finite(now), average=(row.step - start[0]) / (updated - start[1]))


def _speed(store: Store, row: RunRow, latest: Mapping[str, float], metric: str, metrics: list[str]) -> Pace:
    told = finite(latest.get(f"{metric}_avg"))
    if told is None and metric in metrics:
        values = [value for value in store.last_values(row.id, metric, _ROWS) if math.isfinite(value)]
        told = sum(values) / len(values) if values else None
    return Pace(now=finite(latest.get(metric)), average=told)


def _best(site: Site, store: Store, row: RunRow) -> Best:
    step = row.data.get("best_loss_step")

    def find() -> Number:
        points = store.series(row.id, "epoch", start=step, end=step).points if step is not None else []
        return finite(points[-1].last) if points else None

    return Best(
        metric=str(row.data.get("best_metric") or "loss"),
        value=finite(row.data.get("best_loss")),
        step=step,
        epoch=site.memory.get(("best", *identity(row)), (row.attempt, step), find),
    )


def _perplexity(row: RunRow, latest: Mapping[str, float]) -> Perplexity:
    told = finite(latest.get("eval_perplexity"))
    best, metric = finite(row.data.get("best_loss")), str(row.data.get("best_metric") or "loss")
    return Perplexity(
        train=exp(finite(latest.get("loss"))),
        eval=told if told is not None else exp(finite(latest.get("eval_loss"))),
        # What else a run may be judged by says nothing of its perplexity.
        best=exp(best) if metric in ("loss", "eval_loss") else best if metric in _PERPLEXITIES else None,
    )


def _grad_norm(store: Store, row: RunRow, latest: Mapping[str, float], metrics: list[str]) -> GradNorm:
    recent = store.recent(row.id, "grad_norm", _REACH) if "grad_norm" in metrics else []
    known = [one for one in recent if math.isfinite(one.value) and one.attempt == recent[-1].attempt]
    near = [one for one in known if one.step > known[-1].step - _REACH]
    near = near if len(near) >= _FEWEST else known[-_FEWEST:]
    return GradNorm(
        now=finite(latest.get("grad_norm")),
        mean100=sum(one.value for one in near) / len(near) if near else None,
        mean_steps=max(_REACH, near[-1].step - near[0].step) if near else _REACH,
    )
