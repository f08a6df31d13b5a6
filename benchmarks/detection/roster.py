"""The contestants: every peer's rule with its name, and how it is run on a curve."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from benchmarks.detection import peers, peers_clock
from benchmarks.detection.curves import Alarm, Curve
from benchmarks.detection.peers import Series


@dataclass(frozen=True)
class Peer:
    """A rule: what it is called, what it looks at, and where it comes from."""

    name: str
    looks_at: str
    """loss, eval, accuracy, overfit or clock."""
    rule: Callable[..., Iterable[int]]
    family: str
    origin: str


def _loss(name: str, rule: Callable[..., Iterable[int]], origin: str, family: str = "loss") -> Peer:
    return Peer(name, "loss", rule, family, origin)


PEERS = (
    _loss("F0 fix30", peers.fix30, "x > 1.3 mean(5): common practice"),
    _loss("F1 Lightning", peers.lightning, "Lightning SpikeDetection"),
    _loss("F2 KillLossSpike", peers.kill_loss_spike, "llm-foundry KillLossSpike"),
    _loss("F3 trainpulse", peers.trainpulse, "trainpulse 0.4"),
    _loss("F4 OLMo-core", peers.olmo_core, "OLMo-core StabilityMonitor"),
    _loss("F4b skip-step", partial(peers.olmo_core, start=64, ddof=1), "OLMo-core, Levanter, MaxText skip-step"),
    _loss("F5 OLMo 2", peers.olmo_score, "OLMo 2 spike score, upward"),
    _loss("F6 llm.c", peers.llm_c, "llm.c outlier detector, k 6"),
    _loss("F7 InternEvo", peers.intern_evo, "InternEvo monitor"),
    _loss("F8 Megatron", peers.megatron, "Megatron-LM rerun machine"),
    _loss("F9 ZClip", peers.zclip, "ZClip run on the loss"),
    _loss("F10 trainscope", peers.trainscope, "trainscope CUSUM, upward"),
    _loss("F10b trainscope z", peers.window_z, "trainscope z 3.5 over 200, upward"),
    _loss("F11 W&B z", partial(peers.window_z, sigmas=3.0, size=30), "W&B automations, z 3 over 30, INCREASE"),
    _loss("F12 P0", peers.p0, "P0 W&B watcher, upward, with co-spike"),
    _loss("F13 Marin", peers_clock.marin, "Marin Grafana rules"),
    _loss("F14 metaseq", peers.metaseq, "metaseq loss ratio, limit 1.3"),
    _loss("F15 axolotl", peers.axolotl, "axolotl loss watchdog, 1.5 x first 20"),
    _loss("F16 Trackio", peers.trackio, "Trackio autoresearch script"),
    _loss("F17 PageHinkley", peers_clock.page_hinkley, "river PageHinkley, raw"),
    _loss("F17 PageHinkley log", partial(peers_clock.page_hinkley, log=True), "river PageHinkley, log"),
    _loss("F18 ADWIN", peers_clock.adwin, "river ADWIN, raw, upward"),
    _loss("F18 ADWIN log", partial(peers_clock.adwin, log=True), "river ADWIN, log, upward"),
    _loss("N1 NaN check", peers.not_finite, "Keras, Composer, Levanter, MaxText", "nonfinite"),
    *(
        Peer(f"F19 patience {p}", "patience", partial(peers_clock.early_stopping, patience=p), "eval", origin)
        for p, origin in ((3, "Lightning EarlyStopping"), (5, "EarlyStopping, patience 5"), (10, "... patience 10"))
    ),
    Peer("F20 SageMaker", "overfit", peers_clock.sagemaker_overfit, "eval", "SageMaker Overfit, 0.1"),
    Peer("F21 FlagScale", "clock", partial(peers_clock.gaps, limit=1800.0), "stall", "FlagScale, 1,800 s"),
    Peer("F21 Marin gap", "clock", partial(peers_clock.gaps, limit=900.0), "stall", "Marin, 900 s"),
    Peer("F21 DLRover", "clock", partial(peers_clock.gaps, limit=600.0), "stall", "DLRover, 600 s"),
    Peer("F21 NVRx", "clock", peers_clock.nvrx, "stall", "NVRx, 5 x longest gap"),
    Peer("F21 PortOS", "clock", peers_clock.portos, "stall", "PortOS, 6 x longest, 90 s to 15 min"),
    Peer("F22 P0 slow", "clock", peers_clock.slow_p0, "speed", "P0, median of 30 > 1.25 x run"),
    Peer("F22 trainpulse slow", "clock", peers_clock.slow_trainpulse, "speed", "trainpulse, 3 x mean of 20"),
)

SWEEP = tuple(
    Peer(f"{peer} at {value:g}", "loss", partial(rule, **{name: value}), "loss", "")
    for peer, rule, name, values in (
        ("F0 fix30", peers.fix30, "ratio", (1.1, 1.3, 1.5, 2.0, 3.0)),
        ("F4 OLMo-core", peers.olmo_core, "sigmas", (4.0, 6.0, 8.0, 12.0, 20.0)),
        ("F10 trainscope", peers.trainscope, "h", (6.0, 12.0, 25.0, 50.0, 100.0)),
        ("F11 W&B z", partial(peers.window_z, size=30), "sigmas", (3.0, 4.0, 6.0, 8.0, 12.0)),
    )
    for value in values
)
"""The main threshold of the strongest and the best known, varied: so that none is judged by its default alone."""


def alarms(peer: Peer, curve: Curve) -> list[Alarm]:
    """Run a rule over a curve."""
    return list(RUNNERS[peer.looks_at](peer, curve))


def series(curve: Curve) -> Series:
    """Return the curve's loss as a peer sees it: with its clock and its gradient norms where the log has them."""
    rows = [curve.rows[row] for row in curve.places.get(curve.loss, ())]
    at = [row.at for row in rows] if rows and all(row.timed for row in rows) else None
    grads = [row.values.get("grad_norm") for row in rows]
    return Series([row.values[curve.loss] for row in rows], [row.step for row in rows], at, grads)


