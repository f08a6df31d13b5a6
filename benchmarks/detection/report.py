"""The report: what was run, the tables, how to read them, and where smartmon misses. Every figure is generated."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.detection import inject, roster, scores, tables
from benchmarks.detection.matching import GAP, Outcome
from benchmarks.detection.tables import LOSS_SHAPES, number
from benchmarks.detection.work import SMARTMON

MUST = ("explosion", "NaN once", "NaN for good", "masked zeros", "stall 2 h")

HOW = f"""\
A row is a system: smartmon with its defaults, or one rule of a peer written anew from its description with its
defaults (the list is at the end). An alarm of smartmon is what a person would be sent: what opens an incident at
`warning` or `critical`, or makes one worse; `info` never counts. Every firing of a peer counts as one, for it has no
incidents; rules in both directions are run upwards only.

- **Recall**: events told in time, by kind (how many in brackets). In time: spike 20, divergence 200, collapse 50,
  not finite 2, accuracy drop and overfit 5 points of their metric after the label, while it lasts; injected ones as
  below. Two points before the onset count too. `macro` is the mean over kinds, `macro by source` over repositories.
- **FA/10k**: false alarms per 10,000 points of the main metric, those closer than {GAP} points counted once; `raw`
  counts each. `healthy silent`: quiet logs without any. Later alarms inside an event are `repeats`. Alarms about what
  is labelled arguable, a plateau, or 20 points from a restart on are neither right nor wrong, nor do such points count.
  Of two logs of one run only one is judged.
- **Delay**: points from the onset to the alarm, median and 90th percentile, of events told in time.
- A peer's rule sees the loss only (F19, F20 evaluations, F21, F22 the clock): a 0 elsewhere says what it is not for.
- **Split**: by repository, by the parity of the first byte of the SHA-256 of its name: even is dev, to tune on, odd is
  test, to report. Events are injected into quiet logs, which keep their repository's split; made curves are dev.
- **Not all of test is unseen**: the rules of `overfit`, `collapse` and `resume_regression` were set with the whole
  corpus in view, those of the gradients, the pace and frozen values were checked on all of it, and whoever tuned the
  rules of the loss looked at test figures four times, and at two test sources (nanoGPT, Fujump) before the split was
  made. The thresholds of the loss and of accuracies were chosen on dev, made curves and noise."""


def text(outcomes: list[Outcome], unread: list[str], took: str, commit: str = "unknown") -> str:
    """Return the whole report as Markdown."""
    parts = ["# How well smartmon judges, beside its peers", _about(outcomes, unread, took, commit)]
    parts += ["## In short", _short(outcomes), "## How to read the tables", HOW, _shapes()]
    for title, keep, table in _sections():
        chosen = [outcome for outcome in outcomes if keep(outcome)]
        if chosen:
            parts += [f"## {title}", _basis(chosen), table(chosen)]
    if any(outcome.system == roster.SWEEP[0].name for outcome in outcomes):
        parts += ["## With other thresholds", tables.operating(outcomes)]
    parts += ["## Where it misses", *_misses(outcomes)]
    if any(outcome.system != SMARTMON for outcome in outcomes):
        parts += ["## The peers", _peers()]
    return "\n\n".join(parts) + "\n"


Keep = Callable[[Outcome], bool]
Table = Callable[[list[Outcome]], str]


def _of(section: str, split: str = "") -> Keep:
    return lambda outcome: outcome.section == section and (not split or outcome.split == split)


def _sections() -> list[tuple[str, Keep, Table]]:
    return [
        ("Real logs, test split", _of("corpus", "test"), tables.real),
        ("Real logs, dev split", _of("corpus", "dev"), tables.real),
        ("Provoked runs (dev)", _of("provoked"), tables.real),
        ("Injected into quiet logs, test split", _of("injected", "test"), tables.injected),
        ("Injected into quiet logs, dev split", _of("injected", "dev"), tables.injected),
        ("Delay on injected events, both splits", _of("injected"), tables.delays),
        ("Healthy noise: raw alarms per 10,000 points", _of("synthetic"), tables.noise),
        ("Crash loops", _of("crash"), tables.crashes),
    ]


def commit() -> str:
    """Return the commit that is checked out, and whether what is judged was changed since."""

    def git(*words: str) -> str:
        folder = Path(__file__).resolve().parents[2]
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "smartmon", "benchmarks/detection/*.py")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with uncommitted changes" if changed else "")


def _about(outcomes: list[Outcome], unread: list[str], took: str, commit: str) -> str:
    mine = [outcome for outcome in outcomes if outcome.system == SMARTMON]
    logs = [outcome for outcome in mine if outcome.section == "corpus"]
    lines = [
        f"{time.strftime('%Y-%m-%d')}, commit {commit}, smartmon {_version()}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {took}. Written by `make bench-detection`.",
        f"Read: {len(logs)} of {len(logs) + len(unread)} real logs of {len({one.source for one in logs})} repositories "
        f"({sum(one.points for one in logs):,} scored points), {_count(mine, 'provoked')} provoked runs, "
        f"{_count(mine, 'injected')} injected curves, {_count(mine, 'synthetic')} of noise "
        f"({sum(one.points for one in mine if one.section == 'synthetic'):,} points), "
        f"{_count(mine, 'crash')} of restarts.",
    ]
    if unread:
        lines.append(f"Not read by smartmon, so left out for everybody: {', '.join(unread)}.")
    return "\n\n".join(lines)


def _version() -> str:
    from smartmon import __version__

    return __version__


def _count(outcomes: list[Outcome], section: str) -> int:
    return sum(outcome.section == section for outcome in outcomes)


def _short(outcomes: list[Outcome]) -> str:
    """Return smartmon's figures beside what was aimed for."""
    rows = []
    for split in ("test", "dev"):
        logs = [outcome for outcome in outcomes if outcome.section == "corpus" and outcome.split == split]
        if logs:
            mine = scores.score(SMARTMON, logs)
            rows.append([f"false alarms per 10,000 real points, {split}", "1", _with(logs, "per_10k", mine.per_10k)])
            rows.append(
                [f"macro recall by source, real logs, {split}", "", _with(logs, "macro_source", mine.macro_source)]
            )
    for shape in ("Gauss 0.2", "t4 0.2"):
        some = [outcome for outcome in outcomes if outcome.shape == shape]
        if some:
            aim = "2" if shape.startswith("Gauss") else ""
            rows.append([f"false alarms per 10,000 points, {shape}", aim, number(scores.score(SMARTMON, some).per_10k)])
    for split in ("test", "dev"):
        put = [outcome for outcome in outcomes if outcome.section == "injected" and outcome.split == split]
        if put:
            rows += _aims(outcomes, put, split)
    loops = [outcome for outcome in outcomes if outcome.section == "crash"]
    if loops:
        rows.append(["recall, crash loop", "1.00", number(scores.score(SMARTMON, loops).recall)])
    return tables.markdown(["figure", "aim", SMARTMON], rows)


