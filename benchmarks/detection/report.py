"""The report: tables for people, and every miss and false alarm of smartmon by name."""

from __future__ import annotations

from benchmarks.detection import roster, scores
from benchmarks.detection.matching import Outcome
from benchmarks.detection.scores import Score
from benchmarks.detection.work import SMARTMON

SECTIONS = {
    "test": "Real logs, test split",
    "dev": "Real logs, dev split",
    "provoked": "Provoked runs (dev)",
}


def text(outcomes: list[Outcome], unread: list[str], seconds: float) -> str:
    """Return the whole report as Markdown."""
    parts = []
    for split in ("dev", "test"):
        chosen = [o for o in outcomes if o.section == "corpus" and o.split == split]
        if chosen:
            parts += [f"## {SECTIONS[split]}", table(chosen), misses(chosen)]
    for section in ("provoked",):
        chosen = [o for o in outcomes if o.section == section]
        if chosen:
            parts += [f"## {SECTIONS[section]}", table(chosen), misses(chosen)]
    if unread:
        parts.append(f"{len(unread)} files that smartmon does not read were left out: {', '.join(unread)}.")
    return "\n\n".join(parts) + f"\n\nTook {seconds:.0f} s.\n"


def systems(outcomes: list[Outcome]) -> list[str]:
    """Return who took part, smartmon first."""
    present = {outcome.system for outcome in outcomes}
    return [name for name in (SMARTMON, *(peer.name for peer in roster.PEERS)) if name in present]


def table(outcomes: list[Outcome]) -> str:
    """Return the main table of some curves."""
    found = [scores.score(name, outcomes) for name in systems(outcomes)]
    kinds = list(found[0].kinds) if found else []
    head = ["system", *(f"{kind} ({found[0].kinds[kind][1]})" for kind in kinds)]
    head += ["macro recall", "by source", "precision", "F1", "FA/10k", "raw FA/10k", "healthy silent", "FA/healthy run"]
    head += ["delay med", "p90", "repeats"]
    return markdown(head, [_row(score, kinds) for score in found])


def _row(score: Score, kinds: list[str]) -> list[str]:
    return [
        f"**{score.system}**" if score.system == SMARTMON else score.system,
        *(number(scores.ratio(*score.kinds.get(kind, (0, 0)))) for kind in kinds),
        number(score.macro),
        number(score.macro_source),
        number(score.precision),
        number(score.f1),
        number(score.per_10k),
        number(score.raw_per_10k, 1),
        f"{score.healthy_silent}/{score.healthy}",
        number(scores.ratio(score.healthy_false, score.healthy)),
        number(score.delay(0.5), 0),
        number(score.delay(0.9), 0),
        str(score.repeats),
    ]


def number(value: float | None, digits: int = 2) -> str:
    """Return a figure, or a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def misses(outcomes: list[Outcome]) -> str:
    """Return every missed event and every false alarm of smartmon."""
    lines = []
    for outcome in outcomes:
        if outcome.system != SMARTMON:
            continue
        lines += [f"- missed {m.kind}: {outcome.id} ({outcome.source}) at {m.step}: {m.note}" for m in outcome.misses]
        lines += [
            f"- false {f.kind} ({f.severity}, {f.note}): {outcome.id} ({outcome.source}) at step {f.step}"
            for f in outcome.false
        ]
    return "\n".join(lines) or "Nothing missed, no false alarm."
