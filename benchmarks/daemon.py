"""What the daemon costs and how prompt it is: memory and CPU at rest with 20 runs, file-to-database latency, start-up.

Run: `.venv/bin/python benchmarks/daemon.py`. Nothing here is a test: figures depend on the machine and its mood.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

RUNS = 20


def write_status(base: Path, step: int, loss: float) -> None:
    """Replace a status file atomically, as trainers do."""
    path = base / "status" / "training_status.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"status": "training", "current_step": step, "total_steps": 10_000, "loss": loss}))
    temporary.replace(path)


def make_runs(base: Path) -> list[Path]:
    """Twenty runs with a log of 200 rows and a status file each."""
    runs = [base / f"run-{index:02}" for index in range(RUNS)]
    for run in runs:
        run.mkdir(parents=True)
        rows = (
            json.dumps({"step": step, "loss": 2 / (1 + step / 50), "timestamp": time.time()}) for step in range(200)
        )
        (run / "training_log.jsonl").write_text("\n".join(rows) + "\n")
        write_status(run, 199, 0.4)
    return runs


@contextlib.contextmanager
def daemon(base: Path):
    """The daemon over `base`, once it has read every run."""
    command = [sys.executable, "-m", "smartmon", "run", "--base-dir", str(base)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(known(base, "select id from runs where step = 199")) < RUNS:
            assert time.monotonic() < deadline, "the daemon did not read the runs"
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(15)


def known(base: Path, sql: str) -> list[tuple]:
    """Ask the daemon's database; nothing while there is none."""
    path = base / ".smartmon" / "smartmon.db"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []


def at_rest(process: psutil.Process, seconds: float) -> dict[str, float]:
    """Memory (MB) and CPU (% of a core) while nothing happens."""
    time.sleep(3)
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return {"rss_mb": process.memory_info().rss / 2**20, "cpu_percent": 100 * used / seconds}


def latency(base: Path, runs: list[Path], times: int) -> dict[str, float]:
    """Milliseconds from the rename of a status file to the row in the database (polled each millisecond)."""
    taken = []
    path = base / ".smartmon" / "smartmon.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for index in range(times):
            run, step = runs[index % RUNS], 1000 + index
            began = time.perf_counter()
            write_status(run, step, 0.4)
            while not db.execute("select 1 from runs where step = ?", (step,)).fetchone():
                time.sleep(0.001)
                assert time.perf_counter() - began < 30, "an update was never stored"
            taken.append(1000 * (time.perf_counter() - began))
            time.sleep(0.05)
    ranked = statistics.quantiles(taken, n=100)
    return {"p50_ms": ranked[49], "p95_ms": ranked[94], "max_ms": max(taken)}


def start_up(times: int) -> float:
    """Median milliseconds of `smartmon --help`."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "smartmon", "--help"], stdout=subprocess.DEVNULL, check=True)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def measure(seconds: float = 30, times: int = 200) -> dict[str, float]:
    """All figures of this file."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        runs = make_runs(base)
        with daemon(base) as process:
            rest = at_rest(process, seconds)
            prompt = latency(base, runs, times)
    return {**rest, **prompt, "help_ms": start_up(7)}


BARS = {
    "rss_mb": ("memory at rest with 20 runs, MB", 50),
    "cpu_percent": ("CPU at rest with 20 runs, % of a core", 1),
    "p50_ms": ("status file to stored row, median, ms", None),
    "p95_ms": ("status file to stored row, 95th percentile, ms", 100),
    "max_ms": ("status file to stored row, worst, ms", None),
    "help_ms": ("smartmon --help, median of 7, ms", 300),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="how long to watch it rest")
    parser.add_argument("--times", type=int, default=200, help="how many updates to time")
    options = parser.parse_args()
    for name, value in measure(options.seconds, options.times).items():
        what, bar = BARS[name]
        print(f"{what:<48} {value:8.2f}" + (f"   (bar: under {bar})" if bar else ""))


if __name__ == "__main__":
    main()
