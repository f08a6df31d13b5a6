"""The tables of the report: outcomes in, Markdown out."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.detection import inject, roster, scores, synthetic
from benchmarks.detection.matching import Outcome
from benchmarks.detection.scores import Score
from benchmarks.detection.work import SMARTMON, SWEPT_NOISE

LOSS_SHAPES = tuple(shape.name for shape in inject.SHAPES if shape.families == inject.LOSS)
CONTROLS = tuple(shape.name for shape in inject.SHAPES if not shape.families)


def systems(outcomes: list[Outcome], looks_at: Iterable[str] = ("loss", "patience", "overfit", "clock")) -> list[str]:
    """Return who took part, smartmon first; of the peers those that look at these things."""
    present = {outcome.system for outcome in outcomes}
    wanted = [peer.name for peer in roster.PEERS if peer.looks_at in looks_at]
    return [name for name in (SMARTMON, *wanted) if name in present]


def number(value: float | None, digits: int = 2) -> str:
    """Return a figure, or a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def name_of(system: str) -> str:
    """Return a name as the tables show it."""
    return f"**{system}**" if system == SMARTMON else system


def real(outcomes: list[Outcome]) -> str:
    """Return the table of real logs: recall by kind, and what it costs."""
    found = [scores.score(name, outcomes) for name in systems(outcomes, ("loss", "patience", "overfit"))]
    kinds = list(found[0].kinds) if found else []
    head = ["system", *(f"{kind} ({found[0].kinds[kind][1]})" for kind in kinds)]
    head += ["macro", "macro by source", "precision", "F1", "FA/10k", "raw FA/10k", "healthy silent", "FA/healthy run"]
    head += ["delay", "p90", "repeats"]
    return markdown(head, [[name_of(one.system), *_recalls(one, kinds), *_costs(one)] for one in found])


def _recalls(score: Score, kinds: Iterable[str]) -> list[str]:
    return [number(scores.ratio(*score.kinds.get(kind, (0, 0)))) for kind in kinds]


