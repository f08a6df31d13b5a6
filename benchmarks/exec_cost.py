"""What `smartmon exec` costs: the start of a Python below it, and a gigabyte of output through it.

    python -m benchmarks.exec_cost [MEGABYTES]

Each pair is measured in turn, so that a busy machine is as busy for both; the least of all rounds is what counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from smartmon.exec.instrument import environment

ROUNDS = 3
STARTS = 40
_PRINT = "import sys\nline = 'x' * 99 + '\\n'\nfor _ in range(int(sys.argv[1])): sys.stdout.write(line)"


def main() -> None:
    """Measure and print."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        hooked = environment(plain, Path(folder), 1)
        start = [sys.executable, "-c", "pass"]
        without, beside = _least([(start, plain), (start, hooked)], STARTS, folder)
        print(f"start of Python: {1000 * without:.1f} ms, with the hook {1000 * beside:.1f} ms")
        words = [sys.executable, "-c", _PRINT, str(megabytes * 10_000)]
        under = [sys.executable, "-m", "smartmon", "exec", "--no-daemon", "--name", "b", "--", *words]
        idle = [*under[:-4], "true"]
        direct, through, nothing = _least([(words, plain), (under, plain), (idle, plain)], ROUNDS, folder)
        print(f"{megabytes} MB into a pipe: {direct:.2f} s")
        print(f"{megabytes} MB through exec: {through:.2f} s, of which its own start is {nothing:.2f} s")


def _least(commands: Sequence[tuple[list[str], Mapping[str, str]]], rounds: int, folder: str) -> list[float]:
    """Return the shortest time of each command in seconds, its output read from a pipe and thrown away."""
    least = [float("inf")] * len(commands)
    for _ in range(rounds):
        for index, (words, environ) in enumerate(commands):
            begun = time.perf_counter()
            with subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ, cwd=folder
            ) as process:
                assert process.stdout is not None
                while os.read(process.stdout.fileno(), 1 << 20):
                    continue
            least[index] = min(least[index], time.perf_counter() - begun)
    return least


if __name__ == "__main__":
    main()
