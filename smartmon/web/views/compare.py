"""Runs side by side: how well each did, what was kept of it, and in which settings they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from smartmon.sources import jsontext
from smartmon.sources.safe_read import Unreadable, read_file
from smartmon.store import RunRow, Store
from smartmon.web.masks import hidden, is_secret
from smartmon.web.models_detail import Compare, Compared, Difference
from smartmon.web.site import Site
from smartmon.web.views.cards import card, current_run, finite
from smartmon.web.views.files import root_of
from smartmon.web.views.kept import snapshot
from smartmon.web.views.stats import EXPERTS
from smartmon.web.views.timeline import numbers

_CONFIGS = (
    "training_config.json",
    "current_model/training_config.json",
    "args.json",
    "training_args.json",
    "adapter_config.json",
    "current_model/adapter_config.json",
    "config.json",
)
"""Where trainers say how they train, the most telling first."""
_KEYS = 400
_DEEP = 6
_LONG = 300
_SHORT = 120
"""Characters up to which a list stays in one cell."""
_COURSE = ("state", "begun", "ended", "finished", "step")
"""What the bundled trainer notes beside its settings of how far it came."""


def compare(site: Site, store: Store, rows: Sequence[RunRow]) -> Compare:
    """Return some runs side by side, in the order asked for."""
    now = site.clock()
    with store.transaction():
        current = current_run(store)
        settings = [_settings(row) for row in rows]
        having = Counter(name for row in rows for name in store.metrics(row.id))
        shared = sorted(name for name, count in having.items() if count >= min(2, len(rows)))
        return Compare(
            runs=[
                Compared(
                    card=card(site, store, row, now=now, current=current),
                    best_metric=str(row.data.get("best_metric") or "loss"),
                    best=finite(row.data.get("best_loss")),
                    best_step=row.data.get("best_loss_step"),
                    snapshot=_best_snapshot(site, store, row),
                    latest={name: finite(value) for name, value in (row.data.get("latest") or {}).items()},
                    config_source=source,
                )
                for row, (source, _) in zip(rows, settings)
            ],
            metrics=[name for name in shared if not name.startswith(EXPERTS)],
            differences=_differences([told if source else None for source, told in settings]),
        )


def _best_snapshot(site: Site, store: Store, row: RunRow) -> Any:
    kept = [one for one in store.snapshots(run=row.name) if any(why.startswith("best_model") for why in one.triggers)]
    best = row.data.get("best_loss_step")
    of_best = [one for one in kept if one.step == best]
    chosen = (of_best or kept)[-1:]
    return snapshot(site, chosen[0]) if chosen else None


def _settings(row: RunRow) -> tuple[str, dict[str, Any]]:
    for name in _CONFIGS:
        try:
            told = jsontext.load_object(read_file(row.path / name, root=root_of(row), limit=1 << 20).data)
        except (Unreadable, jsontext.BadJson):
            continue
        flat: dict[str, Any] = {}
        _flatten(told, "", flat, 0)
        return name, flat
    return "", {}


def _flatten(value: Any, key: str, flat: dict[str, Any], depth: int) -> None:
    if isinstance(value, list) and len(str(value)) > _SHORT:
        # Two long lists side by side tell nobody where they differ.
        value = {str(place + 1): item for place, item in enumerate(value)}
    if isinstance(value, Mapping) and depth < _DEEP:
        for name, item in value.items():
            if is_secret(str(name)):
                continue
            _flatten(item, f"{key}.{name}" if key else str(name), flat, depth + 1)
    elif len(flat) < _KEYS and key and key not in _COURSE:
        plain = isinstance(value, (str, int, float, bool)) or value is None
        text = value if plain else str(numbers(_open(value)))
        flat[key[:_LONG]] = hidden(text) if isinstance(text, str) else numbers(text)


def _open(value: Any) -> Any:
    """Return a value without its secrets."""
    if isinstance(value, Mapping):
        return {name: _open(item) for name, item in value.items() if not is_secret(str(name))}
    return [_open(item) for item in value] if isinstance(value, list) else value


def _differences(settings: Sequence[Mapping[str, Any] | None]) -> list[Difference]:
    """Return in what the runs differ whose settings are known."""
    known = [told for told in settings if told is not None]
    keys = dict.fromkeys(key for told in known for key in told)
    differing = [key for key in keys if any(told.get(key) != known[0].get(key) for told in known)]
    return [
        Difference(key=key, values=[_cut(told.get(key)) if told is not None else None for told in settings])
        for key in differing
    ]


def _cut(value: Any) -> Any:
    return f"{value[:_LONG]}…" if isinstance(value, str) and len(value) > _LONG else value