def _costs(score: Score) -> list[str]:
    return [
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


def macro(score: Score, kinds: Iterable[str]) -> float | None:
    """Return the mean recall of some kinds."""
    return scores.mean([hit / n for kind in kinds for hit, n in [score.kinds.get(kind, (0, 0))] if n])


def injected(outcomes: list[Outcome]) -> str:
    """Return recall by what was injected, with the alarms on the controls."""
    names = systems(outcomes)
    kinds = [shape.name for shape in inject.SHAPES if shape.families]
    counts = scores.score(SMARTMON, outcomes).kinds
    kinds = [kind for kind in kinds if kind in counts]
    head = ["system", *(f"{kind} ({counts[kind][1]})" for kind in kinds), "macro of the 8", "macro of all"]
    head += ["precision", "F1", "FA/10k", "raw FA/10k"]
    controls = [shape for shape in CONTROLS if any(outcome.shape == shape for outcome in outcomes)]
    head += [f"alarms: {shape}" for shape in controls]
    rows = []
    for name in names:
        score = scores.score(name, outcomes)
        alarms = [_alarms(name, outcomes, shape) for shape in controls]
        costs = [
            number(one) for one in (macro(score, LOSS_SHAPES), score.macro, score.precision, score.f1, score.per_10k)
        ]
        rows.append([name_of(name), *_recalls(score, kinds), *costs, number(score.raw_per_10k, 1), *alarms])
    return markdown(head, rows)


def _alarms(system: str, outcomes: list[Outcome], shape: str) -> str:
    mine = [outcome for outcome in outcomes if outcome.system == system and outcome.shape == shape]
    return f"{sum(bool(outcome.false) for outcome in mine)}/{len(mine)}"


def delays(outcomes: list[Outcome]) -> str:
    """Return how late smartmon was, beside the two peers that find most."""
    names = [name for name in (SMARTMON, "F0 fix30", "F10 trainscope") if name in systems(outcomes)]
    rows = []
    for shape in (shape.name for shape in inject.SHAPES if shape.families):
        cells = []
        for name in names:
            found = sorted(
                hit.delay for one in outcomes if one.system == name and one.shape == shape for hit in one.hits
            )
            last = found[min(len(found) - 1, int(0.9 * len(found)))] if found else 0
            cells.append(f"{found[len(found) // 2]} / {last}" if found else "-")
        rows.append([shape, *cells])
    return markdown(["points after the onset, median / p90", *map(name_of, names)], rows)


def noise(outcomes: list[Outcome]) -> str:
    """Return alarms per 10,000 points of healthy noise, each alarm counted."""
    shapes = list(dict.fromkeys(outcome.shape for outcome in outcomes))

    def cells(name: str) -> list[str]:
        found = [scores.score(name, [o for o in outcomes if o.shape == shape]) for shape in shapes]
        return [number(one.raw_per_10k, 1) for one in found]

    rows = [[name_of(name), *cells(name)] for name in systems(outcomes, ("loss",))]
    return markdown(["system", *shapes], rows)


def crashes(outcomes: list[Outcome]) -> str:
    """Return how often a crash loop was told, and a run that gets further was not disturbed."""
    rows = []
    for name in systems(outcomes, ()):
        score = scores.score(name, outcomes)
        rows.append(
            [name_of(name), number(score.recall), _alarms(name, outcomes, "gains"), number(score.delay(0.5), 0)]
        )
    head = ["system", f"crash loop ({synthetic.LOOPS})", "alarms: restarts that get further", "delay, points"]
    return markdown(head, rows)


def operating(outcomes: list[Outcome]) -> str:
    """Return recall against false alarms as the main threshold of some peers varies."""
    injections = [outcome for outcome in outcomes if outcome.section == "injected"]
    logs = [outcome for outcome in outcomes if outcome.section == "corpus"]
    steady = [outcome for outcome in outcomes if outcome.shape == SWEPT_NOISE]
    rows = []
    varied = sorted({outcome.system for outcome in outcomes if outcome.system.startswith(f"{SMARTMON} at ")})
    for name in (SMARTMON, *varied, *(peer.name for peer in roster.SWEEP)):
        if any(outcome.system == name for outcome in outcomes):
            told = macro(scores.score(name, injections), LOSS_SHAPES)
            rates = [scores.score(name, some).raw_per_10k for some in (logs, steady)]
            rows.append([name_of(name), number(told), *(number(rate, 1) for rate in rates)])
    return markdown(["system", "macro of the 8 injected", "raw FA/10k, real logs", "raw FA/10k, noise 0.2"], rows)


def counted(outcomes: list[Outcome]) -> str:
    """Return smartmon's misses and false alarms on made curves, counted by what they are made of."""
    found: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.system == SMARTMON:
            whats = [f"missed {one.kind}" for one in outcome.misses]
            whats += [f"false {one.kind} ({one.severity}) in {outcome.shape}" for one in outcome.false]
            for what in whats:
                found.setdefault(what, []).append(outcome.id)
    lines = [f"- {what}: {len(ids)}, in {len(set(ids))} curves, first `{ids[0]}`" for what, ids in found.items()]
    return "\n".join(lines) or "Nothing missed, no false alarm."


def missed(outcomes: list[Outcome]) -> str:
    """Return every missed event and every false alarm of smartmon, one a line."""
    lines = []
    for outcome in outcomes:
        if outcome.system == SMARTMON:
            where = f"`{outcome.id}`" + (f" ({outcome.source})" if outcome.section == "corpus" else "")
            lines += [f"- missed {one.kind}: {where} at step {one.step}: {one.note}" for one in outcome.misses]
            lines += [
                f"- false {one.kind} ({one.severity}, {one.note}): {where} at step {one.step}" for one in outcome.false
            ]
    return "\n".join(lines) or "Nothing missed, no false alarm."
