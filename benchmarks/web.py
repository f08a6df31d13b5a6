"""How fast the dashboard answers with 10 million observations in the store, and what it costs.

Run: python benchmarks/web.py [--points 10000000] [--dir /tmp] [--rounds 100]

Writes ten runs of a tenth of the points each, in one metric; one of them keeps growing. Starts `smartmon dashboard`
on them, asks over HTTP as a browser does, opens the page in Chromium where there is one, and prints one line for each
figure. A second base dir has 200 small runs and a mixture of 1,024 experts.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import math
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from smartmon.store import Store
from smartmon.store.chunks import CHUNK, Points
from smartmon.web.page import STATIC

RUNS = 10
VIEWERS = 20
SMALL_RUNS = 200
VISITS = 9
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
SEEN = """(() => {
  const look = () => {
    const canvas = document.querySelector('[data-panel="chart.loss"] canvas');
    const drawn = canvas && canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    if (drawn && drawn.filter((_, n) => n % 4 === 3).some((each) => each > 0)) window.firstChart = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})()"""
"""Notes when the first chart has something on it, in milliseconds since the navigation began."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000_000, help="observations in all")
    parser.add_argument("--rounds", type=int, default=100, help="questions of each kind")
    parser.add_argument("--dir", type=Path, default=None, help="where to put the database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        base = Path(folder)
        each = options.points // RUNS
        fill(base / "large", each)
        fill_small(base / "small")
        print(f"load when it began: {os.getloadavg()[0]:.1f}")
        with served(base / "large") as (port, pid):
            print(f"memory once it listens: {memory(pid):.0f} MB")
            answers(port, questions(each), options.rounds)
            page(port)
            streams(base / "large", port, pid, each)
            print(f"memory at the end: {memory(pid):.0f} MB, at most {memory(pid, 'VmHWM'):.0f} MB   (bar: under 150)")
        with served(base / "small") as (port, _pid):
            answers(port, small_questions(), options.rounds)
        print(f"load when it ended: {os.getloadavg()[0]:.1f}")


def fill(base: Path, points: int) -> None:
    """Write the store; sealed chunks straight away, for the daemon's own way takes minutes."""
    noise = random.Random(1)
    chunk = [2 + noise.gauss(0, 0.05) for _ in range(CHUNK)]
    base.mkdir()
    with Store.open(base / ".smartmon" / "smartmon.db") as store:
        for number in range(RUNS):
            (base / f"run-{number}").mkdir()
            run = store.ensure_run(f"run-{number}", base / f"run-{number}", base, 1.7e9 + number)
            with store.transaction():
                store.append(run.id, 1, points, 1.7e9 + points, {"loss": 1.0, "learning_rate": 1e-4, "grad_norm": 1.0})
                series_id = next(series for _, series in store._series(run.id, "loss"))
                for start in range(1, points - CHUNK, CHUNK):
                    fall = math.exp(-start / points)
                    rows = ((start + i, 1.7e9 + start + i, round(value * fall, 4)) for i, value in enumerate(chunk))
                    store._store_chunk(series_id, Points.of(rows))
            data = {"latest": {"loss": 1.0, "learning_rate": 1e-4}, "best_loss": 0.7, "best_loss_step": points}
            store.update_run(run.id, state="running", step=points, total_steps=2 * points, data=data)
    size = (base / ".smartmon" / "smartmon.db").stat().st_size
    print(f"{points * RUNS:,} observations, {RUNS} runs, a file of {size / 1e6:.0f} MB")


def fill_small(base: Path) -> None:
    """Write many runs of a thousand steps, and one of experts."""
    base.mkdir()
    with Store.open(base / ".smartmon" / "smartmon.db") as store, store.transaction():
        for number in range(SMALL_RUNS):
            (base / f"run-{number}").mkdir()
            run = store.ensure_run(f"run-{number}", base / f"run-{number}", base, 1.7e9 + number)
            for step in range(1, 1001, 5):
                store.append(run.id, 1, step, 1.7e9 + step, {"loss": 2 - step / 1000, "learning_rate": 1e-4})
            store.update_run(run.id, state="completed", step=1000, data={"latest": {"loss": 1.0}})
        run = store.ensure_run("experts", base, base, 1.7e9)
        names = [f"expert_usage/layer_{layer}/expert_{one}" for layer in range(16) for one in range(64)]
        for step in range(100):
            store.append(run.id, 1, step, 1.7e9 + step, dict.fromkeys(names, 100 / 64))
        store.update_run(run.id, state="completed", step=99, data={"latest": {"loss": 1.0}})


@contextmanager
def served(base: Path) -> Iterator[tuple[int, int]]:
    """Serve it in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    argv = [sys.executable, "-m", "smartmon", "dashboard", "--base-dir", str(base), "--port", str(port)]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield port, child.pid
    finally:
        child.terminate()
        child.wait()


def questions(points: int) -> dict[str, Callable[[int], str]]:
    """What a page asks of large runs: whole, and each time another part of it, in 4,000 buckets and in the page's."""

    def part(share: int, more: str = "") -> Callable[[int], str]:
        def address(n: int) -> str:
            start = (n * 7919) % (points - points // share)
            return f"/api/series?run=run-{n % RUNS}&from={start}&to={start + points // share}{more}"

        return address

    three = "&".join(f"run=run-{number}" for number in range(3))
    means = "&smooth=0.9&mean=50&max_points=1500"
    middle = points // 2
    return {
        f"a series of {points:,} points (bar: p95 under 50)": lambda n: f"/api/series?run=run-{n % RUNS}",
        "  a third of it": part(3),
        "  a tenth": part(10),
        "  a twentieth": part(20),
        "  a hundredth": part(100),
        "  a tenth by time": lambda n: f"/api/series?x=time&from={1.7e9 + middle + n}&to={1.7e9 + middle * 1.2}",
        "  as the page asks, with both means": lambda n: f"/api/series?run=run-{n % RUNS}{means}",
        "  a tenth, as the page asks": part(10, means),
        "  the largest part that is read row by row": part(53, means),
        "  of three runs, compared": lambda _n: f"/api/series?{three}&max_points=1000",
        "/api/stats (bar: p95 under 10)": lambda n: f"/api/stats?run=run-{n % RUNS}",
        "/api/runs": lambda _n: "/api/runs",
        "/api/events": lambda _n: "/api/events",
        "/metrics": lambda _n: "/metrics",
    }


def small_questions() -> dict[str, Callable[[int], str]]:
    """What a page asks of many runs, and of many experts."""
    return {
        f"/api/runs with {SMALL_RUNS} runs": lambda _n: "/api/runs",
        "/api/experts with 1,024 experts": lambda _n: "/api/experts?run=experts",
    }


def answers(port: int, asked: dict[str, Callable[[int], str]], rounds: int) -> None:
    """Ask as a page does."""
    link = http.client.HTTPConnection("127.0.0.1", port)
    for name, address in asked.items():
        first, rest = ask(link, address, 1), ask(link, address, rounds)
        p95 = statistics.quantiles(rest, n=20)[18]
        print(f"{name}: p50 {statistics.median(rest):.1f} ms, p95 {p95:.1f} ms, the first time {first[0]:.1f} ms")


def page(port: int) -> None:
    """Weigh the page, and open it in a browser, each time as somebody who was never here."""
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    weight = sum(len(gzip.compress(path.read_bytes(), 1)) for path in files)
    print(f"the page itself: {weight / 1000:.0f} kB gzipped   (bar: under 200)" if files else "the page is not built")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return
    if not files or BROWSER is None:
        return
    waits = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        for visit in range(VISITS):
            context = browser.new_context(viewport={"width": 1440, "height": 1000})
            tab = context.new_page()
            tab.add_init_script(SEEN)
            tab.goto(f"http://127.0.0.1:{port}/#/run/run-{visit}")
            while not (drawn := tab.evaluate("window.firstChart")):
                time.sleep(0.02)
            waits.append(float(drawn))
            context.close()
        browser.close()
    middle = statistics.median(waits)
    print(f"first chart: median {middle:.0f} ms, {min(waits):.0f} to {max(waits):.0f} ms   (bar: under 1000)")


def ask(link: http.client.HTTPConnection, address: Callable[[int], str], rounds: int) -> list[float]:
    """Return the milliseconds of each answer."""
    waits = []
    for number in range(rounds):
        began = time.perf_counter()
        link.request("GET", address(number), headers={"Host": "127.0.0.1", "Accept-Encoding": "gzip"})
        response = link.getresponse()
        response.read()
        waits.append((time.perf_counter() - began) * 1000)
        assert response.status == 200
    return waits


def streams(base: Path, port: int, pid: int, points: int) -> None:
    """Have viewers listen: nothing written for a while, then a step a second."""
    heard: list[float] = []
    ready = threading.Barrier(VIEWERS + 1)
    for _ in range(VIEWERS):
        threading.Thread(target=listen, args=(port, ready, heard), daemon=True).start()
    ready.wait()
    with busy(pid) as idle:
        time.sleep(10)
    print(f"{VIEWERS} viewers, nothing written: {idle():.2f} % of a core")
    with Store.open(base / ".smartmon" / "smartmon.db") as store, busy(pid) as live:
        run = store.run("run-0")
        assert run is not None
        for step in range(1, 11):
            with store.transaction():
                store.append(run.id, 1, points + step, time.time(), {"loss": 1.0})
                store.update_run(run.id, step=points + step, data={"written": time.time()})
            time.sleep(1)
    print(f"{VIEWERS} viewers, a step a second: {live():.1f} % of a core")
    p95 = statistics.quantiles(heard, n=20)[18]
    print(f"{VIEWERS} viewers, memory: {memory(pid):.0f} MB")
    print(f"from written to heard: p50 {statistics.median(heard) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms")


def listen(port: int, ready: threading.Barrier, heard: list[float]) -> None:
    """Read the stream, and note how long each step took to arrive."""
    link = http.client.HTTPConnection("127.0.0.1", port)
    link.request("GET", "/api/stream", headers={"Host": "127.0.0.1"})
    response = link.getresponse()
    first = True
    while line := response.readline():
        if not line.startswith(b"data: "):
            continue
        if first:
            first = False
            ready.wait()
            continue
        for run in json.loads(line[6:])["runs"]:
            heard.append(time.time() - run["updated_at"])


@contextmanager
def busy(pid: int) -> Iterator[Callable[[], float]]:
    """Give what tells the percent of a core that a process took during the body."""
    began, before, spent = time.perf_counter(), ticks(pid), [0.0]
    yield lambda: spent[0]
    spent[0] = 100 * (ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / (time.perf_counter() - began)


def ticks(pid: int) -> int:
    """Return the processor time of a process, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def memory(pid: int, name: str = "VmRSS") -> float:
    """Return a process's memory in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


if __name__ == "__main__":
    main()
