"""How far a run seems to be that says how long it will take, and not how many steps it has."""

from __future__ import annotations

import math
from statistics import median

from smartmon.queries import RunInfo
from smartmon.store import RunRow, Store
from smartmon.web.models import Number
from smartmon.web.site import Site
from smartmon.web.views.curves import identity

_ROWS = 32
"""Rows whose word is taken together: one row's speed jumps with an evaluation or a long sample."""
_MOST = 2**53
"""The last step that a browser counts exactly."""


def estimated_total(site: Site, store: Store, row: RunRow, info: RunInfo) -> int | None:
    """Return the step that a run seems to go to, where nothing says so: its step, and what is left at its speed."""
    if row.total_steps or row.step is None or row.state.ended:
        return None

    def find() -> int | None:
        paces = {
            (one.attempt, one.step): one.value for one in store.recent(row.id, "steps_per_sec", _ROWS) if one.value > 0
        }
        found = [
            one.step + one.value * (paces.get((one.attempt, one.step)) or info.steps_per_sec or math.nan)
            for one in store.recent(row.id, "eta_seconds", _ROWS)
            if one.attempt == row.attempt and one.value >= 0
        ]
        known = [total for total in found if total < _MOST]
        return max(row.step or 0, round(median(known))) if known else None

    return site.memory.get(("estimate", *identity(row)), (row.attempt, row.step), find)


def share(row: RunRow, info: RunInfo, estimated: int | None) -> Number:
    """Return the share of the steps done, 0 to 1."""
    return row.step / estimated if estimated and row.step is not None else info.progress
