"""Turns anomalies that ask for a snapshot into requests that carry their evidence; the keeper takes it from there."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable, Sequence

from smartmon.config import Config
from smartmon.monitor.watched import Watched
from smartmon.records import Anomaly, Json, Keep
from smartmon.store import Store


class Requests:
    """The requests that follow from a round. Runs inside the caller's transaction."""

    def __init__(self, store: Store, config: Config, on_work: Callable[[], None]) -> None:
        self._store = store
        self._config = config
        self._config_digest = config.digest()
        self._on_work = on_work

    def flush(self, watched: Watched) -> None:
        """Turn the round's anomalies that ask for a snapshot into requests: one per attempt and step."""
        groups: dict[tuple[int, int], list[Anomaly]] = defaultdict(list)
        for anomaly in _without_bettered(watched.asked):
            groups[anomaly.attempt, anomaly.step].append(anomaly)
        watched.asked.clear()
        if groups:
            self._on_work()
        for (attempt, step), group in groups.items():
            worst = max((anomaly.severity for anomaly in group), key=lambda severity: severity.rank)
            keys = [
                incident.key for incident in watched.judge.open_incidents if incident.kind in {a.kind for a in group}
            ]
            self._store.request_keep(
                watched.id,
                attempt,
                step,
                at=group[0].at,
                kinds=[anomaly.kind for anomaly in group],
                reasons=[anomaly.reason for anomaly in group],
                severity=worst,
                hold=all(anomaly.keep is Keep.HOLD for anomaly in group),
                incident_keys=keys,
                payload=self._payload(watched, group),
            )

    def _payload(self, watched: Watched, group: Sequence[Anomaly]) -> dict[str, Json]:
        context: dict[str, Json] = {}
        for anomaly in group:
            context |= anomaly.context
        latest = dict(context.get("latest") or watched.judge.latest)
        # The value under test is the anomaly's own, whatever was read since.
        latest |= {anomaly.metric: anomaly.value for anomaly in group if anomaly.value is not None}
        onsets = [a.onset_step for a in group if a.onset_step is not None]
        goods = [a.last_good_step for a in group if a.last_good_step is not None]
        return {
            **{key: latest.get(key) for key in ("loss", "accuracy", "learning_rate", "grad_norm", "epoch")},
            **{key: context.get(key, []) for key in ("loss_history", "accuracy_history", "lr_history")},
            "best_loss": watched.judge.best_loss,
            "best_loss_step": watched.judge.best_loss_step,
            "onset_step": min(onsets, default=None),
            "last_good_step": min(goods, default=None),
            "detector_parameters": self._parameters(watched, group),
            "config_digest": self._config_digest,
            "status_b64": base64.b64encode(watched.status_bytes()).decode("ascii"),
            "run": watched.name,
            "run_path": str(watched.found.path),
            "base_dir": str(watched.found.base_dir),
            "checkpoint_dir": str(watched.checkpoint_dir) if watched.checkpoint_dir else None,
            "model_dir": str(watched.model_dir),
            "anomalies": [
                {"kind": a.kind, "reason": a.reason, "severity": a.severity.value, "message": a.message} for a in group
            ],
        }

    def _parameters(self, watched: Watched, group: Sequence[Anomaly]) -> dict[str, Json]:
        settings = self._config.judge_settings(watched.name)
        sections = settings.detectors.model_dump(mode="json")
        shown = {kind: sections[kind] for kind in sorted({anomaly.kind for anomaly in group}) if kind in sections}
        return {**shown, "loss_window": settings.loss_window, "noise_guard": settings.noise_guard}


def _without_bettered(asked: Sequence[Anomaly]) -> list[Anomaly]:
    """Leave out what would be held only until the next row of the same round betters it."""
    wanted: list[Anomaly] = []
    better = False
    for anomaly in reversed(asked):
        if anomaly.keep is Keep.HOLD:
            if not better:
                wanted.append(anomaly)
            better = True
        else:
            # The interval ends where one is kept at once: what was held before it is published, so its best counts.
            better = better and anomaly.kind != "best_model"
            wanted.append(anomaly)
    return wanted[::-1]