def _on_loss(peer: Peer, curve: Curve) -> Iterable[Alarm]:
    if not curve.loss:
        return
    seen, places = series(curve), curve.places.get(curve.loss, [])
    kinds = frozenset({peer.family})
    for point in peer.rule(seen):
        yield Alarm(places[point], kinds, peer.name, "", curve.loss)


def _on_patience(peer: Peer, curve: Curve) -> Iterable[Alarm]:
    for metric, higher in (("eval_loss", False), ("eval_accuracy", True), ("accuracy", True)):
        places = curve.places.get(metric, [])
        if metric == "accuracy" and len(places) > len(curve.places.get("loss", ())) / 2 and "eval_loss" in curve.places:
            continue  # one value for each training record: not an evaluation
        for point in peer.rule(curve.series(metric), higher=higher):
            yield Alarm(places[point], frozenset({"eval"}), peer.name, "", metric)


def _on_overfit(peer: Peer, curve: Curve) -> Iterable[Alarm]:
    if curve.loss != "loss":
        return
    places = curve.places.get("eval_loss", [])
    train = curve.places.get("loss", [])
    evals, count = [], 0
    for row in places:
        while count < len(train) and train[count] <= row:
            count += 1
        evals.append((count, curve.rows[row].values["eval_loss"]))
    for index in peer.rule(series(curve), evals):
        yield Alarm(places[index], frozenset({"eval"}), peer.name, "", "eval_loss")


def _on_clock(peer: Peer, curve: Curve) -> Iterable[Alarm]:
    if not curve.rows or not all(row.timed for row in curve.rows):
        return
    places, last = [], None
    for index, row in enumerate(curve.rows):
        if row.step != last:  # an evaluation at the same step is no new step
            places.append(index)
        last = row.step
    for point in peer.rule([curve.rows[row].at for row in places]):
        yield Alarm(places[point], frozenset({peer.family}), peer.name)


RUNNERS = {"loss": _on_loss, "patience": _on_patience, "overfit": _on_overfit, "clock": _on_clock}