def _aims(outcomes: list[Outcome], put: list[Outcome], split: str) -> list[list[str]]:
    mine = scores.score(SMARTMON, put)
    rows = [[f"recall, {k}, {split}", "1.00", number(scores.ratio(*mine.kinds[k]))] for k in MUST if k in mine.kinds]
    own, quiet = tables.macro(mine, LOSS_SHAPES), _false(outcomes, split, SMARTMON)
    rivals = [scores.score(name, put) for name in tables.systems(put, ("loss",)) if name != SMARTMON]
    rates = {one.system: _false(outcomes, split, one.system) for one in rivals}
    for limit, words in (
        (None, "best peer"),
        (1.0, "best peer that raises at most 1 false alarm per 10,000 real points"),
    ):
        able = [one for one in rivals if limit is None or (rates[one.system] or 0.0) <= limit]
        best = max(able, key=lambda one: tables.macro(one, LOSS_SHAPES) or 0.0, default=None)
        if best:
            aim = f"{words}: {best.system} {number(tables.macro(best, LOSS_SHAPES))} at {number(rates[best.system], 1)}"
            figure = f"macro recall of the 8 loss shapes, at raw FA/10k on real logs, {split}"
            rows.append([figure, aim, f"{number(own)} at {number(quiet, 1)}"])
    rows.append([f"macro recall of all injected kinds, {split}", "", _with(put, "macro", mine.macro)])
    return rows


def _false(outcomes: list[Outcome], split: str, system: str) -> float | None:
    """Return a system's raw false alarms per 10,000 points of the real logs of a split."""
    logs = [outcome for outcome in outcomes if outcome.section == "corpus" and outcome.split == split]
    return scores.score(system, logs).raw_per_10k


def _with(outcomes: list[Outcome], figure: str, value: float | None) -> str:
    span = scores.interval(SMARTMON, outcomes, figure)
    return number(value) + (f" ({number(span[0])} to {number(span[1])})" if span else "")


def _basis(outcomes: list[Outcome]) -> str:
    """Return what a table rests on."""
    mine = [outcome for outcome in outcomes if outcome.system == SMARTMON]
    sources = sorted({outcome.source for outcome in mine})
    points = sum(outcome.points for outcome in mine)
    named = f": {', '.join(sources)}" if mine[0].section in ("corpus", "injected") else ""
    return f"{len(mine)} curves, {points:,} scored points, {len(sources)} sources{named}."


def _shapes() -> str:
    """Return what is injected, and within how many points it has to be told."""
    told = [
        f"{shape.name} ({shape.tolerance} {'evaluations' if shape.evals else 'points'})"
        for shape in inject.SHAPES
        if shape.families
    ]
    controls = [shape.name for shape in inject.SHAPES if not shape.families]
    return (
        f"Injected, with what counts as in time: {', '.join(told)}. Controls, on which every alarm is false: "
        f"{', '.join(controls)}. An injected curve is judged from two points before the onset on. "
        f"They are put into up to two quiet logs of a repository, {inject.LONGEST:,} points each: the beginning of the "
        "first, where the loss still falls so fast that a slow ramp hardly shows, and the end of the second."
    )


def _misses(outcomes: list[Outcome]) -> list[str]:
    """Return every miss and false alarm on real logs, and those on made curves grouped."""
    parts = ["Every missed clear event and every false alarm of smartmon, with what there was instead."]
    for title, keep in (
        ("### Real logs, test split", _of("corpus", "test")),
        ("### Real logs, dev split", _of("corpus", "dev")),
        ("### Provoked runs", _of("provoked")),
        ("### Injected, test split", _of("injected", "test")),
        ("### Injected, dev split", _of("injected", "dev")),
    ):
        chosen = [outcome for outcome in outcomes if keep(outcome)]
        if chosen:
            parts += [title, tables.missed(chosen)]
    made = [outcome for outcome in outcomes if outcome.section in ("synthetic", "crash")]
    if made:
        parts += ["### Healthy noise and restarts", tables.counted(made)]
    return parts


def _peers() -> str:
    return tables.markdown(["rule", "what it is"], [[peer.name, peer.origin] for peer in roster.PEERS])
