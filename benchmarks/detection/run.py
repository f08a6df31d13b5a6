"""Judges smartmon's detectors and its peers' rules on the same curves; `make bench-detection` runs it whole.

What counts as an alarm is what a person would be sent: for smartmon what opens an incident or makes one worse, at
severity warning or critical, as `smartmon replay --json` tells it with its defaults; for a peer every firing.

Parts: `dev` and `test` are the labelled real logs, split by repository (tune on dev, report test); `provoked` are short
runs with a provoked fault; `injected` are quiet real logs with an event put in; `synthetic` is healthy noise;
`crash` is restarts that get nowhere. Without the corpus ($SMARTMON_CORPUS, or ../shared/corpus) only what needs no
real log is run.

A closer look:
  python benchmarks/detection/run.py --only dev --no-peers    smartmon alone, in seconds, with misses and false alarms
  python benchmarks/detection/run.py --curve hf001            alarms and labels of one log (or of one made curve)
  python benchmarks/detection/run.py --only injected --quick  a tenth of the injected curves
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import starmap
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What is judged is a copy made now: who edits the detectors while this runs changes nothing, and breaks nothing.
FROZEN = tempfile.TemporaryDirectory(prefix="smartmon-judged-")
shutil.copytree(ROOT / "smartmon", Path(FROZEN.name) / "smartmon", ignore=shutil.ignore_patterns("__pycache__"))
sys.path[:] = [FROZEN.name, str(ROOT), *(entry for entry in sys.path if Path(entry or ".") != Path(__file__).parent)]

from benchmarks.detection import corpus, look, report  # noqa: E402  (this file is also run as a script)
from benchmarks.detection.plan import PARTS, plan  # noqa: E402
from benchmarks.detection.work import Done, perform  # noqa: E402

WORKERS = 2
RESULTS = Path(__file__).with_name("RESULTS.md")


def options() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part; may be given several times")
    parser.add_argument("--quick", action="store_true", help="a tenth of the injected and synthetic curves")
    parser.add_argument("--no-peers", action="store_true", help="smartmon alone")
    parser.add_argument("--workers", type=int, default=WORKERS, metavar="N", help="processes at once (default 2)")
    parser.add_argument("--curve", metavar="ID", help="print the alarms and labels of one curve, and nothing else")
    parser.add_argument("--peer", metavar="NAME", help="with --curve: that peer's alarms too, such as F10")
    parser.add_argument(
        "--sigmas", metavar="X", type=float, action="append", default=[], help="also with that loss_spike.sigmas"
    )
    parser.add_argument("--json", metavar="OUT", type=Path, help="also write every outcome as JSON")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} (what the make target does)")
    parser.add_argument(
        "--replay-option", action="append", default=[], metavar="OPT", help="pass on to smartmon replay, for trials"
    )
    return parser.parse_args()


def run(asked: argparse.Namespace) -> list[Done]:
    """Do the work, in as many processes as asked, and return it in order."""
    tasks = plan(asked.only or list(PARTS), quick=asked.quick)
    began, done = time.monotonic(), []
    with ProcessPoolExecutor(max_workers=asked.workers) as pool:
        jobs = [(task, tuple(asked.replay_option), tuple(asked.sigmas), not asked.no_peers) for task in tasks]
        futures = list(starmap(lambda *job: pool.submit(perform, *job), jobs))
        for number, (task, future) in enumerate(zip(tasks, futures), 1):
            done.append(future.result())
            seconds = time.monotonic() - began
            print(f"\r{number}/{len(tasks)}  {seconds:4.0f} s  {task.name:40}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return done


def main() -> None:
    """Run what was asked, print it, and write what was asked to be written."""
    asked = options()
    if corpus.folder() is None:
        print("no corpus: set SMARTMON_CORPUS; only what needs no real log is run", file=sys.stderr)
    if asked.curve:
        print(look.closely(asked.curve, asked.peer, asked.replay_option))
        return
    began, commit = time.monotonic(), report.commit()
    done = run(asked)
    outcomes = [outcome for one in done for outcome in one.outcomes]
    worked = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = f"{time.monotonic() - began:.0f} s ({worked.ru_utime + worked.ru_stime:.0f} s of processor time)"
    text = report.text(outcomes, [one for part in done for one in part.unread], took, commit)
    print(text)
    if asked.write:
        RESULTS.write_text(text)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")


if __name__ == "__main__":
    main()
