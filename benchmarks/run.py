"""Runs every benchmark and writes what they print to `benchmarks/RESULTS.md`, with the date, commit and machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("daemon.py", "reading.py", "store_speed.py", "copy_speed.py", "exec_cost.py", "web.py")


def machine() -> str:
    """One line about the machine, without its name."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {system}"


def main() -> None:
    """Run all and write the file."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    parts = [
        "# Benchmark results",
        f"{time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip() or 'unknown'}, {machine()}.",
        "Written by `make bench`. A shared machine: take the times with a grain of salt, the memory as firm.",
    ]
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        done = subprocess.run([sys.executable, str(HERE / script)], stdout=subprocess.PIPE, text=True, check=True)
        print(done.stdout, flush=True)
        parts.append(f"## {script}\n\n```\n{done.stdout.rstrip()}\n```")
    (HERE / "RESULTS.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
