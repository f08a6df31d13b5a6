"""How fast the store takes and gives observations, and how large they are on disk.

Run: python benchmarks/store_speed.py [--points 1000000] [--dir /tmp]

Writes one run with a loss of full precision, a loss printed with 4 decimals and a learning rate, in transactions of
1,000 steps as the daemon does after a restart, then reads charts of it. Prints one line for each figure.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from smartmon.store import Store

METRICS = 3
BATCH = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000, help="observations in all")
    parser.add_argument("--dir", type=Path, default=None, help="where to put the database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        path = Path(folder) / "smartmon.db"
        steps = options.points // METRICS
        with Store.open(path) as store:
            run_id = store.ensure_run("bench", Path(folder), Path(folder), 0.0).id
            write(store, run_id, steps)
            single_rows(store, run_id, steps)
            charts(store, run_id, steps)
        sizes(path, steps * METRICS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak:.0f} MB")


def write(store: Store, run_id: int, steps: int) -> None:
    """Append in batches; the slowest ones seal chunks."""
    noise = random.Random(1)
    waits = []
    began = time.perf_counter()
    for start in range(0, steps, BATCH):
        batch = time.perf_counter()
        with store.transaction():
            for step in range(start, min(start + BATCH, steps)):
                loss = 2 * math.exp(-step / steps) + noise.gauss(0, 0.05)
                at = 1.7e9 + step * 0.731 + noise.random() / 50
                rate = 2e-5 * (1 + math.cos(math.pi * step / steps))
                values = {"loss": loss, "printed_loss": round(loss, 4), "learning_rate": rate}
                store.append(run_id, 1, step, at, values)
            store.set_cursor(run_id, "log", {"offset": step})
        waits.append((time.perf_counter() - batch) * 1000)
    spent = time.perf_counter() - began
    rows = statistics.quantiles(waits, n=100) if len(waits) > 1 else waits * 99
    print(
        f"append: {steps * METRICS / spent:,.0f} points/s; a batch of {BATCH} steps: "
        f"p50 {rows[49]:.1f} ms, p99 {rows[98]:.1f} ms"
    )


def single_rows(store: Store, run_id: int, steps: int) -> None:
    """One durable transaction for each step, as in a live run."""
    waits = []
    for step in range(steps, steps + 200):
        began = time.perf_counter()
        with store.transaction():
            store.append(run_id, 1, step, 1.7e9 + step, {"loss": 1.0, "printed_loss": 1.0, "learning_rate": 1e-5})
            store.set_cursor(run_id, "log", {"offset": step})
        waits.append((time.perf_counter() - began) * 1000)
    print(f"one step, durable: median {statistics.median(waits):.2f} ms, worst {max(waits):.1f} ms")


def charts(store: Store, run_id: int, steps: int) -> None:
    """Read what a dashboard reads."""
    questions: dict[str, Callable[[], object]] = {
        "whole series in 4,000 buckets": lambda: store.series(run_id, "loss"),
        "whole series in 400 buckets": lambda: store.series(run_id, "loss", max_points=400),
        "a tenth of it in 4,000 buckets": lambda: store.series(run_id, "loss", start=steps // 2, end=steps * 6 // 10),
        "the last 64 values": lambda: store.last_values(run_id, "loss", 64),
    }
    for name, ask in questions.items():
        times = []
        for _ in range(5):
            began = time.perf_counter()
            ask()
            times.append((time.perf_counter() - began) * 1000)
        print(f"{name} of {steps:,} points: {min(times):.1f} ms")


def sizes(path: Path, points: int) -> None:
    """Bytes for each point: of the file, and of the chunks of each metric."""
    print(f"file: {path.stat().st_size / 1e6:.1f} MB, {path.stat().st_size / points:.2f} bytes a point")
    with Store.open(path, readonly=True) as store:
        for metric in store.metrics(1):
            print(f"  {metric}: {store.bytes_per_point(1, metric):.2f} bytes a sealed point")


if __name__ == "__main__":
    main()
