"""How fast checkpoints are copied, against `cp -r` and `sync`, in how much memory; and how long a reflink takes.

Run: `.venv/bin/python benchmarks/copy_speed.py --size 4`. The bar: at least 80 % of cp's speed on the copying path,
under a second for a reflink of any size. Figures depend on the machine and its mood; each is the best of a few.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from smartmon.records import Severity
from smartmon.snapshots.choice import Choice
from smartmon.snapshots.copying import Copier
from smartmon.snapshots.layouts import Found, Looks, find_checkpoints
from smartmon.snapshots.listing import Listing
from smartmon.snapshots.making import Request, contents, make
from smartmon.snapshots.staging import Staging, publish

SHARDS = 4


def write_checkpoint(place: Path, size: int) -> Path:
    """A checkpoint with a few large files of noise."""
    path = place / "checkpoint-100"
    path.mkdir(parents=True)
    block = os.urandom(1 << 24)
    for shard in range(SHARDS):
        with (path / f"optimizer_{shard}.pt").open("wb") as file:
            for _ in range(max(1, size // SHARDS // len(block))):
                file.write(block)
    (path / "trainer_state.json").write_text('{"global_step": 100}')
    subprocess.run(["sync"], check=True)
    return path


def drop_caches() -> None:
    """Both sides read from the disk, where we may say so."""
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        print("(cannot drop caches: the source may be read from memory)")


def snapshot(place: Path, folder: Path) -> str:
    """Make one snapshot, as the keeper does; returns how it was copied."""
    looks = Looks(0.0)
    (checkpoint,) = find_checkpoints(place)
    found: Found = looks.at(checkpoint, 0.0)
    choice = Choice((found,))
    wanted = contents(choice, None, Listing(()), ())
    reasons = ("loss_spike_1.0pct",)
    request = Request("uid", "run", 1, 100, time.time(), ("loss_spike",), reasons, Severity.WARNING, (), {})
    with Staging(folder, Copier()) as staging:
        told = make(staging, request, choice, wanted, held={}, made_at=time.time())
        publish(staging.path, told, request.at, list(reasons))
    return str(told["copy_method"])


def timed(act: Callable[[], object]) -> float:
    """Seconds that it took."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def child(place: Path, folder: Path) -> None:
    """What a fresh process reports of one snapshot: seconds, method, and how much its peak memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    method = snapshot(place, folder)
    seconds = time.perf_counter() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seconds, method, grown, before + grown)


def ours(place: Path, folder: Path) -> tuple[float, str, int, int]:
    """Run `child` in a process of its own."""
    words = [sys.executable, __file__, "--child", str(place), str(folder)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    seconds, method, grown, peak = done.stdout.split()
    return float(seconds), method, int(grown), int(peak)


def compare(base: Path, size: int, rounds: int) -> None:
    """Copy on the file system of `base`, both ways in turn."""
    checkpoint = write_checkpoint(base / "run", size)
    best = {"cp": float("inf"), "smartmon": float("inf")}
    told = ("", 0, 0)
    for number in range(rounds):
        drop_caches()
        target = base / f"cp-{number}"
        copy = ["cp", "-r", str(checkpoint), str(target)]
        sync = ["sync", "-f", str(base)]
        best["cp"] = min(best["cp"], timed(lambda: [subprocess.run(words, check=True) for words in (copy, sync)]))  # noqa: B023
        shutil.rmtree(target)
        drop_caches()
        seconds, *rest = ours(base / "run", base / f"kept-{number}")
        best["smartmon"] = min(best["smartmon"], seconds)
        told = (str(rest[0]), int(rest[1]), int(rest[2]))
        shutil.rmtree(base / f"kept-{number}")
    for name, seconds in best.items():
        print(f"{name:10} {seconds:7.2f} s  {size / seconds / 2**20:8.0f} MiB/s")
    share = best["cp"] / best["smartmon"]
    print(
        f"{share:.0%} of cp + sync (bar: 80 %), by {told[0]}; peak RSS {told[2] / 1024:.1f} MiB (+{told[1] / 1024:.1f})"
    )


def reflink(base: Path, size: int) -> None:
    """Snapshot a checkpoint on an XFS image, where the machine lets us mount one."""
    if os.geteuid() != 0 or shutil.which("mkfs.xfs") is None:
        print("reflink: needs root and mkfs.xfs; skipped")
        return
    image, point = base / "image", base / "xfs"
    with image.open("wb") as file:
        file.truncate(size + (600 << 20))
    point.mkdir()
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=False).returncode:
        print("reflink: cannot mount an image here; skipped")
        return
    try:
        write_checkpoint(point / "run", size)
        seconds, method, _grown, _peak = ours(point / "run", point / "kept")
        print(f"{method}: {seconds:.3f} s for {size / 2**30:.1f} GiB (bar: 1 s)")
    finally:
        subprocess.run(["umount", str(point)], check=True)


def main() -> None:
    """Measure, and print figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=4.0, help="GB to copy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=None, help="where to copy; by default a temporary folder")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    size = int(options.size * 10**9)
    with tempfile.TemporaryDirectory(prefix="smartmon-copy-", dir=options.dir) as folder:
        compare(Path(folder), size, options.rounds)
        reflink(Path(folder), size)


if __name__ == "__main__":
    main()
