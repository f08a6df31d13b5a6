"""Short runs trained for real, each with one fault provoked at step 150 (visible at 152), labelled by their names."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.detection.corpus import read_rows
from benchmarks.detection.curves import Curve, Span

VISIBLE = 151
FAULTS = {
    "spike_garbage_1batch": ("spike", 1),
    "garbage_20": ("spike", 22),
    "spike_shuffle_5batches": ("spike", 20),
    "spike_lr100_1step": ("divergence", 999),
    "spike_lr100_3steps": ("divergence", 999),
    "spike_lr10_20steps": ("divergence", 999),
    "diverge_lr100": ("divergence", 999),
    "diverge_lr30_noclip": ("divergence", 999),
    "nan_param": ("nonfinite", 999),
    "nan_param_filtered": ("masked_nan", 999),
}
"""File -> kind, and steps that it lasts from where it is visible (999: to the end)."""
HEALTHY = ("healthy", "demo_untied")
ARGUABLE = ("plateau_lr_high", "natural_diverge_lr5e-2_noclip", "too_low_lr")
"""Learning badly from the start: no moment at which somebody should have been told."""
FEW = {"spike": 5, "divergence": 50, "nonfinite": 2, "masked_nan": 3}


def runs(root: Path) -> list[Curve]:
    """Return the runs; they count as dev, for everybody has tuned by them."""
    found = []
    for path in sorted((root / "provoked").glob("*.jsonl")):
        curve = Curve(f"provoked/{path.stem}", "provoked", "provoked", "dev", read_rows(path), "loss", path=path)
        _label(curve, path.stem)
        found.append(curve)
    return found


def _label(curve: Curve, name: str) -> None:
    if name in FAULTS:
        kind, steps = FAULTS[name]
        places = curve.places["loss"]
        start = next(point for point, row in enumerate(places) if curve.rows[row].step >= VISIBLE)
        families = {"loss", "nonfinite"} if kind in ("masked_nan", "nonfinite") else {"loss"}
        event = curve.event(kind, "loss", start, start + steps, tolerance=FEW[kind], families=families, note=name)
        curve.events.append(event)
    elif name == "overfit":
        evals = curve.series("eval_loss")
        best = min(range(len(evals)), key=lambda point: evals[point] if math.isfinite(evals[point]) else math.inf)
        start = next((p for p in range(best, len(evals)) if evals[p] > 1.05 * evals[best]), len(evals) - 1)
        curve.events.append(curve.event("overfit", "eval_loss", start, 999, tolerance=5, note="5 % above the best"))
    elif name in HEALTHY:
        curve.healthy = True
    else:
        curve.spans.append(Span(0, len(curve.rows)))
