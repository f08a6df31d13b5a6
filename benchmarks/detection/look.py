"""One curve, closely: its labels, what smartmon said and when, and what became of it in the matching."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.detection import contestant, matching, roster, work
from benchmarks.detection.curves import Alarm, Curve, write_jsonl
from benchmarks.detection.plan import PARTS, plan


def find(name: str) -> Curve | None:
    """Return the curve of that id, from whichever part makes it."""
    for task in plan(list(PARTS)):
        if task.make is work.real and not (isinstance(task.arguments[0], tuple) and name in task.arguments[0]):
            continue
        arguments = ((name,),) if task.make is work.real else task.arguments
        for curve in task.make(*arguments) if task.may_hold(name) else ():
            if curve.id == name:
                return curve
    return None


def closely(name: str, peer: str | None, options: list[str]) -> str:
    """Return everything about one curve as text."""
    curve = find(name)
    if curve is None:
        return f"no curve {name}, or smartmon cannot read it"
    with tempfile.TemporaryDirectory() as folder:
        curve.path = curve.path or write_jsonl(curve, Path(folder))
        answer = contestant.replay([curve], options).get(curve.id)
    lines = [f"{curve.id}  {curve.source}  {curve.section} {curve.split} {curve.shape}"]
    lines += [
        f"  {len(curve.rows)} rows, {curve.points} points of {curve.loss or '(no loss)'}, judged from {curve.begin}"
    ]
    lines += [f"  metrics: {', '.join(f'{name} {len(places)}' for name, places in curve.places.items())}"]
    for event in curve.events:
        lines.append(
            f"  event {event.kind} of {event.metric} at {_at(curve, event.onset)}, in time "
            f"{_at(curve, event.first)} to {_at(curve, event.until)}, lasts to {_at(curve, event.end)}: {event.note}"
        )
    lines += [f"  not scored: {_at(curve, span.first)} to {_at(curve, span.end)}" for span in curve.spans]
    if answer is None:
        return "\n".join([*lines, "  smartmon cannot read it"])
    told, quiet = contestant.alarms(curve, answer), contestant.infos(curve, answer)
    lines += ["smartmon would send:", *_alarms(curve, told)]
    lines += ["smartmon records without sending:", *_alarms(curve, quiet)]
    lines += [f"  incident {i['severity']} {i['key']} {i['start_step']}..{i['end_step']}" for i in answer["incidents"]]
    lines += ["matched:", *_outcome(matching.match("smartmon", curve, told, quiet))]
    for one in roster.PEERS:
        if peer and one.name.startswith(peer):
            alarms = roster.alarms(one, curve)
            lines += [f"{one.name}:", *_alarms(curve, alarms), *_outcome(matching.match(one.name, curve, alarms))]
    return "\n".join(lines)


def _at(curve: Curve, row: int) -> str:
    row = min(row, len(curve.rows) - 1)
    return f"step {curve.rows[row].step} (row {row})"


def _alarms(curve: Curve, alarms: list[Alarm]) -> list[str]:
    shown = [
        f"  {_at(curve, alarm.row)}  {alarm.severity or 'alarm'}  {alarm.kind}  {alarm.metric}" for alarm in alarms[:40]
    ]
    return [*shown, f"  and {len(alarms) - 40} more"] if len(alarms) > 40 else shown or ["  nothing"]


def _outcome(outcome: matching.Outcome) -> list[str]:
    lines = [f"  hit {hit.kind} at {hit.step}, {hit.delay} points late, by {hit.note}" for hit in outcome.hits]
    lines += [f"  MISS {miss.kind} at {miss.step}: {miss.note}" for miss in outcome.misses]
    lines += [f"  FALSE {false.kind} at {false.step} {false.severity} ({false.note})" for false in outcome.false]
    return [*lines, f"  {outcome.repeats} repeats, {outcome.raw_false} false alarms one by one"]
